"""Planar contours in patient millimetres to masks on a Grid, and back.

Input: Contours in mm and a Grid, or a mask. Output: a mask with notes, or Contours.

A voxel is inside a contour if its centre is inside, by the even-odd rule. A centre on
the outline is inside if the contour lies to its posterior or left, so two contours that
share an edge share no voxel. `from_mask` traces half way between voxel centres, so no
centre is on an outline: mask to contours to mask is exact.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence

import contourpy
import numpy as np
from scipy import ndimage

from mtl_jax.core import errors, geometry, note_kinds

# The points of a contour lie within this distance of one plane.
FLAT_MM = 0.1
# Beyond this fraction of the spacing, a contour lies between slices.
ON_SLICE = 0.02
# Contours farther away than so many image sizes belong to another image.
FAR = 3.0
# Decimals of an index: vertices on voxel centres stay there despite rounding.
_DECIMALS = 6


@dataclasses.dataclass(frozen=True)
class Contour:
    """A closed polygon in one plane; the last point joins the first."""

    points_mm: np.ndarray  # [P, 3] float64: x, y, z
    # PS3.3 C.8.8.6.3, CLOSEDPLANAR_XOR: always combined with others by exclusive or.
    # Otherwise it is a part, or, inside another contour, a hole.
    xor: bool = False


@dataclasses.dataclass(frozen=True)
class _Outline:
    """A contour in the plane of a slice."""

    points: np.ndarray  # [P, 2]: row, column
    height: float  # index along z
    xor: bool


@dataclasses.dataclass(frozen=True)
class _Part:
    """The area inside some outlines, in the smallest box around them."""

    corner: np.ndarray  # [2] row, column of mask[0, 0]
    mask: np.ndarray  # [Y, X] bool

    @property
    def end(self) -> np.ndarray:
        """[2] the row and the column after the last ones of the mask."""
        return self.corner + self.mask.shape

    def within(self, corner: np.ndarray, end: np.ndarray) -> np.ndarray:
        """The part of the mask in a box that overlaps it."""
        low = np.maximum(corner, self.corner) - self.corner
        high = np.minimum(end, self.end) - self.corner
        return self.mask[low[0] : high[0], low[1] : high[1]]


def fill(
    points: np.ndarray, shape: tuple[int, int], corner: tuple[int, int] = (0, 0)
) -> np.ndarray:
    """Mask [Y, X] of the centres inside the polygon `points` [P, 2] (row, column).

    `corner` is the row and column of mask[0, 0].
    """
    top, left = corner
    ends = np.roll(points, -1, axis=0)
    first = np.ceil(np.minimum(points[:, 0], ends[:, 0])).astype(int) - top
    beyond = np.ceil(np.maximum(points[:, 0], ends[:, 0])).astype(int) - top
    first, beyond = np.clip(first, 0, shape[0]), np.clip(beyond, 0, shape[0])
    # One entry for each row of centres that an edge crosses.
    crossed = beyond - first
    edge = np.repeat(np.arange(len(points)), crossed)
    row = np.arange(crossed.sum()) - np.repeat(np.cumsum(crossed) - crossed, crossed)
    row += first[edge]
    (y0, x0), (y1, x1) = points[edge].T, ends[edge].T
    column = np.ceil(x0 + (row + top - y0) * (x1 - x0) / (y1 - y0))
    column = np.clip(column - left, 0, shape[1]).astype(int)
    # From each crossing to the right, inside and outside change places.
    width = shape[1] + 1
    changes = np.bincount(row * width + column, minlength=shape[0] * width)
    inside = np.cumsum(changes.reshape(shape[0], width), axis=1) % 2 == 1
    return inside[:, :-1]


def to_mask(
    contours: Iterable[Contour], grid: geometry.Grid
) -> tuple[np.ndarray, tuple[note_kinds.Note, ...]]:
    """Mask [Z, Y, X] bool of an ROI's `contours`, and notes on corrections.

    A contour belongs to the nearest slice, at most half the spacing away. A contour
    inside another is a hole (or an island in it), copies count once, and contours that
    partly overlap are united.

    Raises:
        GeometryError: a contour is not in an axial plane, or far from the image.

    A square with a smaller one inside it is a ring, 4 x 4 voxels less 2 x 2:

    >>> grid = geometry.Grid((1, 6, 6), spacing_mm=(3.0, 1.0, 1.0))
    >>> def square(low, high):
    ...     corners = [(low, low), (high, low), (high, high), (low, high)]
    ...     return Contour(np.array([(x, y, 0.0) for x, y in corners]))
    >>> mask, notes = to_mask([square(0.5, 4.5), square(1.5, 3.5)], grid)
    >>> mask[0].sum(axis=1).tolist(), notes
    ([0, 4, 2, 2, 4, 0], ())
    """
    slices: dict[int, list[_Outline]] = {}
    for contour in contours:
        outline = _outline(contour, grid)
        slices.setdefault(int(np.floor(outline.height + 0.5)), []).append(outline)
    mask = np.zeros(grid.shape, bool)
    inside = lost = between = crowded = copies = united = 0
    for z, outlines in sorted(slices.items()):
        nearest = min((o.height for o in outlines), key=lambda h: abs(h - z))
        plane = [o for o in outlines if abs(o.height - nearest) < ON_SLICE]
        crowded += len(outlines) - len(plane)
        between += len(plane) if abs(nearest - z) > ON_SLICE else 0
        distinct = _distinct(plane)
        copies += len(plane) - len(distinct)
        area, overlaps = _combine(distinct)
        united += overlaps
        placed = _place(area, mask[z]) if 0 <= z < grid.shape[0] else 0
        inside += placed
        lost += np.count_nonzero(area.mask) - placed
    counts = {
        f"contours between slices, moved to the nearest slice: {between}": between,
        f"contours left out because others are nearer their slice: {crowded}": crowded,
        f"contours left out as copies of others: {copies}": copies,
        f"slices on which contours overlap in part, and were united: {united}": united,
    }
    notes = note_kinds.of("contours", (text for text, n in counts.items() if n))
    if lost:
        sentence = f"part that lies outside the CT: {lost / (inside + lost):.1%}"
        notes += (note_kinds.Note("outside", sentence),)
    return mask, notes


def from_mask(mask: np.ndarray, grid: geometry.Grid) -> tuple[Contour, ...]:
    """Contours of `mask` [Z, Y, X] bool, slice by slice from the feet.

    Holes are nested contours. Lines run half way between the centres inside and
    outside, also at the image's border. Corners are cut, so the area inside is slightly
    smaller than that of the voxels.

    >>> grid = geometry.Grid((1, 5, 5), spacing_mm=(3.0, 2.0, 2.0))
    >>> mask = np.zeros(grid.shape, bool)
    >>> mask[0, 1:3, 1:4] = True
    >>> (contour,) = from_mask(mask, grid)
    >>> contour.points_mm.max(axis=0).tolist()  # x, y, z: half a voxel further
    [7.0, 5.0, 0.0]
    >>> bool((to_mask([contour], grid)[0] == mask).all())
    True
    """
    contours = []
    for z in np.flatnonzero(mask.any((1, 2))):
        rows, columns = np.flatnonzero(mask[z].any(1)), np.flatnonzero(mask[z].any(0))
        corner = np.array([rows[0], columns[0]])
        part = mask[z, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        padded = np.pad(part, 1).astype(np.float64)
        generator = contourpy.contour_generator(z=padded)
        for line in generator.lines(0.5):
            # x, y and closed; the corner of the padding is one before the part's.
            points = np.asarray(line)[:-1, ::-1] + corner - 1
            index = np.insert(points, 0, z, axis=1)
            contours.append(Contour(grid.to_mm(index)))
    return tuple(contours)


def missing_slices(mask: np.ndarray) -> np.ndarray:
    """Slices without a voxel between the first and the last that have one."""
    contoured = np.flatnonzero(mask.any((1, 2)))
    if contoured.size == 0:
        return contoured
    return np.setdiff1d(np.arange(contoured[0], contoured[-1]), contoured)


def fill_gaps(mask: np.ndarray, grid: geometry.Grid, most: int) -> np.ndarray:
    """`mask` with gaps of up to `most` slices filled between their neighbours.

    Shape-based: the signed distance to the outline is interpolated linearly along z.
    """
    filled = mask.copy()
    contoured = np.flatnonzero(mask.any((1, 2)))
    for below, above in itertools.pairwise(contoured.tolist()):
        if not 1 < above - below <= most + 1:
            continue
        depths = [_depth(mask[z], grid.spacing_mm[1:]) for z in (below, above)]
        for z in range(below + 1, above):
            part = (z - below) / (above - below)
            filled[z] = (1 - part) * depths[0] + part * depths[1] > 0
    return filled


def _depth(mask: np.ndarray, spacing_mm: tuple[float, float]) -> np.ndarray:
    """Distance in mm to the other side of the outline, positive inside."""
    padded = np.pad(mask, 1)
    inside, outside = (
        ndimage.distance_transform_edt(side, sampling=spacing_mm)[1:-1, 1:-1]
        for side in (padded, ~padded)
    )
    return inside - outside


def _outline(contour: Contour, grid: geometry.Grid) -> _Outline:
    index = grid.to_index(contour.points_mm)
    heights = index[:, 0]
    thickness_mm = np.ptp(heights) * grid.spacing_mm[0]
    if thickness_mm > FLAT_MM:
        raise errors.GeometryError(
            f"a contour is not in an axial plane (its points are up to "
            f"{thickness_mm:.1f} mm apart along the body); export contours drawn on "
            "the axial slices of this CT"
        )
    size = np.array(grid.shape)
    if np.any(index < -FAR * size) or np.any(index > (1 + FAR) * size):
        raise errors.GeometryError(
            f"a contour is far from the CT (points up to "
            f"{np.abs(contour.points_mm).max():.0f} mm from the origin); it "
            "belongs to another image, or is damaged"
        )
    points = np.round(index[:, 1:], _DECIMALS)
    return _Outline(points, round(float(heights.mean()), _DECIMALS), contour.xor)


def _distinct(outlines: Sequence[_Outline]) -> list[_Outline]:
    """`outlines` without plain ones that have the same points as another."""
    known: set[bytes] = set()
    distinct = []
    for outline in outlines:
        points = np.unique(np.round(outline.points, 3), axis=0).tobytes()
        if outline.xor or points not in known:
            distinct.append(outline)
        if not outline.xor:
            known.add(points)
    return distinct


def _combine(outlines: Sequence[_Outline]) -> tuple[_Part, bool]:
    """The area inside the outlines of a plane, and whether any were united.

    It includes the area outside the image.
    """
    parts: dict[int, _Part] = {}
    boxes = np.zeros((len(outlines), 2, 2), int)  # of the parts: corner, end
    exclusive, united = [], False
    for number, outline in enumerate(outlines):
        part = _filled(outline.points)
        if outline.xor or not part.mask.any():  # an empty part overlaps with none
            exclusive.append(part)
            continue
        # A united part may overlap further ones: repeat until none does.
        while (other := _overlapping(part, parts, boxes)) is not None:
            part, united = _joined([part, parts.pop(other)], np.logical_or), True
            boxes[other] = 0
        parts[number], boxes[number] = part, (part.corner, part.end)
    return _joined([*exclusive, *parts.values()], np.logical_xor), united


def _filled(points: np.ndarray) -> _Part:
    corner = np.floor(points.min(axis=0)).astype(int)
    rows, columns = np.ceil(points.max(axis=0)).astype(int) + 1 - corner
    return _Part(corner, fill(points, (rows, columns), (corner[0], corner[1])))


def _joined(parts: Sequence[_Part], combine: np.ufunc) -> _Part:
    """All parts as one, combined in their order."""
    corner = np.min([part.corner for part in parts], axis=0)
    mask = np.zeros(np.max([part.end for part in parts], axis=0) - corner, bool)
    for part in parts:
        (y0, x0), (y1, x1) = part.corner - corner, part.end - corner
        target = mask[y0:y1, x0:x1]
        combine(target, part.mask, out=target)
    return _Part(corner, mask)


def _overlapping(
    part: _Part, others: Mapping[int, _Part], boxes: np.ndarray
) -> int | None:
    """The first of `others` that overlaps `part` without one being a hole in the other.

    Two parts with the same voxels are one area that was drawn twice.
    """
    corners = np.maximum(boxes[:, 0], part.corner)
    ends = np.minimum(boxes[:, 1], part.end)
    size = np.count_nonzero(part.mask)
    for number in np.flatnonzero((corners < ends).all(axis=1)).tolist():
        other, corner, end = others[number], corners[number], ends[number]
        shared = np.count_nonzero(part.within(corner, end) & other.within(corner, end))
        others_size = np.count_nonzero(other.mask)
        if shared and (shared < min(size, others_size) or size == others_size):
            return number
    return None


def _place(part: _Part, onto: np.ndarray) -> int:
    """Write `part` onto the slice `onto`; returns the number of voxels written."""
    low, high = np.maximum(part.corner, 0), np.minimum(part.end, onto.shape)
    if np.any(low >= high):
        return 0
    (y0, x0), (y1, x1) = low, high
    onto[y0:y1, x0:x1] = part.within(low, high)
    return int(np.count_nonzero(onto[y0:y1, x0:x1]))
