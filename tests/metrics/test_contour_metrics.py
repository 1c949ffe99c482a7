"""What is reported of contours: perfect ones, and every way of being empty."""

import math

import numpy as np
import pytest

from mtl_jax.core import errors, geometry, sites
from mtl_jax.metrics import contour_metrics, surface

GRID = geometry.Grid((4, 8, 6), (2.5, 3.0, 4.0))
NAMES = sites.CONTOUR_METRICS
DIAGONAL_MM = math.hypot(4 * 2.5, 8 * 3.0, 6 * 4.0)
DIAGONAL_PX = math.hypot(8, 6)


def mask(*voxels: tuple[int, int, int]) -> np.ndarray:
    found = np.zeros(GRID.shape, bool)
    for voxel in voxels:
        found[voxel] = True
    return found


def score(predicted: np.ndarray, reference: np.ndarray | None):
    values = contour_metrics.score("Larynx", predicted, reference, GRID, NAMES)
    assert [v.metric for v in values] == list(NAMES)
    assert [v.unit for v in values] == ["1", "mm", "mm", "1", "px"]
    assert {v.structure for v in values} == {"Larynx"}
    return {value.metric: value for value in values}


def numbers(values) -> list[float]:
    return [value.prediction for value in values.values()]


def test_perfect_contours():
    drawn = mask((1, 2, 3), (1, 2, 4), (2, 2, 3))
    found = score(drawn, drawn)
    assert numbers(found) == [1.0, 0.0, 0.0, 1.0, 0.0]
    assert [v.reference for v in found.values()] == [1.0, 0.0, 0.0, 1.0, 0.0]
    assert not any(v.error or v.note for v in found.values())


def test_one_voxel_beside_another():
    found = score(mask((1, 2, 3)), mask((1, 2, 4)))
    assert numbers(found) == [0.0, 4.0, 4.0, 0.0, 1.0]
    assert [v.error for v in found.values()] == [1.0, 4.0, 4.0, 1.0, 1.0]


def test_a_tolerance_is_met_by_what_is_just_as_far():
    predicted, reference = mask((1, 2, 3)), mask((1, 2, 4))
    for name, expected in (("surface_dice_4mm", 1.0), ("surface_dice_3.9mm", 0.0)):
        (value,) = contour_metrics.score("Larynx", predicted, reference, GRID, (name,))
        assert value.prediction == expected


@pytest.mark.parametrize(
    ("predicted", "reference", "note"),
    [
        (mask(), mask((1, 2, 3)), "missed"),
        (mask((1, 2, 3)), mask(), "false positive"),
    ],
)
def test_drawn_in_one_only_costs_the_diagonal(predicted, reference, note):
    found = score(predicted, reference)
    expected = [0.0, DIAGONAL_MM, DIAGONAL_MM, 0.0, DIAGONAL_PX]
    assert numbers(found) == pytest.approx(expected)
    errors_ = [1.0, DIAGONAL_MM, DIAGONAL_MM, 1.0, DIAGONAL_PX]
    assert [v.error for v in found.values()] == pytest.approx(errors_)
    assert {v.note for v in found.values()} == {note}


@pytest.mark.parametrize("empty", [0, 1, 2])
def test_between_volumes_the_policy_is_the_same(empty: int):
    masks = [mask() if empty in (side, 2) else mask((1, 2, 3)) for side in (0, 1)]
    names = ("hd100", "hd100_volumes")
    one, other = contour_metrics.score("Larynx", *masks, GRID, names)
    assert one[3:] == pytest.approx(other[3:], nan_ok=True) or empty == 2
    assert (one.note, other.note) == (one.note,) * 2
    assert math.isnan(other.prediction) == (empty == 2)


def test_empty_in_both_has_no_value():
    found = score(mask(), mask()).values()
    assert all(math.isnan(v.prediction) and math.isnan(v.error) for v in found)
    assert {v.note for v in found} == {"empty in reference and prediction"}


def test_not_contoured_has_no_value():
    found = score(mask((1, 2, 3)), None).values()
    assert all(math.isnan(v.prediction) and math.isnan(v.error) for v in found)
    assert {v.note for v in found} == {"not contoured"}


def test_a_slice_drawn_in_one_only_costs_its_diagonal():
    found = score(mask((0, 2, 3), (1, 2, 3)), mask((1, 2, 5), (2, 2, 5)))
    value = found["hd100_slices"]
    assert value.prediction == pytest.approx((2 + 2 * DIAGONAL_PX) / 3)
    assert value.note == "2 of 3 slices drawn in one; 2.00 px over the others"
    assert found["hd100"].note == ""


def test_dice_of_half_overlapping_cubes():
    a, b = np.zeros((2, 4, 4, 4), bool)
    a[:, :, 0:2] = b[:, :, 1:3] = True  # 32 voxels each, 16 shared
    assert surface.dice(a, b) == 0.5
    assert surface.dice(a, ~a) == 0.0
    assert np.isnan(surface.dice(a & ~a, b & ~b))


def test_an_unknown_metric_is_an_error():
    with pytest.raises(errors.ConfigError, match="did you mean 'hd95'"):
        contour_metrics.score("Larynx", mask(), mask(), GRID, ("hd_95",))
