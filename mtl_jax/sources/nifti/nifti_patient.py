"""One patient of a NIfTI data set, ready for storing.

Input: a Raw, which can be sent to a worker process. Output: a Patient, read by the
rules for DICOM patients: dose interpolated onto the CT, whole Hounsfield units, and the
possible-dose mask. The body is the largest piece of the CT above -500 HU.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from mtl_jax.core import body_region, errors, note_kinds, records, sites
from mtl_jax.sources.clinical import dicom_patient
from mtl_jax.sources.dicom import reader, roi_names, rtdose
from mtl_jax.sources.nifti import label_map, layouts, nifti_ct, oriented

# Negative doses down to this part of the highest come from interpolation.
ROUNDING = 0.01


@dataclasses.dataclass(frozen=True)
class Raw:
    """The files of a patient, and how to read them."""

    case: layouts.Case
    patient_id: str
    site: sites.Site
    labels: layouts.Labels
    mapping: Mapping[str, str | None]
    options: reader.Options


def read_patient(raw: Raw) -> records.Patient:
    """The patient of `raw`, with notes on how it was read.

    Raises:
        SourceError, RecordError, ConfigError: the patient is refused.
    """
    with dicom_patient.guarded():
        return _read(raw)


def _read(raw: Raw) -> records.Patient:
    ct = nifti_ct.read(raw.case.ct, raw.options.accept)
    stored, ct_notes = dicom_patient.as_stored(
        ct.hu + np.float32(raw.site.ct_offset_hu)
    )
    notes: list[note_kinds.Note] = [*ct.notes, *ct_notes]
    structures, assigned, mask_notes = _structures(raw, ct)
    notes += mask_notes
    dose_gy, covered, dose_notes = _dose(raw, ct)
    notes += dose_notes
    possible = None
    if covered is not None:
        outside = reader.outside_dose(structures, covered)
        notes += reader.outside_notes(outside, assigned)
        hu = stored - np.float32(raw.site.ct_offset_hu)
        possible = covered & body_region.largest(hu, body_region.DATA_HU)
        notes.append(note_kinds.Note("body", "the body is taken from the CT"))
    patient = records.Patient(
        raw.patient_id, ct.grid, stored, structures, dose_gy, possible, tuple(notes)
    )
    return records.check_patient(patient, raw.site.names)


def _structures(
    raw: Raw, ct: nifti_ct.Ct
) -> tuple[dict[str, np.ndarray], dict[str, str], list[note_kinds.Note]]:
    """The masks of what was contoured, the label of each structure, and notes."""
    if raw.case.labels is None:
        raise errors.SourceError("no label map here: a patient needs a CT and labels")
    names = [name for name in raw.labels if name != layouts.IGNORE]
    found = roi_names.assign(names, raw.site, raw.mapping)
    if not raw.options.allow_missing:
        found.require(raw.site.contoured)
    masks = label_map.read(
        raw.case.labels,
        {name: raw.labels[label] for name, label in found.structures.items()},
        ct.grid,
        known={value for values in raw.labels.values() for value in values},
        ignored=raw.labels.get(layouts.IGNORE, ()),
    )
    if not masks:
        raise errors.SourceError(
            f"{oriented.LABELS} has no voxel of this site's structures: it is of "
            "another data set, or empty"
        )
    structures, notes = {}, reader.absent(raw.site, found.structures)
    for name, label in found.structures.items():
        if name not in masks:
            sentence = f"{label}: not contoured"
            notes.append(note_kinds.Note("missing", sentence, name))
            continue
        structures[name], gaps = reader.without_gaps(masks[name], ct.grid, raw.options)
        notes += [note_kinds.Note(n.kind, f"{label}: {n}", name) for n in gaps]
    return structures, found.structures, notes


def _dose(
    raw: Raw, ct: nifti_ct.Ct
) -> tuple[np.ndarray | None, np.ndarray | None, tuple[note_kinds.Note, ...]]:
    """The dose on the CT and where it is known, None without one, and notes."""
    if raw.case.dose is None:
        sentence = "no dose here: the patient has no dose"
        return None, None, note_kinds.of("no_dose", [sentence])
    image = oriented.load(raw.case.dose, oriented.DOSE)
    voxels, grid = image.voxels.astype(np.float32, copy=False), image.grid
    lowest, highest = float(voxels.min()), float(voxels.max())
    if not np.isfinite([lowest, highest]).all():
        raise errors.SourceError(f"{oriented.DOSE} has NaN or infinite values")
    if lowest < -ROUNDING * abs(highest):
        raise errors.SourceError(
            f"{oriented.DOSE} has negative values, down to {lowest:.4g} Gy: it is no "
            "dose, or a difference of two"
        )
    if len(voxels) < 2:
        raise errors.SourceError(f"{oriented.DOSE} has one plane; a dose has several")
    notes = note_kinds.of("dose_values", rtdose.unusual(oriented.DOSE, highest))
    z_mm = grid.origin_mm[2] + grid.spacing_mm[0] * np.arange(len(voxels))
    own = rtdose.Dose(np.maximum(voxels, 0), z_mm, grid, notes)
    dose_gy, covered, notes = rtdose.added([(oriented.DOSE, own)], ct.grid)
    names = [oriented.DOSE]
    notes += rtdose.check_height(names, dose_gy, raw.site, raw.options.accept)
    return dose_gy, covered, notes
