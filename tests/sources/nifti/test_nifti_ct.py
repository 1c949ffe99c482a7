"""CTs in NIfTI files: equal in every order of axes, and what is refused."""

import gzip
import shlex
import subprocess
import sys

import nibabel
import numpy as np
import pytest

from mtl_jax.core import errors
from mtl_jax.sources.nifti import nifti_ct, oriented
from tests.sources.nifti import writing
from tfds_builders.prostate import make_dummy_data

GRID = make_dummy_data.GRID


@pytest.fixture
def ct():
    """[Z, Y, X] int16 of a dummy patient."""
    return make_dummy_data.pelvis(1).ct_hu.astype(np.int16)


@pytest.mark.parametrize("codes", ["LPS", "RAS", "PIR", "SAL"])
@pytest.mark.parametrize("suffix", oriented.SUFFIXES)
def test_the_order_of_axes_makes_no_difference(ct, tmp_path, codes, suffix):
    path = writing.write(tmp_path / f"ct{suffix}", ct, GRID, codes)
    read = nifti_ct.read(path)
    np.testing.assert_array_equal(read.hu, ct)
    assert read.hu.dtype == np.float32 and read.grid == GRID
    own = np.asarray(nibabel.load(path).dataobj)
    np.testing.assert_array_equal(read.order.own(read.hu), own)
    assert not read.notes


def test_values_below_air_are_padding_as_in_dicom(ct, tmp_path):
    ct[:, 0, 0] = -3024
    read = nifti_ct.read(writing.write(tmp_path / "ct.nii.gz", ct, GRID))
    assert read.hu.min() == -1024
    (note,) = read.notes
    assert note.kind == "changed_values" and note.startswith(
        "0.3% of the CT is padding"
    )


def test_a_slice_that_jumps_is_refused_unless_that_is_accepted(ct, tmp_path):
    ct[2] += 1000
    path = writing.write(tmp_path / "ct.nii.gz", ct, GRID)
    with pytest.raises(errors.SourceError, match="slice 3 of 5 from the feet lies 1"):
        nifti_ct.read(path)
    (note,) = nifti_ct.read(path, ["ct_jump"]).notes
    assert note.kind == "ct_jump"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ct: ct + 1024, "do not look like Hounsfield units .lowest 1 %: 24"),
        (lambda ct: (ct > -500).astype(np.uint8), "0 to 1, do not look like"),
        (lambda ct: ct / 1000, "do not look like"),
        (lambda ct: np.where(ct < 0, np.nan, ct), "NaN or infinite"),
        (lambda ct: np.where(ct < -500, ct, ct + 700), "median of the body: 71"),
        (lambda ct: np.maximum(ct, -200), "lowest 1 %: -200, air is near -1000"),
    ],
)
def test_what_is_no_ct_in_hounsfield_units(ct, tmp_path, change, message):
    path = writing.write(tmp_path / "ct.nii.gz", change(ct), GRID)
    with pytest.raises(errors.SourceError, match=message):
        nifti_ct.read(path)


def header(**values):
    """Make an image whose header has these values."""

    def make(image):
        for name, value in values.items():
            image.header[name] = value
        return image

    return make


def twice(image):
    moved = image.affine.copy()
    moved[0, 3] += 12
    image.set_qform(moved, code=1)
    return image


def coloured(image):
    kind = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    return nibabel.Nifti1Image(np.zeros(image.shape, kind), image.affine)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda i: nibabel.Nifti1Image(i.dataobj, None),
            "does not say how its axes run",
        ),
        (header(xyzt_units=1), "sizes in meter"),
        (twice, r"two places that are 12\.0 mm apart"),
        (coloured, r"values of the type .*expected whole numbers"),
        (lambda i: nibabel.Nifti1Image(i.get_fdata() + 1j, i.affine), "type complex"),
        (lambda i: nibabel.Nifti1Image(i.get_fdata()[..., None], i.affine), "three ax"),
        (lambda i: nibabel.Nifti1Image(i.get_fdata()[..., 0], i.affine), "three axes"),
    ],
)
def test_images_that_are_no_volume_at_one_place(ct, tmp_path, make, message):
    nibabel.save(make(writing.image(ct, GRID)), tmp_path / "ct.nii.gz")
    with pytest.raises(errors.SourceError, match=message):
        nifti_ct.read(tmp_path / "ct.nii.gz")


def test_damaged_files_are_named_by_what_they_are(ct, tmp_path):
    path = writing.write(tmp_path / "Zaphod.nii.gz", ct, GRID)
    content = path.read_bytes()
    for bad in (content[:-200], content[:100], b"", b"text", gzip.compress(b"text")):
        path.write_bytes(bad)
        with pytest.raises(errors.SourceError, match="the CT cannot be read") as error:
            nifti_ct.read(path)
        assert "Zaphod" not in str(error.value)
    with pytest.raises(errors.SourceError, match="there is no such file"):
        nifti_ct.read(tmp_path / "gone.nii.gz")


def test_the_command_for_an_oblique_ct_makes_one_that_is_read(tmp_path):
    """A ball in air, turned by 10 degrees: its volume and centre are as before."""
    z, y, x = np.ogrid[-10:11, -20:21, -20:21]
    ball = np.where(4 * z**2 + y**2 + x**2 < 15**2, 0, -1000).astype(np.int16)
    turn = np.radians(10)
    affine = np.diag([-2.0, -2.0, 4.0, 1.0])
    affine[:3, 3] = -affine[:3, :3] @ [20, 20, 10]
    rotation = np.eye(4)
    rotation[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    image = nibabel.Nifti1Image(ball.transpose(2, 1, 0), rotation @ affine)
    nibabel.save(image, tmp_path / "IN.nii.gz")
    with pytest.raises(errors.SourceError, match=r"turned by 10\.0 degrees") as error:
        nifti_ct.read(tmp_path / "IN.nii.gz")
    command = str(error.value).split("first: ")[1]
    words = [sys.executable, *shlex.split(command)[1:]]
    subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
    made = nifti_ct.read(tmp_path / "OUT.nii.gz")
    inside = made.hu > -500
    assert inside.sum() == pytest.approx((ball > -500).sum(), rel=0.03)
    middle = made.grid.to_mm(np.argwhere(inside).mean(axis=0))
    np.testing.assert_allclose(middle, 0, atol=0.2)
