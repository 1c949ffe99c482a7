"""A CT as other libraries hold it, in the order of axes that networks read, and back.

Input: a NumPy array with its spacing, an image of nibabel or SimpleITK, a list of
pydicom's slices, a folder of them, or a Patient. Output: an Image: Hounsfield units
[Z, Y, X] from the feet, to the back, to the patient's left, and the way back to the
CT's own axes. None of these libraries is imported: an image comes from one that its
user has imported.
"""

import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtl_jax.core import errors, geometry
from mtl_jax.interface import patients
from mtl_jax.sources.clinical import dicom_patient
from mtl_jax.sources.dicom import ct_series, headers

# An axis this near to one of the patient's is taken as it (cosine of 1 degree).
ALONG = 0.9998
# Air around a patient is near -1000 HU; stored or normalised values start at 0.
AIR_HU = -200.0


@dataclasses.dataclass(frozen=True)
class Image:
    """A CT in the networks' order, and its own order."""

    hu: np.ndarray  # [Z, Y, X] float32
    spacing_mm: geometry.Spacing  # z, y, x
    axes: tuple[int, ...] = (0, 1, 2)  # of the own array, that are z, y and x
    flipped: tuple[bool, ...] = (False, False, False)  # z, y, x: runs the other way

    @property
    def grid(self) -> geometry.Grid:
        """The grid in the networks' order, anywhere in space."""
        z, y, x = self.hu.shape
        return geometry.Grid((z, y, x), self.spacing_mm)

    def own(self, volume: np.ndarray) -> np.ndarray:
        """`volume` [Z, Y, X] in the order of the CT's own array."""
        return np.ascontiguousarray(
            np.transpose(self._flip(volume), np.argsort(self.axes))
        )

    def canonical(self, volume: np.ndarray) -> np.ndarray:
        """A volume in the order of the CT's own array as [Z, Y, X]."""
        return np.ascontiguousarray(self._flip(np.transpose(volume, self.axes)))

    def _flip(self, volume: np.ndarray) -> np.ndarray:
        return volume[tuple(slice(None, None, -1 if f else 1) for f in self.flipped)]


def read(ct: Any, spacing_mm: Sequence[float] | None) -> Image:
    """The Image of `ct`; `spacing_mm` (z, y, x) is for an array alone.

    Raises:
        SourceError: it is no CT in Hounsfield units on a grid along the patient's axes.
    """
    if isinstance(ct, np.ndarray):
        if spacing_mm is None or len(spacing_mm) != 3:
            raise errors.SourceError(
                f"spacing_mm is {spacing_mm}: an array needs its voxels' size, three "
                "numbers in the order of its axes (z, y, x)"
            )
        z, y, x = map(float, spacing_mm)
        return _checked(Image(_volume(ct), (z, y, x)))
    if spacing_mm is not None:
        raise errors.SourceError(
            f"spacing_mm is for NumPy arrays; this {type(ct).__name__} has its own"
        )
    if isinstance(ct, patients.Patient):
        return read(np.asarray(ct.ct_hu), ct.grid.spacing_mm)
    if hasattr(ct, "affine") and hasattr(ct, "dataobj"):  # nibabel
        # Its x and y grow to the right and to the front.
        matrix = np.diag([-1.0, -1.0, 1.0]) @ np.asarray(ct.affine, float)[:3, :3]
        return _checked(_oriented(_volume(np.asanyarray(ct.dataobj)), matrix))
    if hasattr(ct, "GetDirection"):  # SimpleITK, whose arrays are [Z, Y, X]
        library = sys.modules[type(ct).__module__.split(".")[0]]
        direction = np.reshape(ct.GetDirection(), (-1, len(ct.GetSpacing())))
        matrix = (direction * np.asarray(ct.GetSpacing()))[:, ::-1]
        return _checked(_oriented(_volume(library.GetArrayFromImage(ct)), matrix))
    if isinstance(ct, str | Path):
        return _dicom(Path(ct).expanduser())
    if isinstance(ct, Sequence) and ct and all(hasattr(s, "SOPClassUID") for s in ct):
        with tempfile.TemporaryDirectory() as folder:
            for number, dataset in enumerate(ct):
                dataset.save_as(Path(folder) / f"{number}.dcm")
            return _dicom(Path(folder))
    raise errors.SourceError(
        f"a CT cannot be a {type(ct).__name__}: give a NumPy array with spacing_mm, an "
        "image of nibabel or SimpleITK, a list of pydicom's slices, or their folder"
    )


def _volume(array: np.ndarray) -> np.ndarray:
    """`array` as float32 with three axes."""
    if array.ndim != 3 or min(array.shape) < 1:
        raise errors.SourceError(
            f"the CT's array has the shape {array.shape}, expected three axes"
        )
    return np.asarray(array, np.float32)


def _oriented(volume: np.ndarray, matrix: np.ndarray) -> Image:
    """The Image of an array whose axes are the columns of `matrix`.

    A column is a step along the axis in mm: to the left, to the back, to the head.
    """
    lengths = np.linalg.norm(matrix, axis=0)
    cosines = matrix / np.where(lengths > 0, lengths, np.nan)
    axes = [int(np.nanargmax(np.abs(cosines[side]))) for side in (2, 1, 0)]
    signs = [cosines[side, axis] for side, axis in zip((2, 1, 0), axes, strict=True)]
    if sorted(axes) != [0, 1, 2] or not min(map(abs, signs)) >= ALONG:
        raise errors.SourceError(
            "the CT's axes are oblique to the patient's: resample it onto axial slices "
            "first"
        )
    z, y, x = (float(lengths[axis]) for axis in axes)
    image = Image(volume, (z, y, x), tuple(axes), tuple(sign < 0 for sign in signs))
    return dataclasses.replace(image, hu=image.canonical(volume))


def _dicom(folder: Path) -> Image:
    """The Image of the only CT series below `folder`, read as `predict` reads it."""
    with dicom_patient.guarded():
        series, _ = ct_series.choose(headers.scan(folder))
        ct = ct_series.read(series, ())
    return Image(ct.hu, ct.grid.spacing_mm)


def _checked(image: Image) -> Image:
    if not np.isfinite(image.hu).all():
        raise errors.SourceError("the CT has NaN or infinite values")
    lowest, highest = float(image.hu.min()), float(image.hu.max())
    if lowest > AIR_HU:
        raise errors.SourceError(
            f"the CT's values are {lowest:g} to {highest:g}, without any air: they are "
            "no Hounsfield units; subtract 1024 from stored values, undo a scaling"
        )
    return image
