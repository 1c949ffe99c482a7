"""NIfTI files: the affine worked by hand, and read by SimpleITK and nibabel."""

import os

import nibabel
import numpy as np
import pytest

from mtl_jax.core import errors, geometry
from mtl_jax.export import nifti
from tests.export import exported


def test_the_affine_worked_by_hand(tmp_path):
    mask = np.zeros(exported.GRID.shape, bool)
    mask[3, 1, 2] = True  # x 16, y -18, z 115, in LPS
    nifti.write(tmp_path / "a.nii.gz", mask, exported.GRID)
    image = nibabel.load(tmp_path / "a.nii.gz")
    assert image.shape == (6, 5, 4)
    # x and y grow to the right and anterior: the signs change.
    expected = [[-3, 0, 0, -10], [0, -2, 0, 20], [0, 0, 5, 100], [0, 0, 0, 1]]
    assert image.affine.tolist() == expected
    assert image.get_qform().tolist() == image.get_sform().tolist() == expected
    assert image.header["sform_code"] == image.header["qform_code"] == 1
    assert image.header.get_xyzt_units()[0] == "mm"
    assert image.header["descrip"].item() == b"AI-generated, not for clinical use"
    (voxel,) = np.argwhere(image.get_fdata())
    assert voxel.tolist() == [2, 1, 3]
    assert (image.affine @ [*voxel, 1])[:3].tolist() == [-16, 18, 115]


def test_masks_and_doses_keep_their_values(tmp_path, rng):
    mask = rng.random(exported.ODD.shape) > 0.5
    dose_gy = rng.random(exported.ODD.shape, np.float32) * 70
    nifti.write(tmp_path / "new" / "mask.nii.gz", mask, exported.ODD)
    nifti.write(tmp_path / "new" / "dose.nii.gz", dose_gy, exported.ODD)
    assert sorted(os.listdir(tmp_path / "new")) == ["dose.nii.gz", "mask.nii.gz"]
    for name, volume, kind in (("mask", mask, np.uint8), ("dose", dose_gy, np.float32)):
        image = nibabel.load(tmp_path / "new" / f"{name}.nii.gz")
        assert image.get_data_dtype() == kind
        stored = np.asarray(image.dataobj).transpose(2, 1, 0)
        assert stored.dtype == kind and np.array_equal(stored, volume)


def test_simpleitk_reads_the_same_volume_and_grid(tmp_path, rng):
    simpleitk = pytest.importorskip("SimpleITK", reason="no SimpleITK")
    dose_gy = rng.random(exported.ODD.shape, np.float32) * 70
    nifti.write(tmp_path / "a.nii.gz", dose_gy, exported.ODD)
    image = simpleitk.ReadImage(str(tmp_path / "a.nii.gz"))
    assert np.array_equal(simpleitk.GetArrayFromImage(image), dose_gy)
    # ITK's coordinates are LPS, like those of the grid.
    assert image.GetSpacing() == pytest.approx(exported.ODD.spacing_mm[::-1], rel=1e-6)
    assert image.GetOrigin() == pytest.approx(exported.ODD.origin_mm, rel=1e-6)
    assert image.GetDirection() == pytest.approx(tuple(np.eye(3).ravel()), abs=1e-6)


def test_the_same_volume_gives_the_same_bytes(tmp_path, rng):
    dose_gy = rng.random(exported.GRID.shape, np.float32)
    for name in ("a.nii.gz", "b.nii.gz"):
        nifti.write(tmp_path / name, dose_gy, exported.GRID)
    first, second = ((tmp_path / f"{name}.nii.gz").read_bytes() for name in "ab")
    assert first == second and b".nii" not in first


def test_other_volumes_and_names_are_refused(tmp_path):
    mask = np.ones(exported.GRID.shape, bool)
    with pytest.raises(
        errors.GeometryError, match=r"is \(2, 5, 6\), expected the grid's"
    ):
        nifti.write(tmp_path / "a.nii.gz", mask[:2], exported.GRID)
    with pytest.raises(errors.RecordError, match="volume is int64, expected a mask"):
        nifti.write(tmp_path / "a.nii.gz", mask.astype(int), exported.GRID)
    with pytest.raises(
        errors.RecordError, match=r"a\.nii, expected a name that ends in \.nii\.gz"
    ):
        nifti.write(tmp_path / "a.nii", mask, exported.GRID)
    assert not any(tmp_path.iterdir())


def test_the_direction_of_the_grid_is_kept(tmp_path):
    # Rows to the anterior: y falls by 2 mm from row to row.
    direction = ((0.0, 0.0, 1.0), (0.0, -1.0, 0.0), (1.0, 0.0, 0.0))
    grid = geometry.Grid((1, 2, 3), (5.0, 2.0, 3.0), (0.0, 7.0, 0.0), direction)
    nifti.write(tmp_path / "a.nii.gz", np.ones(grid.shape, bool), grid)
    affine = nibabel.load(tmp_path / "a.nii.gz").affine
    assert (affine @ [0, 1, 0, 1]).tolist() == [0, -5, 0, 1]
