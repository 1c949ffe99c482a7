"""Grids of voxels in the patient's space, and resampling between them.

Axes are (z, y, x): slices to the head, rows to the posterior, columns to the patient's
left (LPS). Spacing, origin and shape always follow the array's order.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import ndimage

from mtl_jax.core import errors

Spacing = tuple[float, float, float]

# A centre so many voxels beyond the outermost one still counts as on it.
EDGE = 1e-3

# Columns: the patient-space direction (x, y, z) of the array's axes (z, y, x).
CANONICAL = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))


@dataclasses.dataclass(frozen=True)
class Grid:
    """A regular grid: where voxel centres lie, in millimetres.

    Raises GeometryError if a size or a spacing is not positive.

    >>> grid = Grid((2, 3, 4), spacing_mm=(2.5, 1.0, 1.0), origin_mm=(10.0, 0.0, 0.0))
    >>> grid.voxel_mm3
    2.5
    >>> grid.to_mm(np.array([1, 2, 3])).tolist()  # index z, y, x to mm x, y, z
    [13.0, 2.0, 2.5]
    >>> grid.to_index(np.array([13.0, 2.0, 2.5])).tolist()
    [1.0, 2.0, 3.0]
    """

    shape: tuple[int, int, int]  # z, y, x
    spacing_mm: Spacing  # z, y, x
    origin_mm: tuple[float, float, float] = (
        0.0,
        0.0,
        0.0,
    )  # centre of [0, 0, 0]: x, y, z
    direction: tuple[tuple[float, ...], ...] = CANONICAL

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise errors.GeometryError(
                f"grid shape {self.shape}, expected three sizes of at least 1"
            )
        if not np.all(np.isfinite(self.spacing_mm)) or min(self.spacing_mm) <= 0:
            raise errors.GeometryError(
                f"grid spacing {self.spacing_mm} mm, expected three positive numbers"
            )

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "Grid":
        """The grid whose `dataclasses.asdict` went through JSON."""
        return cls(
            shape=tuple(row["shape"]),
            spacing_mm=tuple(row["spacing_mm"]),
            origin_mm=tuple(row["origin_mm"]),
            direction=tuple(tuple(axis) for axis in row["direction"]),
        )

    @property
    def voxel_mm3(self) -> float:
        """Volume of one voxel."""
        return float(np.prod(self.spacing_mm))

    @property
    def affine(self) -> np.ndarray:
        """4 x 4 matrix from index (z, y, x, 1) to patient (x, y, z, 1) in mm."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.asarray(self.direction) * np.asarray(self.spacing_mm)
        matrix[:3, 3] = self.origin_mm
        return matrix

    def to_mm(self, index: np.ndarray) -> np.ndarray:
        """Patient coordinates (x, y, z) of indices [..., 3] (z, y, x)."""
        return index @ self.affine[:3, :3].T + self.affine[:3, 3]

    def to_index(self, points_mm: np.ndarray) -> np.ndarray:
        """Fractional indices (z, y, x) of patient coordinates [..., 3] (x, y, z)."""
        return (points_mm - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T


def resample(
    volume: np.ndarray, grid: Grid, onto: Grid, *, order: int = 1, outside: float = 0.0
) -> np.ndarray:
    """`volume` [Z, Y, X] on `grid`, read at the voxel centres of `onto`.

    `order` 1 is trilinear (CT, dose), 0 nearest (masks). Voxels beyond the volume's
    outer voxel centres become `outside` (for parallel axes, beyond by more than
    rounding).

    Raises:
        GeometryError: the volume's shape is not the grid's.

    >>> grid = Grid((1, 1, 3), spacing_mm=(1.0, 1.0, 4.0))
    >>> finer = Grid((1, 1, 6), spacing_mm=(1.0, 1.0, 2.0))
    >>> dose_gy = np.array([[[10.0, 20.0, 40.0]]])
    >>> resample(dose_gy, grid, onto=finer)[0, 0].tolist()
    [10.0, 15.0, 20.0, 30.0, 40.0, 0.0]
    """
    if volume.shape != grid.shape:
        raise errors.GeometryError(
            f"volume of shape {volume.shape}, expected the grid's shape {grid.shape}"
        )
    if grid == onto:
        return volume.copy()
    step = np.linalg.inv(grid.affine) @ onto.affine
    scale = np.diag(step[:3, :3])
    parallel = np.allclose(step[:3, :3], np.diag(scale), rtol=0, atol=1e-9)
    resampled = ndimage.affine_transform(
        volume.astype(np.float32, copy=False),
        step[:3, :3],
        offset=step[:3, 3],
        output_shape=onto.shape,
        order=order,
        # A rounding error must not put edge voxels outside; see below.
        mode="nearest" if parallel else "constant",
        cval=outside,
    ).astype(volume.dtype, copy=False)
    if parallel:
        for axis, size in enumerate(grid.shape):
            index = step[axis, 3] + scale[axis] * np.arange(onto.shape[axis])
            beyond = (index < -EDGE) | (index > size - 1 + EDGE)
            np.moveaxis(resampled, axis, 0)[beyond] = outside
    return resampled


def fit_in_plane(grid: Grid, size: tuple[int, int], spacing_mm: float | None) -> Grid:
    """The grid with the same slices and centre whose planes are `size` (y, x).

    `spacing_mm` None keeps the grid's own in-plane spacing.
    """
    spacing = grid.spacing_mm[1:] if spacing_mm is None else (spacing_mm, spacing_mm)
    old_centre = (np.asarray(grid.shape[1:]) - 1) / 2
    new_centre = (np.asarray(size) - 1) / 2
    shift = old_centre - new_centre * np.asarray(spacing) / np.asarray(
        grid.spacing_mm[1:]
    )
    x, y, z = grid.to_mm(np.asarray([0.0, *shift])).tolist()
    return Grid(
        shape=(grid.shape[0], *size),
        spacing_mm=(grid.spacing_mm[0], *spacing),
        origin_mm=(x, y, z),
        direction=grid.direction,
    )


def signed_distance_mm(mask: np.ndarray, spacing_mm: Spacing) -> np.ndarray:
    """[Z, Y, X] float64: distance to the surface of `mask`, negative inside.

    Outside it is the distance to the nearest voxel inside, inside minus the distance to
    the nearest voxel outside, from centre to centre. `mask` must have both.

    >>> mask = np.array([[[False, True, True, True, False]]])
    >>> signed_distance_mm(mask, (1.0, 1.0, 2.0))[0, 0].tolist()
    [2.0, -2.0, -4.0, -2.0, 2.0]
    """
    distance_mm = ndimage.distance_transform_edt(~mask, sampling=spacing_mm)
    assert isinstance(distance_mm, np.ndarray)
    # The nearest voxel outside is at most one voxel from the box around the mask.
    box = tuple(
        slice(max(side.start - 1, 0), side.stop + 1) for side in bounding_box(mask)
    )
    distance_mm[box] -= ndimage.distance_transform_edt(mask[box], sampling=spacing_mm)
    return distance_mm


def bounding_box(*masks: np.ndarray) -> tuple[slice, slice, slice]:
    """The smallest box [Z, Y, X] around all masks; empty if all masks are empty.

    >>> mask = np.zeros((4, 4, 4), bool)
    >>> mask[1, 2, 0] = mask[2, 2, 3] = True
    >>> mask[bounding_box(mask)].shape
    (2, 1, 4)
    """
    box = [slice(None)] * 3
    for axis, others in enumerate(((1, 2), (0, 2), (0, 1))):
        # Each axis is searched only inside the box found so far.
        filled = [m[tuple(box)].any(axis=others) for m in masks]
        hits = np.flatnonzero(np.logical_or.reduce(filled))
        box[axis] = slice(hits[0], hits[-1] + 1) if hits.size else slice(0, 0)
    return box[0], box[1], box[2]
