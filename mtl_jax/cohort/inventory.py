"""What a cohort of DICOM patients holds, and what of it would be refused.

In: the folder's Location. Out: a Member for each patient, read one by one in worker
processes; or the names of all ROIs, as a mapping file to fill in.
Text that came with the data is shown only after what identifies a patient was hidden.
"""

import collections
import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tqdm

from mtl_jax.core import contour_geometry, errors, sites
from mtl_jax.core import workers as processes
from mtl_jax.figures import overlay
from mtl_jax.sources.clinical import dicom_patient, patient_folders
from mtl_jax.sources.dicom import deidentification, reader, roi_names, rtstruct


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A structure of a patient as it was read."""

    structure: str
    roi: str  # its name in the file
    volume_cc: float
    range_cc: tuple[float, float] | None  # plausible volumes
    outside_dose: float | None  # part where the dose is not known; None: no dose
    missing_slices: int  # between contoured ones

    @property
    def plausible(self) -> bool | None:
        """Whether the volume is in its range; None without one."""
        if self.range_cc is None:
            return None
        return self.range_cc[0] <= self.volume_cc <= self.range_cc[1]


@dataclasses.dataclass(frozen=True)
class Member:
    """One patient."""

    patient_id: str
    split: str
    refused: str = ""  # why, if so
    notes: tuple[str, ...] = ()
    structures: tuple[Drawn, ...] = ()
    # Names of all ROIs, each with the structure that it is, or "".
    rois: Mapping[str, str] = dataclasses.field(default_factory=dict)
    shape: tuple[int, ...] = ()  # z, y, x
    spacing_mm: tuple[float, ...] = ()
    highest_gy: float | None = None
    picture: Path | None = None
    # Names of the mapping file that this patient has, and that identify it.
    heard: frozenset[str] = frozenset()
    identifying: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class Quality:
    """A cohort."""

    site: sites.Site
    members: tuple[Member, ...]
    left_out: int  # patients whom the CSV of splits does not name
    unheard: tuple[str, ...]  # names of the mapping file that no patient has

    @property
    def taken(self) -> tuple[Member, ...]:
        """Patients who would be in a data set."""
        return tuple(member for member in self.members if not member.refused)

    @property
    def names(self) -> dict[tuple[str, str], int]:
        """How many patients have each ROI name as each structure."""
        return dict(
            collections.Counter(
                pair for member in self.members for pair in member.rois.items()
            ).most_common()
        )


def examine(
    location: patient_folders.Location, pictures: Path, workers: int
) -> Quality:
    """Read every patient of `location`; pictures go into a folder."""
    patients = location.open()
    for earlier in pictures.glob("*.png"):
        earlier.unlink()
    tasks = (
        (patients.raw(split, name), split, pictures / f"{name}.png")
        for name, split in patients.split_of.items()
    )
    count = len(patients.split_of)
    members = tuple(_each(_examine, tasks, workers, count, "patients"))
    heard = frozenset[str]().union(*(member.heard for member in members))
    hidden = frozenset[str]().union(*(member.identifying for member in members))
    unheard = roi_names.unmatched(location.mapping, heard)
    return Quality(
        site=location.site,
        members=members,
        left_out=len(patients.left_out),
        unheard=tuple(
            deidentification.MASK if name in hidden else name for name in unheard
        ),
    )


def _each(
    task: Callable[..., Any],
    tasks: Iterator[tuple[Any, ...]],
    workers: int,
    count: int,
    words: str,
) -> Iterator[Any]:
    """Results of `task` in order, under a progress bar."""
    done = processes.in_order(task, tasks, workers)
    with contextlib.closing(done):
        yield from tqdm.tqdm(done, total=count, desc=words, unit="pt")


def _examine(raw: dicom_patient.Raw, split: str, picture: Path) -> Member:
    """A worker's task."""
    member = Member(raw.patient_id, split)
    try:
        reading = dicom_patient.read(raw)
    except errors.MtlError as error:
        member, found = dataclasses.replace(member, refused=str(error)), None
        with contextlib.suppress(errors.MtlError):  # then that is why
            found = dicom_patient.structure_set(raw)
        return _about_names(member, raw, found)
    member = _about_names(member, raw, reading.structure_set)
    patient = reading.patient
    title = f"{raw.patient_id}   {split}"
    overlay.draw(picture, patient, site=raw.site, title=title)
    dose_gy = patient.dose_gy
    return dataclasses.replace(
        member,
        notes=reading.notes,
        structures=tuple(
            _drawn(reading, name, raw.site) for name in patient.structures
        ),
        shape=patient.grid.shape,
        spacing_mm=patient.grid.spacing_mm,
        highest_gy=None if dose_gy is None else float(dose_gy.max()),
        picture=picture,
    )


def _about_names(
    member: Member,
    raw: dicom_patient.Raw,
    structure_set: rtstruct.StructureSet | None,
) -> Member:
    """With what ROIs are called; None is a structure set that cannot be read."""
    identifiers = deidentification.Identifiers()
    identifiers.add([raw.folder.name])
    names: dict[str, str] = {}
    if structure_set is not None:
        identifiers = structure_set.file.identifiers
        names = {roi.name: roi.label for roi in structure_set.rois}
    try:
        assigned = roi_names.assign(tuple(names), raw.site, raw.mapping).structures
    except errors.MtlError:
        assigned = {}
    structures = {roi: structure for structure, roi in assigned.items()}
    return dataclasses.replace(
        member,
        rois={shown: structures.get(name, "") for name, shown in names.items()},
        heard=frozenset(names) & frozenset(raw.mapping),
        identifying=frozenset(n for n in raw.mapping if identifiers.hide(n) != n),
    )


def _drawn(reading: reader.Reading, name: str, site: sites.Site) -> Drawn:
    patient = reading.patient
    mask = patient.structures[name]
    voxels = int(np.count_nonzero(mask))
    return Drawn(
        structure=name,
        roi=reading.roi_names[name],
        volume_cc=voxels * patient.grid.voxel_mm3 / 1000,
        range_cc=site.structure(name).volume_cc,
        outside_dose=reading.outside_dose.get(name),
        missing_slices=len(contour_geometry.missing_slices(mask)),
    )


def survey(
    location: patient_folders.Location, workers: int
) -> tuple[str, Sequence[str]]:
    """A mapping file to fill in, and what could not be read."""
    patients = location.open()
    tasks = (
        (patients.raw(split, name), split) for name, split in patients.split_of.items()
    )
    counts, failed = collections.Counter[str](), []
    for names, why in _each(_names, tasks, workers, len(patients.split_of), "survey"):
        counts.update(names)
        failed += [why] if why else []
    return roi_names.survey(counts, location.site), failed


def _names(raw: dicom_patient.Raw, split: str) -> tuple[frozenset[str], str]:
    """A worker's task: names of a patient's ROIs, or why there are none."""
    del split
    try:
        found = dicom_patient.structure_set(raw)
        # Not as messages show them: a mapping file needs them as they are.
        hide = found.file.identifiers.hide
        return frozenset(hide(roi.name) for roi in found.rois), ""
    except errors.MtlError as error:
        return frozenset(), f"patient {raw.patient_id}: {error}"
