"""Agreement of two masks: overlap, and distances between their borders.

Input: two masks [Z, Y, X] bool on one grid, and its spacing (z, y, x). Output: an
Agreement, with Dice, Hausdorff distances and surface Dice.

A border voxel is a voxel of the mask with one of its six neighbours outside; beyond the
image's edge is outside. Distances are those of voxel centres, in millimetres.
"""

import dataclasses
import math

import numpy as np
from scipy import spatial

from mtl_jax.core import errors, geometry

# A distance that exceeds a tolerance by rounding alone is within it.
_ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How a predicted mask agrees with a reference.

    If one mask is empty, the distances of the other's border voxels are the penalty. If
    both are empty, all values are NaN.
    """

    dice: float
    from_predicted: np.ndarray  # [P] mm from each border voxel to the nearest one
    from_reference: np.ndarray  # [R] mm in the other direction
    hd100: float  # mm, the largest of both
    penalty: float  # mm, the diagonal of the image

    @property
    def hd95(self) -> float:
        """The larger of the two directions' 95th percentiles (linear)."""
        both = [d for d in (self.from_predicted, self.from_reference) if d.size]
        return max((float(np.percentile(d, 95)) for d in both), default=math.nan)

    def surface_dice(self, tolerance: float) -> float:
        """Share of both borders' voxels within `tolerance` mm of the other border."""
        sides = (self.from_predicted, self.from_reference)
        size = sum(side.size for side in sides)
        near = sum(np.count_nonzero(s <= tolerance + _ROUNDING) for s in sides)
        return float(near / size) if size else math.nan


@dataclasses.dataclass(frozen=True)
class SliceAgreement:
    """Hausdorff distances of 2D slices, in pixels; NaN if no slice counts."""

    mean_px: float  # over slices with either mask; with one only: the penalty
    both_mean_px: float  # over slices with both masks
    both: int  # slices
    one_only: int
    penalty_px: float  # diagonal of a slice


def compare(
    predicted: np.ndarray, reference: np.ndarray, spacing_mm: geometry.Spacing
) -> Agreement:
    """Dice and the distances between the borders of two masks, in one pass.

    Args:
        predicted: [Z, Y, X] bool.
        reference: [Z, Y, X] bool, on the same grid.
        spacing_mm: of that grid (z, y, x).

    Raises:
        GeometryError: the masks have different shapes.

    Two rows of three voxels, 1 and 2 slices of 2.5 mm apart:

    >>> predicted, reference = np.zeros((2, 4, 4, 4), bool)
    >>> predicted[1, 1, :3] = reference[2:4, 1, :3] = True
    >>> agreement = compare(predicted, reference, (2.5, 1.0, 1.0))
    >>> agreement.hd100, agreement.surface_dice(2.5)  # 6 of 9 voxels within 2.5 mm
    (5.0, 0.6666666666666666)
    """
    check_shapes(predicted, reference)
    penalty = math.dist((0, 0, 0), np.multiply(predicted.shape, spacing_mm))
    box = geometry.bounding_box(predicted, reference)
    a, b = predicted[box], reference[box]
    borders = border(a), border(b)
    if a.any() and b.any():
        directed = [
            _distances(borders[0], borders[1], spacing_mm),
            _distances(borders[1], borders[0], spacing_mm),
        ]
    else:
        directed = [np.full(np.count_nonzero(one), penalty) for one in borders]
    largest = max((float(d.max()) for d in directed if d.size), default=math.nan)
    return Agreement(dice(a, b), directed[0], directed[1], largest, penalty)


def compare_volumes(
    predicted: np.ndarray, reference: np.ndarray, spacing_mm: geometry.Spacing
) -> float:
    """Hausdorff distance between the masks as sets of voxels, in mm.

    Voxels inside the other mask have distance 0, as in SimpleITK. The result equals
    `hd100` unless the largest distance is that of a border inside the other mask, such
    as that of a hole. NaN if both masks are empty.
    """
    check_shapes(predicted, reference)
    box = geometry.bounding_box(predicted, reference)
    a, b = predicted[box], reference[box]
    if not (a.any() and b.any()):
        return compare(predicted, reference, spacing_mm).hd100
    # From outside, the nearest voxel of a mask is one of its border.
    directed = (
        _distances(a & ~b, border(b), spacing_mm),
        _distances(b & ~a, border(a), spacing_mm),
    )
    return max(float(side.max(initial=0.0)) for side in directed)


def compare_slices(predicted: np.ndarray, reference: np.ndarray) -> SliceAgreement:
    """Hausdorff distances slice by slice in pixels, between borders in the plane."""
    check_shapes(predicted, reference)
    penalty = math.dist((0, 0), predicted.shape[1:])
    box = geometry.bounding_box(predicted, reference)
    a, b = border(predicted[box], axes=(1, 2)), border(reference[box], axes=(1, 2))
    in_a, in_b = a.any(axis=(1, 2)), b.any(axis=(1, 2))
    both, one_only = in_a & in_b, int(np.count_nonzero(in_a ^ in_b))
    largest = np.zeros(0)
    if both.any():
        a, b = a[both], b[both]
        # Slices lie too far apart for the nearest voxel to be in another one.
        spacing = (2 * penalty, 1.0, 1.0)
        largest = np.maximum(
            _largest_by_slice(a, _distances(a, b, spacing)),
            _largest_by_slice(b, _distances(b, a, spacing)),
        )
    total, count = float(largest.sum()), largest.size
    everywhere = count + one_only
    return SliceAgreement(
        mean_px=(total + penalty * one_only) / everywhere if everywhere else math.nan,
        both_mean_px=total / count if count else math.nan,
        both=count,
        one_only=one_only,
        penalty_px=penalty,
    )


def border(mask: np.ndarray, axes: tuple[int, ...] = (0, 1, 2)) -> np.ndarray:
    """Voxels of `mask` with a neighbour along `axes` that is outside."""
    inner = mask.copy()
    for axis in axes:
        along, source = np.moveaxis(inner, axis, 0), np.moveaxis(mask, axis, 0)
        along[1:] &= source[:-1]
        along[:-1] &= source[1:]
        along[:1] = along[-1:] = False
    return mask & ~inner


def check_shapes(predicted: np.ndarray, reference: np.ndarray) -> None:
    """Raise a GeometryError unless both masks are [Z, Y, X] of one shape."""
    if predicted.shape != reference.shape or predicted.ndim != 3:
        raise errors.GeometryError(
            f"masks of shape {predicted.shape} and {reference.shape} cannot be "
            "compared: both have to be [Z, Y, X] on the same grid"
        )


def _distances(
    of: np.ndarray, to: np.ndarray, spacing: tuple[float, ...]
) -> np.ndarray:
    """Distance of each voxel in `of` (in the array's order) to the nearest in `to`."""
    # A tree beats a distance transform, even of the box alone, until the borders fill a
    # quarter of it. Borders often share voxels, and those need no search.
    distances = np.zeros(np.count_nonzero(of))
    apart = of & ~to
    tree = spatial.cKDTree(
        np.argwhere(to) * spacing, balanced_tree=False, compact_nodes=False
    )
    distances[apart[of]] = tree.query(np.argwhere(apart) * spacing)[0]
    return distances


def _largest_by_slice(mask: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Of distances in the array's order, the largest in each slice; none is empty."""
    counts = np.count_nonzero(mask, axis=(1, 2))
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return np.maximum.reduceat(distances, starts)


def dice(predicted: np.ndarray, reference: np.ndarray) -> float:
    """Volumetric Dice, 2 |A and B| / (|A| + |B|); NaN when both are empty.

    Dice, Ecology 26, 297 (1945). Masks are bool, of any shape.

    >>> dice(np.array([True, True, False, False]), np.array([False, True, True, False]))
    0.5
    """
    size = np.count_nonzero(predicted) + np.count_nonzero(reference)
    shared = np.count_nonzero(predicted & reference)
    return float(2 * shared / size) if size else math.nan
