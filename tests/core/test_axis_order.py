"""Orders of axes: each of the 48, with nibabel's as the second opinion."""

import itertools

import numpy as np
import pytest
from nibabel import orientations

from mtl_jax.core import axis_order, errors, geometry

GRID = geometry.Grid((4, 5, 6), (3.0, 2.0, 1.5), (-30.0, 20.5, 7.0))
# nibabel's letters, for ends of the axes to the head, the back and the left.
LETTERS = (("S", "I"), ("P", "A"), ("L", "R"))
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.mark.parametrize("axes", list(itertools.permutations((0, 1, 2))))
@pytest.mark.parametrize("flipped", list(itertools.product((False, True), repeat=3)))
def test_every_order_there_and_back(axes, flipped):
    order = axis_order.AxisOrder(axes, flipped)
    volume = np.arange(120).reshape(GRID.shape)
    own, affine = order.own(volume), order.own_affine(GRID)
    np.testing.assert_array_equal(order.canonical(own), volume)
    # The same value is at the same place.
    index = np.array([3, 1, 4])
    (own_index,) = np.argwhere(own == volume[tuple(index)])
    np.testing.assert_allclose((affine @ [*own_index, 1])[:3], GRID.to_mm(index))
    codes = [""] * 3
    for side, axis in enumerate(axes):
        codes[axis] = LETTERS[side][flipped[side]]
    assert orientations.aff2axcodes(LPS_TO_RAS @ affine) == tuple(codes)
    assert axis_order.of_affine(affine, own.shape) == (order, GRID)


def test_single_precision_makes_no_other_grid():
    grid = geometry.Grid((40, 512, 512), (2.5, 0.9765625, 3.9), (-249.5, -400.1, 1e3))
    affine = axis_order.CANONICAL.own_affine(grid).astype(np.float32)
    assert axis_order.of_affine(affine, grid.shape)[1] == grid


def rotated(degrees):
    sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    affine = np.eye(4)
    affine[:2, :2] = [[cosine, -sine], [sine, cosine]]
    return affine


def sheared():
    """y leans by 3 in 100 to x: they meet at 90 - 1.7 degrees."""
    affine = np.eye(4)
    affine[0, 1] = 0.03
    return affine


@pytest.mark.parametrize(
    ("affine", "message"),
    [
        (rotated(2.0), "oblique: turned by 2.0 degrees"),
        (rotated(45.0), "oblique: turned by 45.0 degrees"),
        (sheared(), "oblique: sheared, two of them meet at 88.3 degrees"),
        (np.diag([1.0, 0.0, 1.0, 1.0]), "no size"),
        (np.diag([1.0, np.nan, 1.0, 1.0]), "no size"),
    ],
)
def test_what_is_not_along_the_patient_s_axes(affine, message):
    with pytest.raises(errors.GeometryError, match=message):
        axis_order.of_affine(affine, (3, 3, 3))
    assert axis_order.of_affine(rotated(0.05), (3, 3, 3))[1].spacing_mm == (1, 1, 1)
