"""A CT of each library, in each order of axes, and the way back."""

import itertools

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK

from mtl_jax.core import errors
from mtl_jax.interface import images
from mtl_jax.sources.phantom import dicom_cohort
from tfds_builders.prostate import make_dummy_data

SPACING = (3.0, 2.0, 1.0)  # z, y, x


@pytest.fixture
def hu(rng):
    """[Z, Y, X] from the feet, to the back, to the left; no two sizes are equal."""
    return rng.integers(-1000, 1500, (4, 5, 6)).astype(np.float32)


def test_an_array_stays_as_it_is(hu):
    image = images.read(hu.astype(np.int16), SPACING)
    np.testing.assert_array_equal(image.voxels, hu)
    assert image.grid.spacing_mm == SPACING
    np.testing.assert_array_equal(image.own(hu), hu)


@pytest.mark.parametrize("order", list(itertools.permutations((0, 1, 2))))
@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
def test_nibabel_in_every_order_of_axes(hu, order, signs):
    """The voxel that is at a place in space is that of the array at this place."""
    # A step along z, y, x of `hu` in nibabel's world: up, to the front, to the right.
    steps = np.array([[0, 0, -1.0], [0, -2.0, 0], [3.0, 0, 0]]) * signs
    own = hu[tuple(slice(None, None, sign) for sign in signs)].transpose(order)
    affine = np.eye(4)
    affine[:3, :3] = steps[:, order]
    image = images.read(nibabel.Nifti1Image(own, affine), None)
    np.testing.assert_array_equal(image.voxels, hu)
    assert image.grid.spacing_mm == SPACING
    np.testing.assert_array_equal(image.own(hu), own)
    np.testing.assert_array_equal(image.canonical(own), hu)


def test_the_path_of_a_nifti_file_is_its_image(hu, tmp_path):
    affine = np.diag([-1.0, -2.0, 3.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(hu.transpose(2, 1, 0), affine), tmp_path / "a.nii")
    image = images.read(str(tmp_path / "a.nii"), None)
    np.testing.assert_array_equal(image.voxels, hu)
    assert image.grid.spacing_mm == SPACING


def test_simpleitk_is_what_it_says_of_its_own_space(hu):
    """The second opinion is SimpleITK's own resampling onto axial slices."""
    ct = SimpleITK.GetImageFromArray(hu)
    ct.SetSpacing(SPACING[::-1])
    plain = images.read(ct, None)
    np.testing.assert_array_equal(plain.voxels, hu)
    assert plain.grid.spacing_mm == SPACING
    turned = SimpleITK.DICOMOrient(ct, "SAR")  # axes along z, y and x, two reversed
    image = images.read(turned, None)
    np.testing.assert_array_equal(image.voxels, hu)
    assert image.grid.spacing_mm == SPACING
    np.testing.assert_array_equal(image.own(hu), SimpleITK.GetArrayFromImage(turned))


def test_pydicom_s_slices_in_any_order_and_their_folder(tmp_path):
    pelvis = make_dummy_data.pelvis(1)
    dicom_cohort.write_patient(tmp_path / "a", pelvis, patient_id="QX1")
    slices = [
        dataset
        for path in (tmp_path / "a").rglob("*.dcm")
        if (dataset := pydicom.dcmread(path)).Modality == "CT"
    ]
    slices.sort(key=lambda s: s.ImagePositionPatient[2])
    of_slices = images.read(slices[::-1], None)
    scaled = [s.pixel_array * s.RescaleSlope + s.RescaleIntercept for s in slices]
    np.testing.assert_array_equal(of_slices.voxels, np.stack(scaled))
    of_folder = images.read(str(tmp_path / "a"), None)
    np.testing.assert_array_equal(of_folder.voxels, of_slices.voxels)
    assert (
        of_folder.grid.spacing_mm == of_slices.grid.spacing_mm == pelvis_spacing(slices)
    )


def pelvis_spacing(slices):
    step = slices[1].ImagePositionPatient[2] - slices[0].ImagePositionPatient[2]
    return (step, *slices[0].PixelSpacing)


def oblique(hu):
    affine = np.eye(4)
    affine[:2, :2] = [[0.995, -0.0998], [0.0998, 0.995]]  # 5.7 degrees
    return nibabel.Nifti1Image(hu, affine)


@pytest.mark.parametrize(
    ("make", "spacing", "message"),
    [
        (lambda hu: hu, None, "needs its voxels' size"),
        (lambda hu: hu, (1.0, 1.0), "needs its voxels' size"),
        (lambda hu: hu[0], SPACING, r"shape \(5, 6\), expected three axes"),
        (lambda hu: hu + 1024, SPACING, "no Hounsfield units; subtract 1024"),
        (lambda hu: np.where(hu > 0, np.nan, hu), SPACING, "NaN"),
        (lambda hu: hu, (1.0, 1.0, -1.0), "expected three positive"),
        (lambda hu: nibabel.Nifti1Image(hu, np.eye(4)), SPACING, "has its own"),
        (oblique, None, "oblique"),
        (lambda hu: nibabel.Nifti1Image(hu[..., None], np.eye(4)), None, "three axes"),
        (lambda hu: {"ct": hu}, None, "a CT cannot be a dict"),
        (lambda hu: [hu], None, "a CT cannot be a list"),
        (lambda hu: [], None, "a CT cannot be a list"),
    ],
)
def test_what_is_no_ct(hu, make, spacing, message):
    with pytest.raises(errors.MtlError, match=message):
        _ = images.read(make(hu), spacing).grid
