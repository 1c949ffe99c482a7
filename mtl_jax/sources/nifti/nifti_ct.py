"""The CT in a NIfTI file, in Hounsfield units.

Input: a path. Output: a Ct, with notes. NIfTI does not say what its values are: a CT
without air near -1000 HU and soft tissue near 0 HU is refused.
"""

import dataclasses
from collections.abc import Collection
from pathlib import Path

import numpy as np

from mtl_jax.core import axis_order, errors, geometry, note_kinds
from mtl_jax.sources.dicom import ct_series
from mtl_jax.sources.nifti import oriented


@dataclasses.dataclass(frozen=True)
class Ct:
    """A CT [Z, Y, X], and how the file's array is ordered."""

    hu: np.ndarray  # float32
    grid: geometry.Grid
    order: axis_order.AxisOrder
    notes: tuple[note_kinds.Note, ...]


def read(path: Path, accept: Collection[str] = ()) -> Ct:
    """The CT in `path`; `accept`: reasons to refuse it that do not (core/note_kinds).

    Raises:
        SourceError: it is no CT in Hounsfield units on axes along the patient's.
    """
    image = oriented.load(path, oriented.CT)
    hu = image.voxels.astype(np.float32, copy=False)
    if not np.isfinite(hu).all():
        raise errors.SourceError("the CT has NaN or infinite values: set them to -1024")
    # As in a DICOM series: nothing has less than air.
    padded = hu < ct_series.AIR_HU
    hu = np.where(padded, np.float32(ct_series.AIR_HU), hu)
    low, median = ct_series.air_and_tissue(hu, padded)
    if unlike := ct_series.unlike_hu(low, median):
        raise errors.SourceError(
            f"the CT's values, {hu.min():g} to {hu.max():g}, do not look like "
            f"Hounsfield units ({unlike}): give the CT itself, not a label map, "
            "another modality, a normalised or a cropped image; subtract 1024 from "
            "stored values"
        )
    slices = [f"slice {z + 1} of {len(hu)} from the feet" for z in range(len(hu))]
    notes = (
        *ct_series.value_notes(hu, padded),
        *ct_series.jump_notes(hu, slices, accept),
    )
    return Ct(hu, image.grid, image.order, notes)
