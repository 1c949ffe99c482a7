"""Distances between masks: closed forms, and second implementations.

The others are SciPy (pairs of points, distance transforms of whole volumes) and
SimpleITK.
"""

import math

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial import distance

from mtl_jax.core import errors
from mtl_jax.metrics import surface

SPACING = (2.5, 3.9, 3.9)
SHAPE = (24, 30, 28)


def ball(centre_mm, radius_mm, spacing=SPACING, shape=SHAPE) -> np.ndarray:
    index = np.indices(shape).reshape(3, -1).T
    places = index * np.array(spacing)
    inside = np.linalg.norm(places - np.array(centre_mm), axis=1) <= radius_mm
    return inside.reshape(shape)


def blob(rng: np.random.Generator, smoothness: float = 1.5, level: float = 0.6):
    """A rugged mask with islands and holes, which may touch the image's edge."""
    noise = ndimage.gaussian_filter(rng.standard_normal(SHAPE), smoothness)
    return noise > level * noise.std()


def plain_border(mask: np.ndarray) -> np.ndarray:
    return mask & ~ndimage.binary_erosion(mask, border_value=0)


def in_mm(mask: np.ndarray, spacing=SPACING) -> np.ndarray:
    return np.argwhere(plain_border(mask)) * spacing


def test_a_box_shifted_by_voxels_is_its_shift_away():
    reference = np.zeros(SHAPE, bool)
    reference[5:10, 6:12, 7:13] = True
    for axis, mm in enumerate(SPACING):
        for voxels in (1, 3):
            shifted = np.roll(reference, voxels, axis)
            found = surface.compare(shifted, reference, SPACING)
            assert found.hd100 == pytest.approx(voxels * mm, abs=1e-12)
            assert found.dice == surface.dice(shifted, reference)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(*[st.integers(-4, 4)] * 3),
)
def test_any_mask_that_is_shifted_is_at_most_its_shift_away(seed, shift):
    mask = np.zeros(SHAPE, bool)
    inner = np.random.default_rng(seed).random((6, 6, 6)) > 0.5
    inner[3, 3, 3] = True
    mask[8:14, 8:14, 8:14] = inner
    found = surface.compare(np.roll(mask, shift, (0, 1, 2)), mask, SPACING)
    assert found.hd100 <= math.hypot(*np.multiply(shift, SPACING)) + 1e-9
    assert found.hd95 <= found.hd100
    slices = surface.compare_slices(np.roll(mask, shift[1:], (1, 2)), mask)
    assert slices.mean_px <= math.hypot(*shift[1:]) + 1e-9


def test_equal_masks_agree():
    mask = ball((30.0, 55.0, 50.0), 20.0)
    found = surface.compare(mask, mask, SPACING)
    assert (found.dice, found.hd100, found.hd95) == (1.0, 0.0, 0.0)
    assert found.surface_dice(0.0) == 1.0
    assert surface.compare_slices(mask, mask).mean_px == 0.0


def test_two_shifted_spheres_are_their_shift_apart_as_the_grid_is_refined():
    """Nothing is further away than the shift and what rounding to voxels adds."""
    shift = np.array([6.0, 4.0, -3.0])
    length = float(np.linalg.norm(shift))
    errors_mm = []
    for size in (4.0, 2.0, 1.0):
        shape = (int(60 / size),) * 3
        spacing = (size, size, size)
        a = ball((28.3, 28.1, 31.7), 20.0, spacing, shape)
        b = ball(np.array((28.3, 28.1, 31.7)) + shift, 20.0, spacing, shape)
        found = surface.compare(a, b, spacing)
        errors_mm.append(abs(found.hd100 - length))
        assert errors_mm[-1] <= math.sqrt(3) * size / 2
        assert found.hd95 < found.hd100
    assert errors_mm[-1] < 0.5


def test_balls_with_one_centre_are_the_difference_of_their_radii_apart():
    spacing, shape = (1.0, 1.0, 1.0), (52, 52, 52)
    large = ball((25.0, 25.0, 25.0), 22.0, spacing, shape)
    small = ball((25.0, 25.0, 25.0), 15.0, spacing, shape)
    found = surface.compare(small, large, spacing)
    assert found.hd100 == pytest.approx(7.0, abs=1.0)
    assert found.hd95 == pytest.approx(7.0, abs=1.0)
    assert found.surface_dice(5.0) == 0.0
    assert found.surface_dice(8.5) == 1.0


def test_one_stray_voxel_moves_hd100_but_not_hd95():
    reference = ball((30.0, 55.0, 50.0), 20.0)
    predicted = reference.copy()
    predicted[0, 0, 0] = True
    found = surface.compare(predicted, reference, SPACING)
    nearest = np.linalg.norm(in_mm(reference), axis=1).min()
    assert found.hd100 == pytest.approx(nearest)
    assert found.hd95 == 0.0


def test_the_percentile_is_the_larger_of_both_directions():
    predicted, reference = np.zeros((2, 1, 1, 40), bool)
    reference[0, 0, ::4] = True  # ten voxels, each a border
    predicted[0, 0, 0] = True
    found = surface.compare(predicted, reference, (1.0, 1.0, 2.0))
    distances = 8.0 * np.arange(10)
    assert found.hd100 == 72.0
    assert found.hd95 == pytest.approx(np.percentile(distances, 95))  # one way is 0
    assert found.surface_dice(8.0) == (2 + 1) / 11


def test_the_edge_of_the_image_counts_as_outside(rng: np.random.Generator):
    assert surface.border(np.ones((3, 4, 5), bool)).sum() == 60 - 1 * 2 * 3
    mask = blob(rng)
    np.testing.assert_array_equal(surface.border(mask), plain_border(mask))
    planes = np.stack([plain_border(plane) for plane in mask])
    np.testing.assert_array_equal(surface.border(mask, axes=(1, 2)), planes)


@pytest.mark.parametrize("level", [0.3, 1.2, 2.5])
def test_distances_are_those_of_all_pairs_and_of_transforms(
    rng: np.random.Generator, level: float
):
    a, b = blob(rng, level=level), blob(rng, level=level)
    found = surface.compare(a, b, SPACING)
    points = in_mm(a), in_mm(b)
    directed = [
        distance.directed_hausdorff(points[0], points[1])[0],
        distance.directed_hausdorff(points[1], points[0])[0],
    ]
    assert found.hd100 == pytest.approx(max(directed), abs=1e-9)
    far = [
        ndimage.distance_transform_edt(~plain_border(other), SPACING)[plain_border(one)]
        for one, other in ((a, b), (b, a))
    ]
    np.testing.assert_allclose(found.from_predicted, far[0], atol=1e-9)
    np.testing.assert_allclose(found.from_reference, far[1], atol=1e-9)
    expected = max(np.percentile(side, 95) for side in far)
    assert found.hd95 == pytest.approx(expected, abs=1e-9)
    near = sum(np.count_nonzero(side <= 4.0) for side in far)
    assert found.surface_dice(4.0) == near / sum(side.size for side in far)


def by_simpleitk(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    images = []
    for mask in (a, b):
        image = sitk.GetImageFromArray(mask.astype(np.uint8))
        image.SetSpacing(SPACING[::-1])
        images.append(image)
    hausdorff = sitk.HausdorffDistanceImageFilter()
    hausdorff.Execute(*images)
    measures = sitk.LabelOverlapMeasuresImageFilter()
    measures.Execute(*images)
    return hausdorff.GetHausdorffDistance(), measures.GetDiceCoefficient()


@pytest.mark.parametrize("shift", [(0, 1, 2), (3, 0, -2), (-2, 4, 0)])
def test_simpleitk_finds_the_same(shift):
    reference = ball((30.0, 55.0, 50.0), 18.0) | ball((38.0, 70.0, 60.0), 12.0)
    predicted = np.roll(reference, shift, (0, 1, 2)) | ball((20.0, 40.0, 50.0), 8.0)
    found = surface.compare(predicted, reference, SPACING)
    hausdorff, dice = by_simpleitk(predicted, reference)
    assert found.dice == pytest.approx(dice, abs=1e-12)
    assert found.hd100 == pytest.approx(hausdorff, abs=1e-5)
    volumes = surface.compare_volumes(predicted, reference, SPACING)
    assert volumes == pytest.approx(hausdorff, abs=1e-5)


@pytest.mark.parametrize("level", [-0.5, 0.3, 1.2, 2.5])
def test_between_volumes_simpleitk_finds_the_same_in_any_mask(
    rng: np.random.Generator, level: float
):
    for _ in range(5):
        a, b = blob(rng, level=level), blob(rng, level=level)
        hausdorff, _ = by_simpleitk(a, b)
        volumes = surface.compare_volumes(a, b, SPACING)
        assert volumes == pytest.approx(hausdorff, abs=1e-5)


def test_a_hole_counts_between_borders_but_not_between_volumes():
    whole = np.zeros((9, 9, 9), bool)
    whole[1:8, 1:8, 1:8] = True
    holed = whole.copy()
    holed[4, 4, 4] = False
    assert surface.compare(holed, whole, (1.0, 1.0, 1.0)).hd100 == 2.0
    assert surface.compare_volumes(holed, whole, (1.0, 1.0, 1.0)) == 1.0
    assert by_simpleitk(holed, whole)[0] == pytest.approx(2.5)  # along z
    assert surface.compare_volumes(holed, whole, SPACING) == 2.5


def test_slices_are_compared_each_for_itself(rng: np.random.Generator):
    a, b = blob(rng, level=1.5), blob(rng, level=1.5)
    a[:3] = b[20:] = False
    found = surface.compare_slices(a, b)
    diagonal = math.hypot(*SHAPE[1:])
    each, one_only = [], 0
    for plane_a, plane_b in zip(a, b, strict=True):
        if plane_a.any() and plane_b.any():
            points = (
                np.argwhere(plain_border(plane_a)),
                np.argwhere(plain_border(plane_b)),
            )
            each.append(
                max(
                    distance.directed_hausdorff(*points)[0],
                    distance.directed_hausdorff(*points[::-1])[0],
                )
            )
        elif plane_a.any() or plane_b.any():
            one_only += 1
    assert one_only >= 4 and len(each) == found.both
    assert found.one_only == one_only and found.penalty_px == pytest.approx(diagonal)
    assert found.both_mean_px == pytest.approx(np.mean(each))
    mean = (sum(each) + one_only * diagonal) / (len(each) + one_only)
    assert found.mean_px == pytest.approx(mean)


def test_masks_of_different_shape_are_an_error():
    with pytest.raises(errors.GeometryError, match="on the same grid"):
        surface.compare(np.zeros((2, 3, 3), bool), np.zeros((2, 3, 4), bool), SPACING)
