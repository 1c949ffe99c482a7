"""Grids by hand: index to mm and back, resampling a linear field."""

import numpy as np
import pytest

from mtl_jax.core import errors, geometry

GRID = geometry.Grid((4, 5, 6), (3.0, 2.0, 1.0), origin_mm=(10.0, 20.0, 30.0))


def test_index_to_mm_by_hand():
    # z 1 * 3 mm, y 2 * 2 mm, x 3 * 1 mm from the origin (x, y, z).
    np.testing.assert_allclose(GRID.to_mm(np.array([1, 2, 3])), [13.0, 24.0, 33.0])
    np.testing.assert_allclose(GRID.to_index(np.array([13.0, 24.0, 33.0])), [1, 2, 3])
    assert GRID.voxel_mm3 == 6.0


def linear(points_mm):
    return points_mm @ np.array([0.5, -0.25, 2.0])


def indices(grid):
    return np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)


def test_resampling_keeps_a_linear_field():
    volume = linear(GRID.to_mm(indices(GRID)))
    onto = geometry.Grid((3, 4, 4), (2.5, 1.5, 1.2), origin_mm=(10.5, 21.0, 31.0))
    found = geometry.resample(volume, GRID, onto)
    np.testing.assert_allclose(found, linear(onto.to_mm(indices(onto))), rtol=1e-5)


def test_outside_is_filled_and_masks_stay_masks():
    mask = np.ones(GRID.shape, bool)
    onto = geometry.Grid((4, 5, 8), (3.0, 2.0, 1.0), origin_mm=(8.0, 20.0, 30.0))
    found = geometry.resample(mask, GRID, onto, order=0)
    assert found.dtype == bool
    np.testing.assert_array_equal(found[0, 0], [0, 0, 1, 1, 1, 1, 1, 1])


@pytest.mark.parametrize("order", [0, 1])
def test_an_edge_that_grids_share_is_not_lost_to_rounding(order):
    # 30 steps of 0.1 mm end where 10 of 0.3 mm do, but for rounding.
    fine = geometry.Grid((31, 31, 31), (0.1, 0.1, 0.1), origin_mm=(0.7, -0.2, 0.1))
    coarse = geometry.Grid((11, 11, 11), (0.3, 0.3, 0.3), origin_mm=(0.7, -0.2, 0.1))
    ones = np.ones(fine.shape, np.float32)
    for grid, onto in ((fine, coarse), (coarse, fine)):
        found = geometry.resample(
            ones[: grid.shape[0], : grid.shape[1], : grid.shape[2]],
            grid,
            onto,
            order=order,
        )
        np.testing.assert_array_equal(found, np.ones(onto.shape))
    beyond = geometry.Grid((11, 11, 12), (0.3, 0.3, 0.3), origin_mm=(0.7, -0.2, 0.1))
    found = geometry.resample(ones, fine, beyond, order=order, outside=-1.0)
    assert (found[..., 11] == -1).all() and (found[..., :11] == 1).all()


def test_turned_grids_are_resampled_too():
    turned = geometry.Grid(
        (4, 6, 5),
        (3.0, 1.0, 2.0),
        origin_mm=(10.0, 20.0, 30.0),
        direction=((0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0)),
    )
    volume = linear(GRID.to_mm(indices(GRID)))
    found = geometry.resample(volume, GRID, turned)
    np.testing.assert_allclose(found, volume.transpose(0, 2, 1), rtol=1e-6)


def test_fit_in_plane_keeps_the_centre():
    onto = geometry.fit_in_plane(GRID, (8, 8), 0.5)
    assert onto.spacing_mm == (3.0, 0.5, 0.5)
    middle = GRID.to_mm((np.array(GRID.shape) - 1) / 2)
    np.testing.assert_allclose(onto.to_mm((np.array(onto.shape) - 1) / 2), middle)


def test_impossible_grids_are_refused():
    with pytest.raises(errors.GeometryError, match="three positive numbers"):
        geometry.Grid((1, 2, 3), (1.0, 0.0, 1.0))
    with pytest.raises(errors.GeometryError, match=r"\(4, 5, 6\)"):
        geometry.resample(np.zeros((2, 2, 2)), GRID, GRID)


def test_a_bounding_box_holds_all_masks():
    a, b = np.zeros((2, 5, 6, 7), bool)
    assert geometry.bounding_box(a, b) == (slice(0, 0),) * 3
    a[1, 2, 3] = b[3, 2, 6] = True
    assert geometry.bounding_box(a, b) == (slice(1, 4), slice(2, 3), slice(3, 7))
