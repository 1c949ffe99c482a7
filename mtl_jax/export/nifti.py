"""Predicted masks and doses as NIfTI-1 files.

Input: a volume, its grid, and the order of axes to write. Output: one .nii.gz file.

A file holds one structure, not a label map: structures overlap (targets lie inside each
other and inside organs), and a label map has only one number for each voxel.
"""

import gzip
from pathlib import Path

import nibabel
import numpy as np

from mtl_jax.core import axis_order, errors, files, geometry
from mtl_jax.export import author as authors

SUFFIX = ".nii.gz"
# Code of scanner coordinates, which are those of the CT.
SCANNER = 1
# Our coordinates grow to the left, posterior and head (LPS), those of NIfTI to the
# right, anterior and head (RAS).
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# NIfTI arrays are [X, Y, Z].
USUAL = axis_order.AxisOrder((2, 1, 0))


def write(
    path: Path,
    volume: np.ndarray,
    grid: geometry.Grid,
    order: axis_order.AxisOrder = USUAL,
) -> None:
    """Write `volume` [Z, Y, X] on `grid` to `path` (.nii.gz), in the `order` of axes.

    A mask (bool) is stored as uint8, a dose in Gy as float32. The same volume gives the
    same bytes. The file is written completely or not at all.

    Raises:
        GeometryError: the volume is not on the grid.
        RecordError: the volume is neither bool nor float, or `path` is not .nii.gz.
    """
    if not path.name.endswith(SUFFIX):
        raise errors.RecordError(
            f"the NIfTI file is called {path.name}, expected a name that ends in "
            f"{SUFFIX}"
        )
    if volume.shape != grid.shape:
        raise errors.GeometryError(
            f"the volume is {volume.shape}, expected the grid's shape {grid.shape}; "
            "resample it first with geometry.resample"
        )
    if volume.dtype == np.bool_:
        stored = volume.astype(np.uint8)
    elif np.issubdtype(volume.dtype, np.floating):
        stored = volume.astype(np.float32)
    else:
        raise errors.RecordError(
            f"the volume is {volume.dtype}, expected a mask (bool) or a dose (float32)"
        )
    affine = LPS_TO_RAS @ order.own_affine(grid)
    image = nibabel.Nifti1Image(order.own(stored), affine)
    image.set_sform(affine, code=SCANNER)
    image.set_qform(affine, code=SCANNER)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = authors.NOTICE.encode("ascii")
    # The gzip header holds neither a file name nor a time.
    packed = gzip.compress(image.to_bytes(), compresslevel=1, mtime=0)
    with files.whole(path) as partial:
        partial.write_bytes(packed)
