"""A CT as other libraries hold it, in the order of axes that networks read, and back.

Input: a NumPy array with its spacing, an image of nibabel or SimpleITK, a list of
pydicom's slices, a folder of them, a NIfTI file, or a Patient. Output: an Image
(sources/nifti): Hounsfield units [Z, Y, X] from the feet, to the back, to the patient's
left, and the way back to the CT's own axes. SimpleITK is not imported: an image comes
from a library that its user has imported.
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
from mtl_jax.sources.nifti import oriented

# Air around a patient is near -1000 HU; stored or normalised values start at 0.
AIR_HU = -200.0


def read(ct: Any, spacing_mm: Sequence[float] | None) -> oriented.Image:
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
        return _checked(_plain(_volume(ct), (z, y, x)))
    if spacing_mm is not None:
        raise errors.SourceError(
            f"spacing_mm is for NumPy arrays; this {type(ct).__name__} has its own"
        )
    if isinstance(ct, patients.Patient):
        return read(np.asarray(ct.ct_hu), ct.grid.spacing_mm)
    if hasattr(ct, "affine") and hasattr(ct, "dataobj"):  # nibabel
        return _checked(oriented.of_nibabel(ct, oriented.CT))
    if hasattr(ct, "GetDirection"):  # SimpleITK, whose arrays are [Z, Y, X]
        library = sys.modules[type(ct).__module__.split(".")[0]]
        voxels = _volume(library.GetArrayFromImage(ct))
        affine = np.eye(4)
        direction = np.reshape(ct.GetDirection(), (3, 3))
        affine[:3, :3] = (direction * np.asarray(ct.GetSpacing()))[:, ::-1]
        affine[:3, 3] = ct.GetOrigin()
        return _checked(oriented.of_array(voxels, affine, oriented.CT))
    if isinstance(ct, str | Path):
        path = Path(ct).expanduser()
        if oriented.is_nifti(path):
            return _checked(oriented.load(path, oriented.CT))
        return _dicom(path)
    if isinstance(ct, Sequence) and ct and all(hasattr(s, "SOPClassUID") for s in ct):
        with tempfile.TemporaryDirectory() as folder:
            for number, dataset in enumerate(ct):
                dataset.save_as(Path(folder) / f"{number}.dcm")
            return _dicom(Path(folder))
    raise errors.SourceError(
        f"a CT cannot be a {type(ct).__name__}: give a NumPy array with spacing_mm, an "
        "image of nibabel or SimpleITK, a list of pydicom's slices, their folder, or a "
        "NIfTI file"
    )


def _volume(array: np.ndarray) -> np.ndarray:
    """`array` as float32 with three axes."""
    if array.ndim != 3 or min(array.shape) < 1:
        raise errors.SourceError(
            f"the CT's array has the shape {array.shape}, expected three axes"
        )
    return np.asarray(array, np.float32)


def _dicom(folder: Path) -> oriented.Image:
    """The Image of the only CT series below `folder`, read as `predict` reads it."""
    with dicom_patient.guarded():
        series, _ = ct_series.choose(headers.scan(folder))
        ct = ct_series.read(series, ())
    return oriented.Image(ct.hu, ct.grid)


def _plain(voxels: np.ndarray, spacing_mm: geometry.Spacing) -> oriented.Image:
    """The Image of an array in canonical order, anywhere in space."""
    z, y, x = voxels.shape
    return oriented.Image(voxels, geometry.Grid((z, y, x), spacing_mm))


def _checked(image: oriented.Image) -> oriented.Image:
    """`image` in float32; a SourceError if it is no CT in Hounsfield units."""
    hu = image.voxels.astype(np.float32, copy=False)
    if not np.isfinite(hu).all():
        raise errors.SourceError("the CT has NaN or infinite values")
    lowest, highest = float(hu.min()), float(hu.max())
    if lowest > AIR_HU:
        raise errors.SourceError(
            f"the CT's values are {lowest:g} to {highest:g}, without any air: they are "
            "no Hounsfield units; subtract 1024 from stored values, undo a scaling"
        )
    return dataclasses.replace(image, voxels=hu)
