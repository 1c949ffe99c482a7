"""The inventory of a cohort of DICOM patients: what it holds, and what is refused.

Input: the Location of a cohort's folder. Output: an Inventory with one entry for each
patient, read one by one in worker processes; or the names of all ROIs, as a mapping
file to fill in. Text from the patients' files is masked where it identifies a patient.
"""

import collections
import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tqdm

from mtl_jax.core import contour_geometry, errors, note_kinds, sites
from mtl_jax.core import workers as processes
from mtl_jax.figures import patient_figure
from mtl_jax.sources.clinical import dicom_patient, patient_folders
from mtl_jax.sources.dicom import deidentification, reader, roi_names, rtstruct


@dataclasses.dataclass(frozen=True)
class StructureEntry:
    """One structure of one patient, as it was read."""

    structure: str
    roi_name: str  # in the RTSTRUCT
    volume_cc: float
    plausible_cc: tuple[float, float] | None  # the range of plausible volumes
    fraction_outside_dose: float | None  # of the volume; None: no dose
    missing_slices: int  # slices without a contour between slices with one

    @property
    def plausible(self) -> bool | None:
        """Whether the volume is plausible; None if the site gives no range."""
        if self.plausible_cc is None:
            return None
        return self.plausible_cc[0] <= self.volume_cc <= self.plausible_cc[1]


@dataclasses.dataclass(frozen=True)
class PatientEntry:
    """One patient of the cohort, accepted or refused."""

    patient_id: str
    split: str
    refusal: str = ""  # the reason; empty if the patient is accepted
    notes: tuple[note_kinds.Note, ...] = ()  # those that weigh most first
    structures: tuple[StructureEntry, ...] = ()
    # The structure that each ROI was assigned to, or "", by ROI name.
    rois: Mapping[str, str] = dataclasses.field(default_factory=dict)
    shape: tuple[int, ...] = ()  # z, y, x
    spacing_mm: tuple[float, ...] = ()  # z, y, x
    max_dose_gy: float | None = None
    picture: Path | None = None
    # Names in the mapping file: those of this patient's ROIs, and those that
    # identify this patient.
    mapped_names: frozenset[str] = frozenset()
    identifying_names: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class Inventory:
    """What a cohort holds."""

    site: sites.Site
    patients: tuple[PatientEntry, ...]
    not_in_splits: int  # number of patients that the CSV of splits does not name
    unused_mapping_names: tuple[str, ...]  # in the mapping file, but in no patient

    @property
    def accepted(self) -> tuple[PatientEntry, ...]:
        """The patients that a data set of this cohort would hold."""
        return tuple(patient for patient in self.patients if not patient.refusal)

    @property
    def note_counts(self) -> dict[str, int]:
        """Number of patients with notes of each kind, those that weigh most first."""
        kinds = ([note.kind for note in patient.notes] for patient in self.patients)
        return note_kinds.counted(kinds)

    @property
    def roi_counts(self) -> dict[tuple[str, str], int]:
        """Number of patients by (ROI name, structure or ""), largest first."""
        return dict(
            collections.Counter(
                pair for patient in self.patients for pair in patient.rois.items()
            ).most_common()
        )


def examine(
    location: patient_folders.Location, pictures: Path, workers: int
) -> Inventory:
    """Read every patient of `location`, and draw one PNG each into `pictures`.

    PNG files that are already in `pictures` are deleted. A patient that cannot be
    read is entered as refused.
    """
    cohort = location.open()
    for earlier in pictures.glob("*.png"):
        earlier.unlink()
    tasks = (
        (cohort.raw(split, patient_id), split, pictures / f"{patient_id}.png")
        for patient_id, split in cohort.split_of.items()
    )
    count = len(cohort.split_of)
    patients = tuple(_with_progress(_examine, tasks, workers, count, "patients"))
    used = frozenset[str]().union(*(patient.mapped_names for patient in patients))
    identifying = frozenset[str]().union(
        *(patient.identifying_names for patient in patients)
    )
    unused = roi_names.unmatched(location.mapping, used)
    return Inventory(
        site=location.site,
        patients=patients,
        not_in_splits=len(cohort.left_out),
        unused_mapping_names=tuple(
            deidentification.MASK if name in identifying else name for name in unused
        ),
    )


def _with_progress(
    function: Callable[..., Any],
    tasks: Iterator[tuple[Any, ...]],
    workers: int,
    count: int,
    label: str,
) -> Iterator[Any]:
    """Results of `function` for each of the tasks, in order, under a progress bar."""
    results = processes.in_order(function, tasks, workers)
    with contextlib.closing(results):
        yield from tqdm.tqdm(results, total=count, desc=label, unit="pt")


def _examine(raw: dicom_patient.Raw, split: str, picture: Path) -> PatientEntry:
    """The entry of one patient. Runs in a worker process."""
    entry = PatientEntry(raw.patient_id, split)
    try:
        reading = dicom_patient.read(raw)
    except errors.MtlError as error:
        entry, structure_set = dataclasses.replace(entry, refusal=str(error)), None
        # If the structure set cannot be read either, the refusal already says so.
        with contextlib.suppress(errors.MtlError):
            structure_set = dicom_patient.structure_set(raw)
        return _with_roi_names(entry, raw, structure_set)
    entry = _with_roi_names(entry, raw, reading.structure_set)
    patient = reading.patient
    title = f"{raw.patient_id}   {split}"
    patient_figure.draw(picture, patient, site=raw.site, title=title)
    dose_gy = patient.dose_gy
    return dataclasses.replace(
        entry,
        notes=tuple(note_kinds.by_weight(reading.notes)),
        structures=tuple(
            _structure_entry(reading, name, raw.site) for name in patient.structures
        ),
        shape=patient.grid.shape,
        spacing_mm=patient.grid.spacing_mm,
        max_dose_gy=None if dose_gy is None else float(dose_gy.max()),
        picture=picture,
    )


def _with_roi_names(
    entry: PatientEntry,
    raw: dicom_patient.Raw,
    structure_set: rtstruct.StructureSet | None,
) -> PatientEntry:
    """`entry` with its ROI names; `structure_set` is None if it cannot be read."""
    labels: dict[str, str] = {}
    if structure_set is None:
        identifiers = dicom_patient.identifiers(raw)
    else:
        identifiers = structure_set.file.identifiers
        labels = {roi.name: roi.label for roi in structure_set.rois}
    try:
        assigned = roi_names.assign(tuple(labels), raw.site, raw.mapping).structures
    except errors.MtlError:
        assigned = {}
    structures = {roi: structure for structure, roi in assigned.items()}
    return dataclasses.replace(
        entry,
        rois={label: structures.get(name, "") for name, label in labels.items()},
        mapped_names=frozenset(labels) & frozenset(raw.mapping),
        identifying_names=frozenset(
            name for name in raw.mapping if identifiers.hide(name) != name
        ),
    )


def _structure_entry(
    reading: reader.Reading, name: str, site: sites.Site
) -> StructureEntry:
    patient = reading.patient
    mask = patient.structures[name]
    voxels = int(np.count_nonzero(mask))
    return StructureEntry(
        structure=name,
        roi_name=reading.roi_names[name],
        volume_cc=voxels * patient.grid.voxel_mm3 / 1000,
        plausible_cc=site.structure(name).volume_cc,
        fraction_outside_dose=reading.outside_dose.get(name),
        missing_slices=len(contour_geometry.missing_slices(mask)),
    )


def survey(
    location: patient_folders.Location, workers: int
) -> tuple[str, Sequence[str]]:
    """The text of a mapping file to fill in, and a message for each unread patient."""
    cohort = location.open()
    tasks = (
        (cohort.raw(split, patient_id),)
        for patient_id, split in cohort.split_of.items()
    )
    results = _with_progress(_roi_names, tasks, workers, len(cohort.split_of), "survey")
    counts, failures = collections.Counter[str](), []
    for names, failure in results:
        counts.update(names)
        failures += [failure] if failure else []
    return roi_names.survey(counts, location.site), failures


def _roi_names(raw: dicom_patient.Raw) -> tuple[frozenset[str], str]:
    """ROI names of a patient, or why they cannot be read. Runs in a worker process."""
    try:
        structure_set = dicom_patient.structure_set(raw)
    except errors.MtlError as error:
        return frozenset(), f"patient {raw.patient_id}: {error}"
    # The ROIs' names, not their labels: a mapping file must match the exact names.
    hide = structure_set.file.identifiers.hide
    return frozenset(hide(roi.name) for roi in structure_set.rois), ""
