"""Thresholds and the largest piece, by hand and against a plain search."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mtl_jax.core import geometry
from mtl_jax.inference import postprocess, volumes


def test_a_voxel_belongs_from_the_threshold_on():
    contours = np.array([0.49, 0.5, 0.51], np.float16).reshape(1, 1, 1, 3)
    grid = geometry.Grid((1, 1, 3), (1.0, 1.0, 1.0))
    prediction = volumes.Prediction(grid, None, contours, ("Brainstem",))
    found = postprocess.masks(prediction, head="sigmoid", threshold=0.5)
    np.testing.assert_array_equal(found["Brainstem"].ravel(), [False, True, True])
    without = volumes.Prediction(grid, contours[0], None, ("Brainstem",))
    assert postprocess.masks(without, head="sigmoid", threshold=0.5) == {}


def test_softmax_masks_are_where_a_structure_is_the_most_probable():
    contours = np.float16([[0.4, 0.4, 0.6], [0.3, 0.1, 0.3]]).reshape(2, 1, 1, 3)
    grid = geometry.Grid((1, 1, 3), (1.0, 1.0, 1.0))
    prediction = volumes.Prediction(grid, None, contours, ("Brainstem", "Larynx"))
    found = postprocess.masks(prediction, head="softmax", threshold=0.5)
    np.testing.assert_array_equal(found["Brainstem"].ravel(), [True, False, True])
    assert not found["Larynx"].any()


def test_the_largest_piece_hangs_together_by_faces():
    mask = np.zeros((3, 4, 5), bool)
    mask[0, 0, 0:2] = True  # two voxels
    mask[1, 1, 2] = True  # touches them by an edge only
    mask[2, 3, 2:5] = True  # three voxels: the largest
    expected = np.zeros_like(mask)
    expected[2, 3, 2:5] = True
    np.testing.assert_array_equal(postprocess.largest(mask), expected)
    assert not postprocess.largest(np.zeros_like(mask)).any()


def pieces(mask):
    """Sets of voxels that hang together, by a flood from each of them."""
    left, found = set(map(tuple, np.argwhere(mask).tolist())), []
    while left:
        piece, edge = set(), [left.pop()]
        while edge:
            voxel = edge.pop()
            piece.add(voxel)
            for axis in range(3):
                for step in (-1, 1):
                    near = list(voxel)
                    near[axis] += step
                    if tuple(near) in left:
                        left.remove(tuple(near))
                        edge.append(tuple(near))
        found.append(piece)
    return found


@given(arrays.arrays(bool, (3, 4, 5), elements=st.booleans()))
@settings(deadline=None, max_examples=50)
def test_what_is_kept_is_one_piece_and_none_is_larger(mask):
    found = postprocess.largest(mask)
    kept = set(map(tuple, np.argwhere(found).tolist()))
    every = pieces(mask)
    assert kept in (every or [set()])
    assert len(kept) == max((len(piece) for piece in every), default=0)
