"""Disturbed input contours, voxel by voxel, and their table."""

import numpy as np
import pytest

from mtl_jax.core import sites
from mtl_jax.study import disturbed_contours
from mtl_jax.study.tables import measures
from tests.study import evaluation_rows

SITE = sites.OPENKBP
POSSIBLE = np.uint16(1 << len(SITE.names))


def bits(**masks):
    """[5, 5] with the voxels of each structure; a dose is possible everywhere."""
    found = np.full((5, 5), POSSIBLE, np.uint16)
    for name, voxels in masks.items():
        for y, x in voxels:
            found[y, x] |= np.uint16(1 << SITE.names.index(name))
    return found


SQUARE = [(y, x) for y in (1, 2, 3) for x in (1, 2, 3)]


@pytest.mark.parametrize(
    ("name", "voxels"),
    [
        ("one voxel to the patient's left", [(y, x + 1) for y, x in SQUARE]),
        ("one voxel to the patient's right", [(y, x - 1) for y, x in SQUARE]),
        ("one voxel to the back", [(y + 1, x) for y, x in SQUARE]),
        ("one voxel to the front", [(y - 1, x) for y, x in SQUARE]),
        ("eroded by one voxel", [(2, 2)]),
        (
            "dilated by one voxel",
            [*SQUARE, *((0, n) for n in (1, 2, 3)), *((4, n) for n in (1, 2, 3))]
            + [(n, m) for n in (1, 2, 3) for m in (0, 4)],
        ),
        (disturbed_contours.WRONG_SIDE, SQUARE),
    ],
)
def test_each_disturbance(name, voxels):
    found = disturbed_contours.disturb(bits(Brainstem=SQUARE), SITE, name)
    np.testing.assert_array_equal(found, bits(Brainstem=voxels))


def test_only_paired_organs_change_sides():
    before = bits(LeftParotid=[(0, 1)], RightParotid=[(0, 3)], PTV70=[(0, 1)])
    found = disturbed_contours.disturb(before, SITE, disturbed_contours.WRONG_SIDE)
    expected = bits(RightParotid=[(0, 1)], LeftParotid=[(0, 3)], PTV70=[(0, 1)])
    np.testing.assert_array_equal(found, expected)


def test_the_table_has_the_differences_to_the_undisturbed():
    # DVH errors of patient k are 1.5 k, then 3 k: a mean difference of 3.75.
    methods = [
        measures.Method.of(name, name, [evaluation_rows.dose_rows(scale)])
        for name, scale in ((disturbed_contours.AS_DRAWN, 1.0), ("moved", 2.0))
    ]
    table = disturbed_contours.table(methods, SITE, "test", seed=0)
    more = [row[6].value for row in table.rows]
    assert [row[5].value for row in table.rows] == pytest.approx([3.75, 7.5])
    assert more[1] == pytest.approx(3.75)
    low, high = (table.rows[1][at].value for at in (7, 8))
    assert low < 3.75 < high
