"""Planar contours in patient millimetres to masks on a Grid, and back.

Input: Contours in mm and a Grid, or a mask. Output: a mask with notes, or Contours.

A voxel is inside a contour if its centre is inside, by the even-odd rule. A centre on
the outline is inside if the contour lies to its posterior or left, so two contours that
share an edge share no voxel. Only if all points of a contour are voxel centres, as of
outlines that OpenCV traced through the outermost voxels of a mask, do the centres on it
belong to the ROI, also if it is a hole. `from_mask` traces half way between voxel
centres, so no centre is on an outline: mask to contours to mask is exact.
"""

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence

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
# Points within this part of a voxel from a centre are on it.
ON_CENTRE = 0.01
# Crossings of edges and rows that are held at a time.
CROSSINGS = 1 << 18
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

    @property
    def is_traced_through_centres(self) -> bool:
        """Whether all points are voxel centres."""
        distance = np.abs(self.points - np.rint(self.points))
        return not self.xor and bool(distance.max() <= ON_CENTRE)


@dataclasses.dataclass(frozen=True)
class _Area:
    """A mask in a box of a slice."""

    corner: tuple[int, int]  # row, column of mask[0, 0]
    mask: np.ndarray  # [Y, X] bool

    @property
    def box(self) -> tuple[slice, slice]:
        """Where it is in the slice."""
        y, x = self.corner
        return slice(y, y + self.mask.shape[0]), slice(x, x + self.mask.shape[1])

    def united(self, other: "_Area") -> "_Area":
        """The area that is in one of both."""
        corner = np.minimum(self.corner, other.corner)
        ends = (np.add(area.corner, area.mask.shape) for area in (self, other))
        mask = np.zeros(np.maximum(*ends) - corner, bool)
        for area in (self, other):
            y, x = area.corner - corner
            mask[y : y + area.mask.shape[0], x : x + area.mask.shape[1]] |= area.mask
        return _Area((int(corner[0]), int(corner[1])), mask)


class _Nested:
    """Areas of a slice, each apart from the others or inside one: one plane of labels.

    Areas that share a part, or are the same, are united.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.were_united = False
        # The number of the innermost area at each voxel; 0: none.
        self._innermost = np.zeros(shape, np.int32)
        self._around = {0: 0}  # by number, the smallest area that it lies in
        self._areas: dict[int, tuple[int, tuple[slice, slice]]] = {}  # voxels and box
        self._numbers = itertools.count(1)

    def add(self, area: _Area) -> None:
        """Add `area`, united with those that it shares a part with."""
        if not area.mask.any():
            return
        size, shared = self._shared(area)
        while (other := self._overlapping(size, shared)) is not None:
            area, self.were_united = area.united(self._remove(other)), True
            size, shared = self._shared(area)
        number = next(self._numbers)
        outer = [n for n, count in shared.items() if count == size]
        around = min(outer, key=lambda n: self._areas[n][0], default=0)
        for inner in shared.keys() - outer:
            if self._around[inner] == around:
                self._around[inner] = number
        self._around[number], self._areas[number] = around, (size, area.box)
        labels = self._innermost[area.box]
        labels[area.mask & (labels == around)] = number

    def odd(self) -> np.ndarray:
        """Mask [Y, X] of the voxels in an odd number of areas: not in a hole."""
        is_odd = np.zeros(max(self._around) + 1, bool)
        for number in self._areas:
            is_odd[number] = len(list(self._chain(number))) % 2
        return is_odd[self._innermost]

    def _chain(self, number: int) -> Iterator[int]:
        """`number` and the areas around it."""
        while number:
            yield number
            number = self._around[number]

    def _shared(self, area: _Area) -> tuple[int, dict[int, int]]:
        """The voxels of `area`, and by number those that it shares with each other."""
        counts = np.bincount(self._innermost[area.box][area.mask])
        shared = collections.Counter[int]()
        for number in np.flatnonzero(counts).tolist():
            for outer in self._chain(number):
                shared[outer] += int(counts[number])
        return int(counts.sum()), shared

    def _overlapping(self, size: int, shared: dict[int, int]) -> int | None:
        """An area that shares a part, or is the same: one that was drawn twice."""
        for number, count in shared.items():
            other = self._areas[number][0]
            if count < min(size, other) or size == other:
                return number
        return None

    def _remove(self, number: int) -> _Area:
        """The area `number`, which is taken out; those inside it stay."""
        _, box = self._areas.pop(number)
        labels = self._innermost[box]
        counts = np.bincount(labels.ravel())
        is_part = np.zeros(len(counts), bool)
        inner = set[int]()
        for label in np.flatnonzero(counts).tolist():
            chain = list(self._chain(label))
            is_part[label] = number in chain
            inner.update(n for n in chain if self._around[n] == number)
        mask = is_part[labels]
        around = self._around.pop(number)
        labels[labels == number] = around
        self._around.update(dict.fromkeys(inner, around))
        return _Area((box[0].start, box[1].start), mask)


def _crossings(points: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Where the edges of a polygon [P, 2] cross rows of centres, some at a time.

    Yields row, first column at or behind the edge, and 1 downwards or -1 upwards.
    """
    ends = np.roll(points, -1, axis=0)
    first = np.ceil(np.minimum(points[:, 0], ends[:, 0])).astype(int)
    crossed = np.ceil(np.maximum(points[:, 0], ends[:, 0])).astype(int) - first
    direction = np.where(ends[:, 0] > points[:, 0], 1, -1)
    part = np.cumsum(crossed) // CROSSINGS
    for number in range(part[-1] + 1):
        edge = np.repeat(np.flatnonzero(part == number), crossed[part == number])
        starts = np.cumsum(crossed[part == number]) - crossed[part == number]
        row = np.arange(len(edge)) - np.repeat(starts, crossed[part == number])
        row += first[edge]
        (y0, x0), (y1, x1) = points[edge].T, ends[edge].T
        column = np.ceil(x0 + (row - y0) * (x1 - x0) / (y1 - y0)).astype(int)
        yield row, column, direction[edge]


def _wind(points: np.ndarray, corner: tuple[int, int], plane: np.ndarray) -> None:
    """Add to `plane` [Y, X + 1] where the polygon begins (1, -1) and ends in each row.

    Summed along the rows, these are the times that the polygon goes round a voxel.
    """
    height, width = plane.shape
    for row, column, direction in _crossings(points):
        inside = (row >= corner[0]) & (row < corner[0] + height)
        column = np.clip(column[inside] - corner[1], 0, width - 1)
        place = (row[inside] - corner[0]) * width + column
        np.add.at(plane.reshape(-1), place, direction[inside].astype(plane.dtype))


def fill(
    points: np.ndarray, shape: tuple[int, int], corner: tuple[int, int] = (0, 0)
) -> np.ndarray:
    """Mask [Y, X] of the centres inside the polygon `points` [P, 2] (row, column).

    `corner` is the row and column of mask[0, 0].
    """
    plane = np.zeros((shape[0], shape[1] + 1), np.int32)
    _wind(points, corner, plane)
    return np.cumsum(plane, axis=1)[:, :-1] % 2 == 1


def to_mask(
    contours: Iterable[Contour], grid: geometry.Grid
) -> tuple[np.ndarray, tuple[note_kinds.Note, ...]]:
    """Mask [Z, Y, X] bool of an ROI's `contours`, and notes on corrections.

    A contour belongs to the nearest slice, at most half the spacing away. A contour
    inside another is a hole (or an island in it), copies count once, and contours that
    partly overlap in the image are united.

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
    drawn = lost = between = crowded = copies = united = crossed = centred = 0
    for z, outlines in sorted(slices.items()):
        nearest = min((o.height for o in outlines), key=lambda h: abs(h - z))
        plane = [o for o in outlines if abs(o.height - nearest) < ON_SLICE]
        crowded += len(outlines) - len(plane)
        between += len(plane) if abs(nearest - z) > ON_SLICE else 0
        distinct = _distinct(plane)
        copies += len(plane) - len(distinct)
        shape = grid.shape[1:] if 0 <= z < grid.shape[0] else (0, 0)
        for outline in distinct:
            whole, inside = _voxels(outline, shape)
            drawn, lost = drawn + whole, lost + whole - inside
        if shape == (0, 0):
            continue
        overlaps, twice = _combine(distinct, mask[z])
        united, crossed = united + overlaps, crossed + twice
        centred += sum(outline.is_traced_through_centres for outline in distinct)
    counts = {
        f"contours between slices, moved to the nearest slice: {between}": between,
        f"contours left out because others are nearer their slice: {crowded}": crowded,
        f"contours left out as copies of others: {copies}": copies,
        f"slices on which contours overlap in part, and were united: {united}": united,
        f"contours that cross themselves, with holes where they overlap: {crossed}":
            crossed,
        f"contours through voxel centres, which count as inside: {centred}": centred,
    }  # fmt: skip
    notes = note_kinds.of("contours", (text for text, n in counts.items() if n))
    if lost:
        sentence = f"part that lies outside the CT: {lost / drawn:.1%}"
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


def _voxels(outline: _Outline, shape: tuple[int, int]) -> tuple[int, int]:
    """Voxels inside an outline, and those of them in an image of `shape`."""
    whole = inside = 0
    for row, column, direction in _crossings(outline.points):
        whole += int(direction @ column)
        in_image = (row >= 0) & (row < shape[0])
        inside += int(direction[in_image] @ np.clip(column[in_image], 0, shape[1]))
    return abs(whole), abs(inside)


def _combine(outlines: Sequence[_Outline], onto: np.ndarray) -> tuple[bool, int]:
    """Write the mask of the outlines onto a slice [Y, X].

    Returns whether any were united, and how many overlap with themselves.
    """
    points = np.concatenate([outline.points for outline in outlines])
    corner, shape = _box(points, onto.shape)
    (top, left), (height, width) = corner, shape
    nested, twice = _Nested(shape), 0
    exclusive = np.zeros((height, width + 1), np.int32)
    centres = np.zeros(shape, bool)
    for outline in outlines:
        if outline.xor:
            _wind(outline.points, corner, exclusive)
            continue
        own_corner, (rows, columns) = _box(outline.points, onto.shape)
        plane = np.zeros((rows, columns + 1), np.int32)
        _wind(outline.points, own_corner, plane)
        times = np.cumsum(plane, axis=1)[:, :-1]
        place = (own_corner[0] - top, own_corner[1] - left)
        area = _Area(place, times % 2 == 1)
        twice += bool(np.any((times != 0) & ~area.mask))
        if outline.is_traced_through_centres:
            on_outline = _centres_on(outline, own_corner, area.mask.shape)
            area.mask[on_outline] = False
            centres[area.box][on_outline] = True
        nested.add(area)
    mask = nested.odd() ^ (np.cumsum(exclusive, axis=1)[:, :-1] % 2 == 1)
    onto[top : top + height, left : left + width] = mask | centres
    return nested.were_united, twice


def _box(
    points: np.ndarray, shape: tuple[int, ...]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Corner and shape of the box in an image of `shape` that holds the points."""
    low = np.clip(np.floor(points.min(axis=0)), 0, shape).astype(int)
    high = np.clip(np.ceil(points.max(axis=0)) + 1, low, shape).astype(int)
    (y0, x0), (y1, x1) = low.tolist(), high.tolist()
    return (y0, x0), (y1 - y0, x1 - x0)


def _centres_on(
    outline: _Outline, corner: tuple[int, int], shape: tuple[int, ...]
) -> np.ndarray:
    """Mask of the centres on an outline between centres, in a box of the slice."""
    points = np.rint(outline.points).astype(int)
    steps = np.roll(points, -1, axis=0) - points
    count = np.maximum(np.gcd(steps[:, 0], steps[:, 1]), 1)
    edge = np.repeat(np.arange(len(points)), count)
    number = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    on = points[edge] + number[:, None] * (steps // count[:, None])[edge]
    place = on - np.array(corner)
    inside = np.all((place >= 0) & (place < shape), axis=1)
    mask = np.zeros(shape, bool)
    mask[tuple(place[inside].T)] = True
    return mask
