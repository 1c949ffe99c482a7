"""How an image is read at other places than its pixels.

Input: an image on one grid. Output: its values on another grid. The rules for each
kind of image also hold for random changes (pipeline/augment).
"""

import dataclasses

import numpy as np

from mtl_jax.core import geometry, records, sites

# Outside the field of view of a scanner, and in OpenKBP outside the patient.
AIR_HU = -1024.0


@dataclasses.dataclass(frozen=True)
class Reading:
    """How an image is read between its pixels, and beyond its border."""

    order: int  # 1: linear, 0: nearest
    outside: float | None  # None: the value on the border
    dtype: type  # of what is read


def air(site: sites.Site) -> float:
    """The stored value of air."""
    return AIR_HU + site.ct_offset_hu


def reading(field: str, site: sites.Site) -> Reading:
    """How the image `field` of an Example is read on another grid."""
    if field in records.MASKS:
        return Reading(0, 0, np.uint16)
    outside = {
        "ct": air(site),
        "neighbours": air(site),
        "dose_gy": 0.0,
        "target_distance": None,
    }
    return Reading(1, outside[field], np.float32)


def resample_planes(
    volume: np.ndarray,
    grid: geometry.Grid,
    onto: geometry.Grid,
    order: int,
    outside: float | None,
) -> np.ndarray:
    """`volume` [Z, Y, X] on `grid`, read at the voxels of `onto`.

    Both grids have the same slices and centre. Interpolation is linear (`order` 1) or
    nearest (0); a voxel beyond the border the value is `outside`, or with None that on
    the border.
    """
    old, new = np.asarray(grid.shape[1:]), np.asarray(onto.shape[1:])
    step = np.asarray(onto.spacing_mm[1:]) / np.asarray(grid.spacing_mm[1:])
    first = (old - 1) / 2 - step * (new - 1) / 2
    rows, columns = (
        # The frame of one voxel around the plane has index 0.
        np.clip(first[axis] + step[axis] * np.arange(new[axis]), -1, old[axis]) + 1
        for axis in (0, 1)
    )
    planes = np.empty(onto.shape, volume.dtype)
    framed = np.full(old + 2, outside or 0, volume.dtype)
    for z, plane in enumerate(volume):
        framed[1:-1, 1:-1] = plane
        if outside is None:
            framed = np.pad(plane, 1, mode="edge")
        if order == 0:
            nearest = np.floor(rows + 0.5).astype(int), np.floor(columns + 0.5)
            planes[z] = framed[np.ix_(nearest[0], nearest[1].astype(int))]
        else:
            planes[z] = _linear(_linear(framed, rows, 0), columns, 1)
    return planes


def _linear(values: np.ndarray, indices: np.ndarray, axis: int) -> np.ndarray:
    """`values` [Y, X] at fractional indices along `axis`, linearly interpolated."""
    below = np.minimum(indices.astype(int), values.shape[axis] - 2)
    share = (indices - below).astype(values.dtype)
    share = share[:, None] if axis == 0 else share
    low, high = values.take(below, axis), values.take(below + 1, axis)
    return low + share * (high - low)
