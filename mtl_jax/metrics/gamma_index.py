"""The gamma index of a predicted dose: is there an equal dose near each voxel?

Input: the reference and the evaluated dose [Z, Y, X] in Gy on one grid. Output: the
gamma index of each voxel, or the percentage of voxels that pass (gamma at most 1).

Low et al., Med. Phys. 25, 656 (1998): gamma at a voxel r of the reference is the
minimum, over the points p of the evaluated dose, of

    sqrt((|p - r| / distance)^2 + ((evaluated(p) - reference(r)) / dose)^2)

- `dose` is a percentage of the highest reference dose (global), or of the reference
  dose in the voxel itself (local). The highest dose is used, not a prescription,
  because every patient has one; pymedphys.gamma has the same default.
- Only voxels with at least 10 % of the highest reference dose count.
- p are the points of a cubic lattice around r with a step of a tenth of `distance`,
  where the evaluated dose is interpolated linearly in 3D; none lies outside the grid.
  A finer lattice could only lower gamma, by at most 0.087 sqrt(1 + g^2) where g is the
  gradient of the evaluated dose in units of `dose` / `distance`.

All voxels share the lattice, so that its points between the same eight neighbours are
one product of matrices. Shells of growing distance are searched; a voxel takes part in
a product only if the steepest gradient there allows a lower gamma.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from mtl_jax.core import geometry

THRESHOLD_PERCENT = 10.0
STEPS = 10  # of the lattice within the distance
SHELLS = 3  # within the distance
# A dose that differs by exactly the criterion passes, whatever its last digit.
ROUNDING = 1e-6
# Outside the grid; no interpolation with it comes near to a dose.
_OUTSIDE_GY = np.float32(1e9)
_VOXELS = 2**17  # looked at together
# Values of one product: it stays in the cache, and OpenBLAS starts no threads for it,
# which wait for each other longer than they multiply.
_PRODUCT = 2**15


class Criterion(NamedTuple):
    """A dose difference and a distance that give a gamma of 1, each on its own."""

    dose_percent: float
    distance_mm: float
    local: bool = False  # the percentage is of the voxel's own reference dose


@dataclasses.dataclass(frozen=True)
class Doses:
    """Two doses on one grid, and what all criteria share."""

    reference_gy: np.ndarray  # [Z, Y, X]
    evaluated_gy: np.ndarray  # [Z, Y, X]
    spacing_mm: geometry.Spacing

    @functools.cached_property
    def highest_gy(self) -> float:
        """The highest reference dose."""
        return float(self.reference_gy.max(initial=0))

    @functools.cached_property
    def counted(self) -> np.ndarray:
        """[Z, Y, X] bool: the voxels that count."""
        least_gy = THRESHOLD_PERCENT / 100 * self.highest_gy
        return (self.reference_gy >= least_gy) & (self.highest_gy > 0)

    @functools.cached_property
    def reference(self) -> np.ndarray:
        """[V] float64, Gy, of the voxels that count."""
        return self.reference_gy[self.counted].astype(np.float64)

    @functools.cached_property
    def difference(self) -> np.ndarray:
        """[V] float64: the absolute difference in Gy in the voxels that count."""
        return np.abs(self.evaluated_gy[self.counted] - self.reference)

    @functools.cached_property
    def around(self) -> "dict[tuple[int, ...], _Around]":
        """The evaluated dose by how many voxels are reached."""
        return {}


def pass_rate(doses: Doses, criterion: Criterion) -> float:
    """Percentage of the counted voxels with gamma at most 1; NaN if none counts.

    >>> reference = np.full((5, 5, 5), 50.0)
    >>> doses = Doses(reference, reference * 1.02, (2.5, 4.0, 4.0))
    >>> pass_rate(doses, Criterion(3, 3)), pass_rate(doses, Criterion(1, 1))
    (100.0, 0.0)
    """
    if not doses.reference.size:
        return math.nan
    found = _search(doses, criterion, upto=1.0, passed_is_enough=True)
    return 100 * float(np.count_nonzero(found <= 1 + ROUNDING)) / found.size


def gamma(doses: Doses, criterion: Criterion, *, upto: float = 2.0) -> np.ndarray:
    """Gamma [Z, Y, X] float32: NaN where no voxel counts, infinite above `upto`."""
    volume = np.full(doses.reference_gy.shape, np.nan, np.float32)
    found = _search(doses, criterion, upto=upto, passed_is_enough=False)
    found[found > upto + ROUNDING] = np.inf
    volume[doses.counted] = found
    return volume


def _search(
    doses: Doses, criterion: Criterion, *, upto: float, passed_is_enough: bool
) -> np.ndarray:
    """Gamma [V] of the counted voxels; above `upto` only a number that is higher.

    With `passed_is_enough` a voxel is left at the first gamma of at most 1.
    """
    criterion_gy = _criterion_gy(doses, criterion)
    at_centre = doses.difference / criterion_gy
    best = at_centre.astype(np.float32)
    enough = 1 + ROUNDING if passed_is_enough else 0.0
    remaining = np.flatnonzero(best > enough)
    if not remaining.size:
        return best
    around = _around(doses, criterion.distance_mm * upto)
    # In units of the criterion: gamma is a length in them.
    slope = around.steepest[remaining] * criterion.distance_mm
    slope /= criterion_gy[remaining]
    at_centre = at_centre[remaining]
    for shell in _shells(criterion.distance_mm, upto, doses.spacing_mm):
        reached = best[remaining]
        least = _least(at_centre, slope, shell.low, shell.high)
        able = (least < np.minimum(reached, upto + ROUNDING)) & (reached > enough)
        able &= reached > shell.low
        for block in shell.blocks:
            _improve(best, remaining[able], block, around, doses, criterion_gy)
    return best


def _criterion_gy(doses: Doses, criterion: Criterion) -> np.ndarray:
    """[V] the dose difference in Gy that gives a gamma of 1."""
    share = criterion.dose_percent / 100
    if criterion.local:
        return share * doses.reference
    return np.full_like(doses.reference, share * doses.highest_gy)


class _Around(NamedTuple):
    """The evaluated dose around the voxels that count."""

    values: np.ndarray  # float32, flat, of a box that holds all that is reached
    strides: tuple[int, int, int]  # of the box
    centres: np.ndarray  # [V] indices in `values`
    steepest: np.ndarray  # [V] the largest possible gradient that is reached, Gy/mm

    def corners(self, voxels: np.ndarray, first: tuple[int, ...]) -> np.ndarray:
        """[8, N] doses at the corners of the cell `first` cells from `voxels` [N]."""
        cube = np.stack(np.meshgrid(*[[0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3)
        moves = np.asarray((cube + first) @ np.asarray(self.strides), np.intp)
        return self.values[self.centres[voxels] + moves[:, None]]


def _reach(distance_mm: float, spacing_mm: geometry.Spacing) -> tuple[int, ...]:
    """Voxels in z, y, x to which points at `distance_mm` belong."""
    return tuple(math.ceil(distance_mm / spacing - 1e-9) for spacing in spacing_mm)


def _around(doses: Doses, distance_mm: float) -> _Around:
    """The evaluated dose up to a distance from the voxels that count."""
    reach = _reach(distance_mm, doses.spacing_mm)
    if reach not in doses.around:
        # What lies outside the grid stays so: only there the box is padded.
        shape, box = doses.counted.shape, geometry.bounding_box(doses.counted)
        sides = list(zip(box, reach, shape, strict=True))
        inner = tuple(slice(max(s.start - r, 0), s.stop + r) for s, r, _ in sides)
        missing = [
            (max(r - s.start, 0), max(s.stop + r - size, 0)) for s, r, size in sides
        ]
        evaluated = doses.evaluated_gy[inner].astype(np.float32)
        padded = np.pad(evaluated, missing, constant_values=_OUTSIDE_GY)
        _, rows, columns = padded.shape
        strides = (rows * columns, columns, 1)
        counted = doses.counted[inner]
        starts = np.asarray([before for before, _ in missing])
        doses.around[reach] = _Around(
            padded.reshape(-1),
            strides,
            (np.argwhere(counted) + starts) @ np.asarray(strides),
            _steepest(evaluated, doses.spacing_mm, reach)[counted],
        )
    return doses.around[reach]


def _steepest(
    evaluated: np.ndarray, spacing_mm: geometry.Spacing, reach: tuple[int, ...]
) -> np.ndarray:
    """[Z, Y, X] the largest possible gradient within `reach` voxels, in Gy/mm.

    Between voxels, a derivative of the interpolated dose is a mean of differences of
    neighbouring voxels.
    """
    total = np.zeros(evaluated.shape, np.float32)
    for axis, spacing in enumerate(spacing_mm):
        edge = [(0, 0)] * 3
        edge[axis] = (1, 1)
        step = np.pad(np.abs(np.diff(evaluated, axis=axis)), edge) / np.float32(spacing)
        # Of a voxel, the differences to both sides, then those of its neighbours.
        count = evaluated.shape[axis]
        before = np.take(step, range(count), axis)
        after = np.take(step, range(1, count + 1), axis)
        sizes = [2 * r + 1 for r in reach]
        sizes[axis] -= 2
        near = ndimage.maximum_filter(np.maximum(before, after), sizes)
        total += near * near
    return np.sqrt(total)


def _least(
    at_centre: np.ndarray, slope: np.ndarray, low: float, high: float
) -> np.ndarray:
    """The lowest gamma that is possible between two distances, all in its units."""
    nearest = np.clip(at_centre * slope / (1 + slope * slope), low, high)
    return np.hypot(nearest, np.maximum(at_centre - slope * nearest, 0))


class _Block(NamedTuple):
    """Points of a shell between the same eight voxels."""

    first: tuple[int, ...]  # the lowest of the eight, relative to the voxel; z, y, x
    weights: np.ndarray  # [P, 8] float32, of the eight
    squares: np.ndarray  # [P, 1] float32, of the distance in units of the criterion
    nearest: float  # the smallest distance of them
    farthest: float
    voxel: np.ndarray  # [3] float32, the spacing in units of the criterion's distance

    def least(self, corners: np.ndarray) -> np.ndarray:
        """The lowest gamma that is possible, from differences `corners` [8, N]."""
        if min(self.first) < -1 or max(self.first) > 0:
            # Between the eight voxels there is no dose beyond theirs.
            hull = np.maximum(corners.min(axis=0), -corners.max(axis=0))
            return np.hypot(np.maximum(hull, 0), self.nearest)
        # The points lie between the voxel itself, one of the eight, and others: how
        # steeply does the difference fall from the voxel to the others?
        cube = corners.reshape(2, 2, 2, -1)
        start = tuple(-index for index in self.first)
        sign = np.sign(cube[start])
        squares = np.zeros_like(sign)
        for axis, (side, size) in enumerate(zip(start, self.voxel, strict=True)):
            fall = sign * (cube.take(side, axis) - cube.take(1 - side, axis))
            squares += np.square(np.maximum(fall.max(axis=(0, 1)), 0) / size)
        slope = np.sqrt(squares)
        return _least(np.abs(cube[start]), slope, self.nearest, self.farthest)


class _Shell(NamedTuple):
    """Points between two distances, in units of the criterion."""

    low: float
    high: float
    blocks: list[_Block]


@functools.lru_cache(maxsize=32)
def _shells(
    distance_mm: float, upto: float, spacing_mm: geometry.Spacing
) -> list[_Shell]:
    """The lattice's points up to `upto` in shells of growing distance."""
    steps = math.floor(STEPS * upto + 1e-9)
    axis = np.arange(-steps, steps + 1)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    far = np.sqrt(np.sum(points**2, axis=1)) / STEPS
    count = math.ceil(SHELLS * upto)
    edges = np.linspace(0, upto, count + 1)
    shells = []
    for low, high in itertools.pairwise(edges):
        inside = (far > low + 1e-9) & (far <= high + 1e-9)
        blocks = _blocks(points[inside] / STEPS, distance_mm, spacing_mm)
        shells.append(_Shell(float(low), float(high), list(blocks)))
    return shells


def _blocks(
    points: np.ndarray, distance_mm: float, spacing_mm: geometry.Spacing
) -> Iterator[_Block]:
    """`points` [P, 3], in units of the distance, by the voxels around them."""
    far = np.sqrt(np.sum(points**2, axis=1))
    in_voxels = points * distance_mm / np.asarray(spacing_mm)
    first = np.floor(in_voxels + 1e-9).astype(int)
    # The last voxel that is reached is the end of a cell, not the beginning of one.
    last = np.asarray(_reach(distance_mm * far.max(), spacing_mm)) - 1
    first = np.minimum(first, last)
    parts = np.clip(in_voxels - first, 0, 1)
    for key in np.unique(first, axis=0):
        of_key = (first == key).all(axis=1)
        along = [np.stack([1 - part, part]) for part in parts[of_key].T]
        weights = np.einsum("ip,jp,kp->pijk", *along).reshape(-1, 8)
        squares = far[of_key, None] ** 2
        yield _Block(
            tuple(key.tolist()),
            np.ascontiguousarray(weights, np.float32),
            squares.astype(np.float32),
            float(far[of_key].min()),
            float(far[of_key].max()),
            np.asarray(spacing_mm, np.float32) / np.float32(distance_mm),
        )


def _improve(
    best: np.ndarray,
    voxels: np.ndarray,
    block: _Block,
    around: _Around,
    doses: Doses,
    criterion_gy: np.ndarray,
) -> None:
    """Lower `best` [V] of `voxels` [N] where a point of `block` is better."""
    for start in range(0, voxels.size, _VOXELS):
        some = voxels[start : start + _VOXELS]
        corners = around.corners(some, block.first)
        # Weights add up to 1, so differences can be interpolated instead of doses.
        corners -= doses.reference[some].astype(np.float32)
        corners /= criterion_gy[some].astype(np.float32)
        able = block.least(corners) < best[some]
        some, corners = some[able], corners[:, able]
        lowest = best[some]
        size = max(_PRODUCT // block.squares.size, 1)
        for at in range(0, some.size, size):
            part = slice(at, at + size)
            squares = block.weights @ corners[:, part]
            np.square(squares, out=squares)
            squares += block.squares
            np.minimum(lowest[part], np.sqrt(squares.min(axis=0)), out=lowest[part])
        best[some] = lowest
