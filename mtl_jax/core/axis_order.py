"""How the axes of an array run in the patient: its canonical order, and the way back.

Input: an affine, from an array's index to the patient's coordinates. Output: an
AxisOrder and the canonical Grid. Only axes along the patient's are taken: any order of
them, each in either direction.
"""

import dataclasses

import numpy as np

from mtl_jax.core import errors, geometry

# Larger parts of a direction are a turn: 1e-3 moves the edge of a CT by 0.25 mm. The
# quaternions of NIfTI, in single precision, are exact to some 2e-4.
STRAIGHT = 1e-3
# Files hold single precision, in which 250.1 mm is 250.10001.
ORIGIN_DIGITS = 4


@dataclasses.dataclass(frozen=True)
class AxisOrder:
    """Which axes of an array are z, y and x, and which of these are reversed.

    Canonical is z to the head, y to the back, x to the patient's left.

    >>> order = AxisOrder((2, 1, 0), (True, False, False))
    >>> order.canonical(np.zeros((4, 5, 6))).shape
    (6, 5, 4)
    """

    axes: tuple[int, int, int] = (0, 1, 2)  # of the own array: those of z, y and x
    flipped: tuple[bool, bool, bool] = (False, False, False)  # z, y, x

    def canonical(self, volume: np.ndarray) -> np.ndarray:
        """A volume in the array's own order as [Z, Y, X]."""
        return np.ascontiguousarray(self._flip(np.transpose(volume, self.axes)))

    def own(self, volume: np.ndarray) -> np.ndarray:
        """`volume` [Z, Y, X] in the array's own order."""
        return np.ascontiguousarray(
            np.transpose(self._flip(volume), np.argsort(self.axes))
        )

    def own_affine(self, grid: geometry.Grid) -> np.ndarray:
        """4 x 4 matrix from the own index to the patient (x, y, z, 1) in mm.

        `grid` is that of the canonical array.
        """
        to_canonical = np.zeros((4, 4))
        to_canonical[3, 3] = 1.0
        for side, (axis, flipped) in enumerate(
            zip(self.axes, self.flipped, strict=True)
        ):
            to_canonical[side, axis] = -1.0 if flipped else 1.0
            to_canonical[side, 3] = grid.shape[side] - 1 if flipped else 0
        return grid.affine @ to_canonical

    def _flip(self, volume: np.ndarray) -> np.ndarray:
        return volume[tuple(slice(None, None, -1 if f else 1) for f in self.flipped)]


CANONICAL = AxisOrder()


def of_affine(
    affine: np.ndarray, shape: tuple[int, ...]
) -> tuple[AxisOrder, geometry.Grid]:
    """The order of an array of `shape` with an `affine` 4 x 4, and its canonical grid.

    The affine takes an index (i, j, k, 1) to the patient (x, y, z, 1) in mm: to the
    left, to the back, to the head (LPS).

    Raises:
        GeometryError: its axes are turned or sheared against the patient's.
    """
    matrix = np.asarray(affine, float)[:3, :3]
    lengths = np.linalg.norm(matrix, axis=0)
    if not np.isfinite(affine).all() or not lengths.min() > 0:
        raise errors.GeometryError(
            f"its affine {np.asarray(affine).tolist()} gives voxels no size"
        )
    cosines = matrix / lengths
    _check_perpendicular(cosines)
    z, y, x = (int(np.argmax(np.abs(cosines[side]))) for side in (2, 1, 0))
    off = np.abs(cosines)
    off[[2, 1, 0], [z, y, x]] = 0
    if sorted((z, y, x)) != [0, 1, 2] or off.max() > STRAIGHT:
        turn = np.degrees(np.arcsin(min(off.max(), 1.0)))
        raise errors.GeometryError(
            f"its axes are oblique: turned by {turn:.1f} degrees against the patient's"
        )
    axes = (z, y, x)
    flips = [bool(cosines[side, axes[2 - side]] < 0) for side in (2, 1, 0)]
    # The shortest number of the same single precision: 3.9, not 3.9000001.
    spacing = [float(str(np.float32(lengths[axis]))) for axis in axes]
    sizes = [int(shape[axis]) for axis in axes]
    centre = np.asarray(affine, float) @ [*((np.asarray(shape) - 1) / 2), 1.0]
    half = (np.asarray(sizes) - 1) / 2 * spacing
    origin = np.round(centre[:3] - half[::-1], ORIGIN_DIGITS).tolist()
    grid = geometry.Grid(
        (sizes[0], sizes[1], sizes[2]),
        (spacing[0], spacing[1], spacing[2]),
        (origin[0], origin[1], origin[2]),
    )
    return AxisOrder(axes, (flips[0], flips[1], flips[2])), grid


def _check_perpendicular(cosines: np.ndarray) -> None:
    """Raise a GeometryError for a shear; the columns are the axes' directions."""
    between = np.abs(cosines.T @ cosines - np.eye(3)).max()
    if between > 2 * STRAIGHT:
        angle = np.degrees(np.arccos(min(between, 1.0)))
        raise errors.GeometryError(
            f"its axes are oblique: sheared, two of them meet at {angle:.1f} degrees"
        )
