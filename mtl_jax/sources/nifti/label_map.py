"""A label map in a NIfTI file to masks on the CT's grid.

Input: a path, the values of each structure, and the CT's grid. Output: masks; a
structure without a voxel is left out, as it was not contoured.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from mtl_jax.core import errors, geometry
from mtl_jax.sources.nifti import oriented

# Part of a voxel by which the corners of two grids may differ to be one.
SAME = 0.05


def read(
    path: Path,
    values: Mapping[str, tuple[int, ...]],
    grid: geometry.Grid,
    known: Collection[int],
    ignored: Collection[int] = (),
) -> dict[str, np.ndarray]:
    """The masks [Z, Y, X] of `values`, by structure; only those with a voxel.

    `known` are all values that the data set names, `ignored` those of voxels that were
    not labelled.

    Raises:
        SourceError: it is no label map, has other values, or lies on another grid.
    """
    image = oriented.load(path, oriented.LABELS)
    _check_grid(image.grid, grid)
    found = np.unique(image.voxels)
    if not np.isfinite(found).all() or (found != np.rint(found)).any():
        raise errors.SourceError(
            f"{oriented.LABELS} has values that are no whole numbers, such as "
            f"{found[found != np.rint(found)][0]:g}: it was interpolated, or is no "
            "label map"
        )
    present = {int(value) for value in found}
    if unknown := sorted(present - {0, *known}):
        raise errors.SourceError(
            f"{oriented.LABELS} has the value {unknown[0]}, which labels in "
            "dataset.json does not name"
        )
    if present & set(ignored):
        raise errors.SourceError(
            f"{oriented.LABELS} has voxels of the label ignore, which nobody labelled: "
            "they are neither of a structure nor of none"
        )
    return {
        name: np.isin(image.voxels, numbers)
        for name, numbers in values.items()
        if present & set(numbers)
    }


def _check_grid(own: geometry.Grid, ct: geometry.Grid) -> None:
    """SourceError unless both are one grid."""
    last = np.subtract(ct.shape, 1)
    apart = max(
        np.abs(ct.to_index(own.to_mm(index)) - index).max()
        for index in (np.zeros(3), last)
    )
    if own.shape == ct.shape and apart <= SAME:
        return
    raise errors.SourceError(
        f"{oriented.LABELS} has {own.shape} voxels of {own.spacing_mm} mm at "
        f"{own.origin_mm}, the CT {ct.shape} of {ct.spacing_mm} mm at {ct.origin_mm} "
        "(z, y, x; origin x, y, z): resample it onto the CT with nearest neighbours "
        "(nibabel.processing.resample_from_to with order=0)"
    )
