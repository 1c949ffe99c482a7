"""Predicted masks and doses as NIfTI-1 files: a volume and its grid go in.

A file holds one structure, not a map of labels: structures overlap (a target lies in
another, and in organs), which one number a voxel cannot say.
"""

import gzip
from pathlib import Path

import nibabel
import numpy as np

from mtl_jax.core import errors, files, geometry
from mtl_jax.export import author as authors

SUFFIX = ".nii.gz"
# Coordinates are those of the scanner, as the CT's.
SCANNER = 1
# Coordinates here grow to the left, posterior and head (LPS), NIfTI's to the right,
# anterior and head (RAS).
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write(path: Path, volume: np.ndarray, grid: geometry.Grid) -> None:
    """Write `volume` [Z, Y, X] on `grid` to `path` (.nii.gz).

    A mask (bool) is stored as uint8, a dose in Gy as float32. The same volume gives the
    same bytes, and the file is written whole or not at all.

    Raises:
        GeometryError: the volume is not on the grid.
        RecordError: the volume is neither bool nor floating, or `path` is not .nii.gz.
    """
    if not path.name.endswith(SUFFIX):
        raise errors.RecordError(f"a NIfTI file here is called *{SUFFIX}")
    if volume.shape != grid.shape:
        raise errors.GeometryError(
            f"volume {volume.shape} is not on a grid {grid.shape}"
        )
    if volume.dtype == np.bool_:
        stored = volume.astype(np.uint8)
    elif np.issubdtype(volume.dtype, np.floating):
        stored = volume.astype(np.float32)
    else:
        raise errors.RecordError(
            f"a volume of {volume.dtype} is neither a mask (bool) nor a dose (float32)"
        )
    # NIfTI's arrays are [x, y, z]; the grid's matrix takes (z, y, x).
    affine = LPS_TO_RAS @ grid.affine[:, [2, 1, 0, 3]]
    image = nibabel.Nifti1Image(stored.transpose(2, 1, 0), affine)
    image.set_sform(affine, code=SCANNER)
    image.set_qform(affine, code=SCANNER)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = authors.NOTICE.encode("ascii")
    # Neither a name nor the clock goes into it.
    packed = gzip.compress(image.to_bytes(), compresslevel=1, mtime=0)
    with files.whole(path) as partial:
        partial.write_bytes(packed)
