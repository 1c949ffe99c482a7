"""Contours and masks: the rule at outlines by hand, holes, and the exact way back."""

import time
import tracemalloc

import numpy as np
import pytest
from matplotlib import path

from mtl_jax.core import contour_geometry, errors, geometry

# Column c lies at x = 10 + 0.5 c, row r at y = -20 + 2 r, slice z at 5 + 3 z mm.
GRID = geometry.Grid((4, 7, 9), (3.0, 2.0, 0.5), origin_mm=(10.0, -20.0, 5.0))


def contour(corners, z=1.0, xor=False):
    """A contour through (row, column) on slice `z`."""
    index = np.array([(z, row, column) for row, column in corners], float)
    return contour_geometry.Contour(GRID.to_mm(index), xor=xor)


def box(rows, columns, z=1.0, xor=False):
    (r0, r1), (c0, c1) = rows, columns
    return contour([(r0, c0), (r0, c1), (r1, c1), (r1, c0)], z, xor)


def picture(mask):
    return ["".join(".#"[int(value)] for value in row) for row in mask]


def filled(*contours):
    mask, notes = contour_geometry.to_mask(contours, GRID)
    assert not mask[[0, 2, 3]].any()
    return picture(mask[1]), notes


def test_a_box_in_millimetres_by_hand():
    # x 10.9 to 12.6: columns 2 (11.0) to 5 (12.5). y -17 to -13: rows 2 and 3.
    points = [(10.9, -17, 8), (12.6, -17, 8), (12.6, -13, 8), (10.9, -13, 8)]
    found = filled(contour_geometry.Contour(np.array(points, float)))
    empty = "." * 9
    assert found == (
        [empty, empty, "..####...", "..####...", empty, empty, empty],
        (),
    )


def test_centres_on_the_outline_belong_to_one_of_two_neighbours():
    # Both boxes go through the centres of column 4; rows 2 to 5, the last left out.
    left, right = box((1.5, 5), (1, 4)), box((1.5, 5), (4, 7))
    assert filled(left)[0][2] == ".###....."
    assert filled(right)[0][2] == "....###.."
    assert filled(left)[0][5] == "." * 9
    assert filled(left, right)[0][2] == ".######.."


@pytest.mark.parametrize("turn", [1, -1])
def test_the_direction_of_a_contour_means_nothing(turn):
    corners = [(0.5, 0.5), (0.5, 6.5), (4.5, 6.5), (2.5, 2.5)][::turn]
    # The slanted side crosses rows 1 to 4 at columns 1, 2, 3.5 and 5.5.
    assert filled(contour(corners))[0] == [
        ".........",
        ".######..",
        "..#####..",
        "....###..",
        "......#..",
        ".........",
        ".........",
    ]


def test_holes_and_islands():
    found, notes = filled(
        box((3.5, 4.5), (3.5, 4.5)),  # the island
        box((0.5, 6.5), (0.5, 7.5)),
        box((2.5, 5.5), (2.5, 5.5)),
    )
    assert notes == ()
    assert found[3] == ".##...##."
    assert found[4] == ".##.#.##."
    assert found[6] == ".#######."


def test_a_keyhole_leaves_no_cut():
    # Around, in along column 3.2, around the hole, and out the same way.
    ring = [(0.5, 0.5), (0.5, 7.5), (5.5, 7.5), (5.5, 3.2), (3.5, 3.2), (3.5, 5.5)]
    ring += [(2.5, 5.5), (2.5, 3.2), (3.5, 3.2), (5.5, 3.2), (5.5, 0.5)]
    assert filled(contour(ring))[0][1:6] == [
        ".#######.",
        ".#######.",
        ".###..##.",
        ".#######.",
        ".#######.",
    ]


def test_a_figure_of_eight_is_filled_by_even_and_odd():
    eight = [(0.5, 0.5), (4.5, 6.5), (0.5, 6.5), (4.5, 0.5)]
    found, _ = filled(contour(eight))
    assert found[1:5] == [".#....#..", ".##..##..", ".##..##..", ".#....#.."]


def test_contours_that_overlap_in_part_are_united_and_told():
    found, notes = filled(box((0.5, 3.5), (0.5, 4.5)), box((1.5, 5.5), (2.5, 7.5)))
    assert found[1] == ".####...."
    assert found[2] == ".#######."
    assert found[5] == "...#####."
    assert notes == ("slices on which contours overlap in part, and were united: 1",)


def test_an_area_drawn_twice_but_for_less_than_a_voxel_does_not_vanish():
    found, notes = filled(box((0.5, 3.5), (0.5, 4.5)), box((0.6, 3.4), (0.6, 4.4)))
    assert found[1:4] == [".####...."] * 3
    assert notes == ("slices on which contours overlap in part, and were united: 1",)


def planes_of_boxes(boxes):
    """Even-odd of nested boxes, unions of those that overlap: on whole planes."""
    parts = []
    for (y0, y1), (x0, x1) in boxes:
        mask = np.zeros((40, 50), bool)
        mask[y0:y1, x0:x1] = True
        while True:
            sizes = [np.count_nonzero(mask & part) for part in parts]
            found = [
                n
                for n, (shared, part) in enumerate(zip(sizes, parts, strict=True))
                if shared
                and (shared < min(mask.sum(), part.sum()) or (mask == part).all())
            ]
            if not found:
                break
            mask = mask | parts.pop(found[0])
        parts.append(mask)
    return np.logical_xor.reduce(parts)


def test_many_contours_of_a_slice_as_on_whole_planes():
    rng = np.random.default_rng(4)
    grid = geometry.Grid((3, 40, 50), (3.0, 2.0, 0.5))
    for count in (2, 5, 20, 60):
        low = rng.integers(0, 30, (count, 2))
        high = low + rng.integers(1, 20 if count < 20 else 6, (count, 2))
        boxes = [
            ((y0, min(y1, 40)), (x0, min(x1, 50)))
            for (y0, x0), (y1, x1) in zip(low.tolist(), high.tolist(), strict=True)
        ]
        drawn = []
        for (y0, y1), (x0, x1) in boxes:
            corners = [(y0, x0), (y0, x1), (y1, x1), (y1, x0)]
            index = np.array([(1, y - 0.5, x - 0.5) for y, x in corners])
            drawn.append(contour_geometry.Contour(grid.to_mm(index)))
        mask, _ = contour_geometry.to_mask(drawn, grid)
        np.testing.assert_array_equal(mask[1], planes_of_boxes(boxes))


def test_thousands_of_contours_on_a_slice_take_no_minutes():
    # 50 x 100 boxes around every second voxel, in one that holds all of them.
    grid = geometry.Grid((1, 120, 220), (3.0, 1.0, 1.0))
    centres = [
        (2 * row + 4, 2 * column + 4) for row in range(50) for column in range(100)
    ]
    drawn = [
        contour_geometry.Contour(
            np.array(
                [(c + x, r + y, 0.0) for y, x in ((-h, -w), (-h, w), (h, w), (h, -w))]
            )
        )
        for r, c, h, w in [
            (60, 110, 59.5, 109.5),
            *((r, c, 0.4, 0.4) for r, c in centres),
        ]
    ]
    mask, notes = contour_geometry.to_mask(drawn, grid)
    assert mask.sum() == 119 * 219 - 5000
    assert notes == ()


@pytest.mark.parametrize("xor", [True, False])
def test_thousands_of_large_triangles_take_no_minutes(xor):
    """Far beyond the image too; as masks of their own they would take gigabytes."""
    grid = geometry.Grid((1, 512, 512), (3.0, 1.0, 1.0))
    rng = np.random.default_rng(2)
    triangles = [
        contour_geometry.Contour(
            np.column_stack([rng.uniform(-1500, 2000, (3, 2)), np.zeros(3)]), xor
        )
        for _ in range(1000 if xor else 200)
    ]
    began = time.process_time()
    tracemalloc.start()
    mask, _ = contour_geometry.to_mask(triangles, grid)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.05 < mask.mean() < 0.95
    assert peak < 60e6
    assert time.process_time() - began < 30


def test_xor_triangles_are_the_parity_of_their_masks():
    rng = np.random.default_rng(8)
    grid = geometry.Grid((1, 30, 40), (3.0, 1.0, 1.0))
    points = rng.uniform(-20, 60, (50, 3, 2))
    triangles = [
        contour_geometry.Contour(np.column_stack([one, np.zeros(3)]), True)
        for one in points
    ]
    mask, _ = contour_geometry.to_mask(triangles, grid)
    y, x = np.mgrid[:30, :40]
    inside = [
        path.Path(one).contains_points(np.column_stack([x.ravel(), y.ravel()]))
        for one in points
    ]
    expected = (np.sum(inside, axis=0) % 2 == 1).reshape(30, 40)
    np.testing.assert_array_equal(mask[0], expected)


def traced(*corners):
    """A contour as OpenCV returns it: through the centres of outermost voxels."""
    return contour([(float(row), float(column)) for row, column in corners])


def test_outlines_through_voxel_centres_as_opencv_traces_them():
    # A disc: its outline goes through its outermost voxels, its hole's around it.
    disc = traced((1, 3), (1, 5), (3, 7), (5, 5), (5, 3), (3, 1))
    found, notes = filled(disc)
    assert found == [
        ".........",
        "...###...",
        "..#####..",
        ".#######.",
        "..#####..",
        "...###...",
        ".........",
    ]
    assert notes == ("contours through voxel centres, which count as inside: 1",)
    hole = traced((2, 4), (3, 5), (4, 4), (3, 3))  # the voxels around the one at 3, 4
    found, _ = filled(disc, hole)
    assert found[3] == ".###.###."
    assert found[2] == "..#####.."
    # One point off the centres, and the common rule holds.
    other = contour([(1, 3), (1, 5), (3, 7), (5, 5), (5, 3), (3, 1.1)])
    assert filled(other)[0][1] != "...###..."


def test_a_contour_that_overlaps_itself_is_told():
    # A loop that goes around rows 2 and 3, columns 3 and 4 twice.
    loop = [(0.5, 0.5), (0.5, 6.5), (3.5, 6.5), (3.5, 2.5), (1.5, 2.5), (1.5, 4.5)]
    loop += [(5.5, 4.5), (5.5, 0.5)]
    found, notes = filled(contour(loop))
    assert found[1:6] == [
        ".######..",
        ".##..##..",
        ".##..##..",
        ".####....",
        ".####....",
    ]
    assert notes == (
        "contours that cross themselves, with holes where they overlap: 1",
    )


def test_holes_that_overlap_are_one_hole():
    found, _ = filled(
        box((0.5, 5.5), (0.5, 7.5)),
        box((1.5, 3.5), (1.5, 4.5)),
        box((2.5, 4.5), (3.5, 6.5)),
    )
    assert found[2:5] == [".#...###.", ".#.....#.", ".###...#."]


def test_copies_count_once_and_are_told():
    one = box((0.5, 3.5), (0.5, 4.5))
    turned = contour_geometry.Contour(np.roll(one.points_mm, 1, axis=0)[::-1])
    found, notes = filled(one, turned)
    assert found[1] == ".####...."
    assert notes == ("contours left out as copies of others: 1",)


def test_xor_contours_exclude_each_other_whatever_their_order():
    parts = [box((0.5, 3.5), (0.5, 4.5), xor=True)]
    parts += [box((1.5, 5.5), (2.5, 7.5), xor=True), parts[0], parts[0]]
    for order in (parts, parts[::-1]):
        found, notes = filled(*order)
        assert found[1] == ".####...."
        assert found[2] == ".##..###."
        assert found[4] == "...#####."
        assert notes == ()


def test_contours_smaller_than_a_voxel_hold_nothing_and_harm_nothing():
    speck = box((2.1, 2.4), (3.1, 3.3))
    assert "#" not in "".join(filled(speck)[0])
    assert filled(speck, box((0.5, 3.5), (0.5, 4.5)))[0][2] == ".####...."


def test_what_lies_outside_the_image_is_cut_off_and_told():
    # 3 rows by 6 columns, of which 2 by 4 are in the image; 10 of 18 voxels are lost.
    found, notes = filled(box((-1.5, 1.5), (-2.5, 3.5)))
    assert found[:3] == ["####.....", "####.....", "." * 9]
    assert notes == ("part that lies outside the CT: 55.6%",)
    assert filled(box((-9.5, -2), (-5, -2)))[1] == (
        "part that lies outside the CT: 100.0%",
    )


def test_slices_beyond_the_ends_do_not_come_round_to_the_other_end():
    parts = [box((0.5, 1.5), (0.5, 1.5), z) for z in (-1, -0.7, 0, 3.4, 3.6)]
    mask, notes = contour_geometry.to_mask(parts, GRID)
    assert np.argwhere(mask).tolist() == [[0, 1, 1], [3, 1, 1]]
    assert "part that lies outside the CT: 50.0%" in notes


def test_contours_between_slices_go_to_the_nearest_and_are_told():
    mask, notes = contour_geometry.to_mask([box((0.5, 1.5), (0.5, 1.5), 1.4)], GRID)
    assert np.argwhere(mask).tolist() == [[1, 1, 1]]
    assert notes == ("contours between slices, moved to the nearest slice: 1",)
    mask, _ = contour_geometry.to_mask([box((0.5, 1.5), (0.5, 1.5), 1.5)], GRID)
    assert np.argwhere(mask).tolist() == [[2, 1, 1]]  # half way: to the head


def test_of_two_planes_on_one_slice_the_nearer_is_taken():
    near, far = box((0.5, 3.5), (0.5, 4.5), 1.1), box((1.5, 2.5), (1.5, 3.5), 0.8)
    found, notes = filled(far, near)
    assert found[2] == ".####...."
    assert "contours left out because others are nearer their slice: 1" in notes


def test_a_contour_across_slices_is_refused():
    points = box((0.5, 3.5), (0.5, 4.5)).points_mm
    points[0, 2] += 0.4
    with pytest.raises(errors.GeometryError, match=r"not in an axial plane .* 0\.4 mm"):
        contour_geometry.to_mask([contour_geometry.Contour(points)], GRID)


def test_a_contour_far_away_is_refused():
    points = box((0.5, 3.5), (0.5, 4.5)).points_mm
    points[2, 0] = 9000
    with pytest.raises(errors.GeometryError, match=r"far from the CT \(.* 9000 mm"):
        contour_geometry.to_mask([contour_geometry.Contour(points)], GRID)


def shapes():
    """Masks [Z, Y, X] that have holes, islands, corners that touch, and borders."""
    rng = np.random.default_rng(3)
    yy, xx = np.mgrid[:7, :9]
    ring = (abs(yy - 3) <= 2) & (abs(xx - 4) <= 3) & ~((yy == 3) & (abs(xx - 4) < 2))
    found = {"one": np.zeros(GRID.shape, bool), "none": np.zeros(GRID.shape, bool)}
    found["one"][2, 3, 4] = True
    found["all"] = np.ones(GRID.shape, bool)
    found["ring"] = np.stack([ring, ring, np.eye(7, 9) > 0, ring ^ (yy == 3)])
    found["board"] = np.broadcast_to((yy + xx) % 2 == 0, GRID.shape)
    for density in (0.2, 0.5, 0.8):
        found[f"noise {density}"] = rng.random(GRID.shape) < density
    return found


@pytest.mark.parametrize("name", shapes())
def test_mask_to_contours_to_mask_is_exact(name):
    mask = shapes()[name]
    contours = contour_geometry.from_mask(mask, GRID)
    found, notes = contour_geometry.to_mask(contours, GRID)
    np.testing.assert_array_equal(found, mask)
    assert notes == ()


def test_the_way_back_is_exact_after_the_rounding_of_a_file():
    mask = np.random.default_rng(4).random((2, 40, 30)) < 0.5
    grid = geometry.Grid(mask.shape, (2.5, 0.9765625, 1.171875), (-249.51, -130.3, -7))
    contours = [
        contour_geometry.Contour(np.round(contour.points_mm, 3))
        for contour in contour_geometry.from_mask(mask, grid)
    ]
    np.testing.assert_array_equal(contour_geometry.to_mask(contours, grid)[0], mask)


def test_a_traced_voxel_by_hand():
    mask = np.zeros(GRID.shape, bool)
    mask[2, 3, 4] = True
    (found,) = contour_geometry.from_mask(mask, GRID)
    # Half a voxel from the centre x 12, y -14, z 11 mm, in each direction.
    corners = {(12.25, -14, 11), (11.75, -14, 11), (12, -13, 11), (12, -15, 11)}
    assert set(map(tuple, found.points_mm.tolist())) == corners
    assert len(found.points_mm) == 4


def test_gaps_are_filled_as_far_as_asked():
    mask = np.zeros((6, 9, 9), bool)
    grid = geometry.Grid(mask.shape, (3.0, 1.0, 1.0))
    mask[0, 1:8, 1:8] = mask[2, 3:6, 3:6] = mask[5, 3:6, 3:6] = True
    assert contour_geometry.missing_slices(mask).tolist() == [1, 3, 4]
    np.testing.assert_array_equal(contour_geometry.fill_gaps(mask, grid, 0), mask)
    found = contour_geometry.fill_gaps(mask, grid, 1)
    # Half way between the squares of 7 and of 3 is the square of 5.
    assert picture(found[1])[1:4] == [".........", "..#####..", "..#####.."]
    assert found[1].sum() == 25
    assert not found[3:5].any()
    found = contour_geometry.fill_gaps(mask, grid, 2)
    np.testing.assert_array_equal(found[3], mask[2])
    np.testing.assert_array_equal(found[4], mask[2])
