"""One patient of a DICOM cohort, ready for a data set.

Input: a Raw, which can be sent to a worker process. Output: a Reading with whole
Hounsfield units and the possible-dose mask of a clinical plan: the voxels inside the
body that the dose grid covers. The body is the ROI of type EXTERNAL, or else the
largest piece of the CT above -500 HU with holes in its slices filled.
"""

import contextlib
import dataclasses
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from mtl_jax.core import (
    body_region,
    contour_geometry,
    errors,
    geometry,
    note_kinds,
    records,
    sites,
)
from mtl_jax.sources.dicom import deidentification, headers, reader, rtstruct

# What a data set can store.
_INT16 = np.iinfo(np.int16)


@dataclasses.dataclass(frozen=True)
class Raw:
    """The folder of a patient, and how to read it."""

    folder: Path
    patient_id: str
    site: sites.Site
    mapping: Mapping[str, str | None]
    options: reader.Options
    rt_path: Path | None = None  # its contours and dose, if not in `folder`


def read(raw: Raw) -> reader.Reading:
    """The patient of `raw`, with notes on how it was read.

    Raises:
        SourceError, RecordError, ConfigError: the patient is refused.
    """
    with guarded():
        reading = reader.read(
            raw.folder,
            patient_id=raw.patient_id,
            site=raw.site,
            mapping=raw.mapping,
            options=raw.options,
            rt_path=raw.rt_path,
        )
        return _completed(reading, raw)


def read_patient(raw: Raw) -> records.Patient:
    """The patient alone, with its notes."""
    return read(raw).patient


def structure_set(raw: Raw) -> rtstruct.StructureSet:
    """The structure set that `read` takes; a SourceError as there."""
    with guarded():
        return reader.read_structure_set(raw.folder, raw.options)


def identifiers(raw: Raw) -> deidentification.Identifiers:
    """What identifies the patient, also one that cannot be read."""
    with guarded():
        return headers.identifiers_of(raw.folder)


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Raise a SourceError for other exceptions, whose text may name a path."""
    try:
        yield
    except errors.MtlError:
        raise
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise errors.SourceError(
            f"{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}:"
            " an error in this program, or an unexpected file; please report it"
        ) from None


def _completed(reading: reader.Reading, raw: Raw) -> reader.Reading:
    patient = reading.patient
    ct, ct_notes = as_stored(patient.ct)
    notes = [*reading.notes, *ct_notes]
    possible = patient.possible_dose_mask
    if possible is not None:
        external = _external(reading.structure_set, patient.grid)
        if external is None:
            hu = ct - np.float32(raw.site.ct_offset_hu)
            external = body_region.largest(hu, body_region.DATA_HU)
            sentence = "no ROI of type EXTERNAL: the body is taken from the CT"
            notes.append(note_kinds.Note("body", sentence))
        possible = possible & external
    patient = dataclasses.replace(
        patient, ct=ct, possible_dose_mask=possible, notes=tuple(notes)
    )
    patient = records.check_patient(patient, raw.site.names)
    return dataclasses.replace(reading, patient=patient)


def as_stored(ct: np.ndarray) -> tuple[np.ndarray, tuple[note_kinds.Note, ...]]:
    """CT values [Z, Y, X] float32 as a data set stores them: whole, 16 bits; notes."""
    rounded = np.rint(ct)
    stored = np.clip(rounded, _INT16.min, _INT16.max)
    clipped = np.count_nonzero(rounded != stored)
    sentence = f"CT voxels beyond 16 bits, taken as the largest: {clipped}"
    return stored, note_kinds.of("changed_values", [sentence] if clipped else [])


def _external(
    structure_set: rtstruct.StructureSet, grid: geometry.Grid
) -> np.ndarray | None:
    """The only ROI of type EXTERNAL as a mask; None without one that can be used."""
    rois = [roi for roi in structure_set.rois if _is_external(roi, structure_set)]
    if len(rois) != 1:
        return None
    try:
        mask, _ = contour_geometry.to_mask(rois[0].contours, grid)
    except errors.GeometryError:
        return None
    return mask if mask.any() else None


def _is_external(roi: rtstruct.Roi, structure_set: rtstruct.StructureSet) -> bool:
    same_frame = len({other.frame_uid for other in structure_set.rois}) == 1
    return roi.kind.upper() == "EXTERNAL" and bool(roi.contours) and same_frame
