"""A NIfTI file, or an image that nibabel holds, in the canonical order of axes.

Input: a path, or an image. Output: an Image: values [Z, Y, X] from the feet, to the
back, to the patient's left, their grid in the patient's coordinates, and the way back.
Messages name a file by what it is (`the CT`), never by its path.
"""

import dataclasses
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel import filebasedimages, spatialimages

from mtl_jax.core import axis_order, errors, geometry

SUFFIXES = (".nii", ".nii.gz")
# NIfTI's coordinates grow to the right, the front and the head; ours to the left, the
# back and the head.
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
# A header may claim any size: a CT of 2,000 slices of 1,024 x 1,024 has more voxels
# than a machine can predict.
MOST_VOXELS = 1 << 31
# A file may state its place twice (sform, qform); further apart, one of them is wrong.
APART_MM = 0.5
# Resamples an image onto axes along the patient's, with nibabel and SciPy alone.
RESAMPLE = (
    'python -c "import nibabel as n, nibabel.processing as p; '
    "i = n.as_closest_canonical(n.load('IN.nii.gz')); "
    "n.save(p.resample_to_output(i, n.affines.voxel_sizes(i.affine), order={order}, "
    "cval={outside}), 'OUT.nii.gz')\""
)
CT, DOSE, LABELS = "the CT", "the dose", "the label map"
# Order of the interpolation, and the value outside of the image.
_RESAMPLE_AS = {CT: (1, -1024), DOSE: (1, 0), LABELS: (0, 0)}


@dataclasses.dataclass(frozen=True)
class Image:
    """A volume in canonical order, and how its own array is ordered."""

    voxels: np.ndarray  # [Z, Y, X]
    grid: geometry.Grid
    order: axis_order.AxisOrder = axis_order.CANONICAL

    def own(self, volume: np.ndarray) -> np.ndarray:
        """`volume` [Z, Y, X] in the order of the image's own array."""
        return self.order.own(volume)

    def canonical(self, volume: np.ndarray) -> np.ndarray:
        """A volume in the order of the image's own array as [Z, Y, X]."""
        return self.order.canonical(volume)


def is_nifti(path: Path) -> bool:
    """Whether `path` has the name of a NIfTI file."""
    return path.name.lower().endswith(SUFFIXES)


def load(path: Path, name: str) -> Image:
    """The image in the NIfTI file `path`, which messages call `name`.

    Raises:
        SourceError: it is no volume of numbers along the patient's axes, or damaged.
    """
    try:
        return of_nibabel(nibabel.load(path), name)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        if isinstance(error, errors.MtlError):
            raise
        reason = getattr(error, "strerror", None) or "it is cut off or damaged"
        if isinstance(error, FileNotFoundError):
            reason = "there is no such file"
        raise errors.SourceError(f"{name} cannot be read ({reason})") from None
    except (
        filebasedimages.ImageFileError,
        spatialimages.HeaderDataError,
        MemoryError,
    ):
        raise errors.SourceError(
            f"{name} cannot be read: it is no NIfTI file (.nii, .nii.gz), or damaged"
        ) from None


def of_nibabel(image: Any, name: str) -> Image:
    """The Image that nibabel holds, with its scaling applied.

    Raises:
        SourceError: it is no volume of numbers along the patient's axes.
    """
    shape = tuple(map(int, image.shape))
    _check_shape(shape, name)
    kind = np.dtype(image.get_data_dtype())
    if kind.kind not in "iuf":
        raise errors.SourceError(
            f"{name} has values of the type {kind} (colours, complex or other): "
            "expected whole numbers or floating point"
        )
    _check_place(image, name)
    voxels = np.asanyarray(image.dataobj)
    return of_array(voxels, RAS_TO_LPS @ np.asarray(image.affine, float), name)


def of_array(voxels: np.ndarray, affine: np.ndarray, name: str) -> Image:
    """The Image of an array with an `affine` (see `axis_order.of_affine`).

    Raises:
        SourceError: its axes are not along the patient's.
    """
    _check_shape(voxels.shape, name)
    try:
        order, grid = axis_order.of_affine(affine, voxels.shape)
    except errors.GeometryError as error:
        degree, outside = _RESAMPLE_AS[name]
        command = RESAMPLE.format(order=degree, outside=outside)
        raise errors.SourceError(
            f"{name} cannot be used as it is, {error}; resample it onto axial slices "
            f"first: {command}"
        ) from None
    return Image(order.canonical(voxels), grid, order)


def _check_shape(shape: tuple[int, ...], name: str) -> None:
    if len(shape) != 3 or min(shape) < 1:
        raise errors.SourceError(
            f"{name} has the shape {shape}, expected three axes: give one volume"
        )
    if np.prod(shape, dtype=float) > MOST_VOXELS:
        raise errors.SourceError(
            f"{name} has the shape {shape}, more than {MOST_VOXELS:,} voxels: it is "
            "damaged, or has to be cropped"
        )


def _check_place(image: Any, name: str) -> None:
    """SourceError if a NIfTI header does not say where its voxels are."""
    header = image.header
    if not (hasattr(header, "get_sform") and hasattr(header, "get_qform")):
        return  # another format, or none: the affine is all there is
    unit = header.get_xyzt_units()[0]
    if unit not in ("mm", "unknown"):
        raise errors.SourceError(
            f"{name} states its sizes in {unit}: write it with millimetres"
        )
    sform, qform = header.get_sform(coded=True), header.get_qform(coded=True)
    stated = [matrix for matrix, code in (sform, qform) if code > 0]
    if not stated:
        raise errors.SourceError(
            f"{name} does not say how its axes run (sform and qform have code 0): "
            "convert it again with a tool that keeps the orientation (dcm2niix, "
            "SimpleITK)"
        )
    if len(stated) == 2:
        ends = np.array(list(np.ndindex(2, 2, 2))) * (np.asarray(image.shape) - 1)
        ends = np.c_[ends, np.ones(8)]
        apart = np.linalg.norm(ends @ (stated[0] - stated[1]).T, axis=1).max()
        if not apart <= APART_MM:
            raise errors.SourceError(
                f"{name} states two places that are {apart:.1f} mm apart (sform and "
                "qform): set the code of the wrong one to 0"
            )
