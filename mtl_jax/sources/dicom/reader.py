"""A folder of clinical DICOM-RT to a Patient on the CT's grid.

Input: a folder with a CT series, an RTSTRUCT and an RTDOSE, perhaps among other files.
Output: a Reading, the patient and notes on the decisions made. Ambiguous folders are
refused. Errors and notes name files by kind and number, and show ROI names without what
identifies the patient.
"""

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np

from mtl_jax.core import (
    contour_geometry,
    errors,
    geometry,
    note_kinds,
    records,
    sites,
)
from mtl_jax.sources.dicom import (
    ct_series,
    headers,
    identity,
    roi_names,
    rtdose,
    rtstruct,
)


@dataclasses.dataclass(frozen=True)
class Options:
    """Exceptions to the strict reading rules.

    Fingerprints of data sets cover this class's repr: a renamed field changes them.
    """

    # Accept contours and dose whose frame of reference is not the CT's, or missing.
    allow_frame_mismatch: bool = False
    # Accept a patient without an ROI for a structure that networks contour, or with one
    # whose contours are not on the CT's slices.
    allow_missing: bool = False
    # Fill gaps of up to this many slices between two contours of an ROI.
    fill_gaps: int = 0
    # Names of reasons to refuse a patient that do not refuse it (core/note_kinds).
    accept: tuple[str, ...] = ()
    # Name files in messages by their path in the patient's folder.
    show_paths: bool = False

    def __repr__(self) -> str:
        """Without the options that older versions lack, if they are not used."""
        new = {"accept": (), "show_paths": False}
        given = vars(self).items()
        values = {name: value for name, value in given if new.get(name) != value}
        return f"Options({', '.join(f'{k}={v!r}' for k, v in values.items())})"


@dataclasses.dataclass(frozen=True)
class Reading:
    """A patient, with notes on how it was read."""

    patient: records.Patient
    structure_set: rtstruct.StructureSet
    roi_names: dict[str, str]  # by structure, without identifiers
    outside_dose: dict[str, float]  # fraction of each structure outside the dose grid
    ct_files: tuple[headers.File, ...]  # of each slice, from the feet

    @property
    def notes(self) -> tuple[note_kinds.Note, ...]:
        """The patient's notes."""
        return self.patient.notes


def read(
    folder: Path,
    *,
    patient_id: str,
    site: sites.Site,
    mapping: Mapping[str, str | None] | None = None,
    options: Options = Options(),
    rt_path: Path | None = None,
    with_dose: bool = True,
) -> Reading:
    """The patient in `folder`, called `patient_id`.

    If `rt_path`, a folder or file, is given, contours and dose are read from it. The
    dose is read only `with_dose`.

    Raises:
        SourceError: the folder does not hold one patient's CT and contours, or dose,
            or something in it is damaged or ambiguous.
        ConfigError: see `roi_names`.
    """
    files = headers.scan(Path(folder), show_paths=options.show_paths)
    if rt_path is not None:
        rt_files = headers.scan(rt_path, show_paths=options.show_paths)
        files = _combine(files, rt_files)
    if not with_dose:
        files = dataclasses.replace(files, doses=())
    structure_set = _structure_set(files)
    ct_files, chosen = ct_series.choose(
        files,
        series=structure_set.series_uids,
        images=structure_set.image_uids,
        frames=structure_set.frame_uids,
    )
    assigned = _assign(structure_set, site, mapping, options)
    ct = ct_series.read(ct_files, options.accept)
    skipped = note_kinds.of("files", (*structure_set.notes, *chosen))
    notes = [*files.notes, *skipped, *ct.notes]
    notes += _image_notes(structure_set, ct)
    structures, mask_notes = _structures(structure_set, assigned, ct, site, options)
    notes += mask_notes + absent(site, assigned)
    dose_gy, covered, dose_notes = _dose(files, structure_set, ct, site, options)
    notes += [*_rejected([structure_set.file]), *dose_notes]
    outside = {} if covered is None else outside_dose(structures, covered)
    notes += outside_notes(outside, {n: roi.label for n, roi in assigned.items()})
    stored = ct.hu + np.float32(site.ct_offset_hu)
    patient = records.Patient(
        patient_id, ct.grid, stored, structures, dose_gy, covered, tuple(notes)
    )
    return Reading(
        patient=records.check_patient(patient, site.names),
        structure_set=structure_set,
        roi_names={name: roi.label for name, roi in assigned.items()},
        outside_dose=outside,
        ct_files=ct.files,
    )


def _combine(ct: headers.Folder, rt: headers.Folder) -> headers.Folder:
    """The CT of one folder with the contours, doses and plans of another."""
    objects = (*rt.structure_sets, *rt.doses, *rt.plans)
    used = [file for files in ct.ct.values() for file in files] + [*objects]
    if two := identity.contradiction(used):
        raise errors.SourceError(
            "the contours or the dose are of another patient than the CT (their "
            f"{two[0]} differs); give those that belong to this CT"
        )
    unstated = note_kinds.of("unstated", identity.unstated(used, headers.listed))
    notes = tuple(dict.fromkeys((*ct.notes, *rt.notes, *unstated)))
    rt.identifiers.update(ct.identifiers)
    return dataclasses.replace(rt, ct=ct.ct, notes=notes)


def read_structure_set(
    folder: Path, options: Options = Options()
) -> rtstruct.StructureSet:
    """The structure set that `read` would take, for a survey of its ROIs."""
    files = headers.scan(Path(folder), show_paths=options.show_paths)
    return _structure_set(files)


def _structure_set(folder: headers.Folder) -> rtstruct.StructureSet:
    """The only structure set, or the only one that belongs to a dose.

    By the plan of the dose, else by the frame of reference, else by the study.
    """
    candidates = folder.structure_sets
    if not candidates:
        raise errors.SourceError(
            "no RTSTRUCT here; a patient's folder needs the CT series, an RTSTRUCT and "
            "an RTDOSE"
        )
    structure_set, notes = candidates[0], list[str]()
    if len(candidates) > 1:
        doses = folder.doses
        planned = {rtdose.structure_set_of(folder, dose) for dose in doses}
        frames = {dose.text("FrameOfReferenceUID") for dose in doses} - {""}
        studies = {dose.text("StudyInstanceUID") for dose in doses} - {""}
        tests = (
            [f for f in candidates if f.text("SOPInstanceUID") in planned],
            [f for f in candidates if rtstruct.frames(f) & frames],
            [f for f in candidates if f.text("StudyInstanceUID") in studies],
        )
        # The first test that excludes some of them decides.
        total = len(candidates)
        selected = next((fs for fs in tests if 0 < len(fs) < total), candidates)
        if len(selected) != 1:
            names = headers.listed([file.name for file in selected])
            raise errors.SourceError(
                f"several RTSTRUCTs could be meant: {names}; leave the one that was "
                "planned on, move the others away (or add the plan, RTPLAN)"
            )
        structure_set = selected[0]
        left_out = [file.name for file in candidates if file is not structure_set]
        notes = [f"left out other structure sets: {headers.listed(left_out)}"]
    read = rtstruct.read(structure_set)
    return dataclasses.replace(read, notes=(*notes, *read.notes))


def _assign(
    structure_set: rtstruct.StructureSet,
    site: sites.Site,
    mapping: Mapping[str, str | None] | None,
    options: Options,
) -> dict[str, rtstruct.Roi]:
    """The ROI of each structure of `site` that has one."""
    shown = structure_set.file.identifiers.hide
    try:
        assigned = roi_names.assign(structure_set.names, site, mapping, shown)
        if not options.allow_missing:
            assigned.require(site.contoured, shown)
    except errors.SourceError as error:
        raise structure_set.file.error(f"cannot be mapped: {error}") from None
    return {
        structure: structure_set.roi(name)
        for structure, name in assigned.structures.items()
    }


def _in_frame(uid: str, ct: ct_series.Series, options: Options) -> bool:
    return options.allow_frame_mismatch or (uid != "" and uid == ct.frame_uid)


def _structures(
    structure_set: rtstruct.StructureSet,
    assigned: Mapping[str, rtstruct.Roi],
    ct: ct_series.Series,
    site: sites.Site,
    options: Options,
) -> tuple[dict[str, np.ndarray], list[note_kinds.Note]]:
    """The masks of what was contoured, and notes."""
    structures, notes = {}, []
    for name, roi in assigned.items():
        is_organ = name in site.contoured
        mask, roi_notes = _mask(structure_set, roi, ct, options, is_organ=is_organ)
        notes += [
            note_kinds.Note(note.kind, f"{roi.label}: {note}", name)
            for note in roi_notes
        ]
        if mask is not None:
            structures[name] = mask
    if not structures:
        raise structure_set.file.error(
            "has no contour of this site's structures in the CT; they are of another "
            "image, or nothing was drawn"
        )
    return structures, notes


def _mask(
    structure_set: rtstruct.StructureSet,
    roi: rtstruct.Roi,
    ct: ct_series.Series,
    options: Options,
    *,
    is_organ: bool,
) -> tuple[np.ndarray | None, list[note_kinds.Note]]:
    """The mask of `roi` on the CT, None if there is none, and notes.

    Raises:
        SourceError: `is_organ`, one that networks contour, and something was drawn that
            cannot be read, or is not in the CT; unless that is accepted.
    """
    if not (roi.contours or roi.left_out or roi.unread):
        return None, [note_kinds.Note("missing", "not contoured")]
    left_out = [*note_kinds.of("contours", roi.left_out)]
    left_out += note_kinds.of("unread_contours", roi.unread)

    def check(problem: str, *, is_lost: bool = True) -> note_kinds.Note:
        if not is_organ or (is_lost and options.allow_missing):
            return note_kinds.Note("unread_contours", f"left out: {problem}")
        sentence = f"{structure_set.file.name} has {roi.label}: {problem}"
        accepted = note_kinds.refuse("unread_organ", sentence, options.accept)
        return note_kinds.Note(accepted.kind, problem)

    if not roi.contours:
        problem = f"no closed contour can be read ({', '.join(left_out)}); export again"
        return None, [*left_out, check(problem)]
    if not _in_frame(roi.frame_uid, ct, options):
        raise structure_set.file.error(
            f"has {roi.label} in another frame of reference than {ct.files[0].name}, "
            "or one of them states none; export contours and CT that belong together, "
            "or allow the mismatch if you know that they do"
        )
    try:
        mask, mask_notes = contour_geometry.to_mask(roi.contours, ct.grid)
    except errors.GeometryError as error:
        return None, [*left_out, check(str(error))]
    if not mask.any():
        problem = "it holds no voxel of the CT: drawn beside it, or too small"
        return None, [*left_out, *mask_notes, check(problem)]
    if roi.unread and is_organ:
        reasons = ", ".join(roi.unread)
        problem = f"only a part of it can be read ({reasons}); export again"
        left_out.append(check(problem, is_lost=False))
    mask, gap_notes = without_gaps(mask, ct.grid, options)
    return mask, [*left_out, *mask_notes, *gap_notes]


def without_gaps(
    mask: np.ndarray, grid: geometry.Grid, options: Options
) -> tuple[np.ndarray, list[note_kinds.Note]]:
    """`mask` [Z, Y, X] with gaps filled as the options say, and notes on gaps."""
    notes = []
    gaps = len(contour_geometry.missing_slices(mask))
    if gaps and options.fill_gaps:
        mask = contour_geometry.fill_gaps(mask, grid, options.fill_gaps)
    remaining = len(contour_geometry.missing_slices(mask))
    if filled := gaps - remaining:
        sentence = f"slices without a contour between others, filled: {filled}"
        notes.append(note_kinds.Note("contours", sentence))
    if remaining:
        sentence = f"slices without a contour between others, left empty: {remaining}"
        notes.append(note_kinds.Note("gaps", sentence))
    return mask, notes


def _image_notes(
    structure_set: rtstruct.StructureSet, ct: ct_series.Series
) -> tuple[note_kinds.Note, ...]:
    present = {file.text("SOPInstanceUID") for file in ct.files}
    absent = structure_set.image_uids - present
    note = (
        f"the structure set names {len(absent)} images that are not in the CT series; "
        "contours were placed by their coordinates"
    )
    return note_kinds.of("unstated", [note] if absent else [])


def _rejected(files: Iterable[headers.File]) -> tuple[note_kinds.Note, ...]:
    """A note on each of `files`, structure sets or plans, that was rejected."""
    return note_kinds.of(
        "rejected",
        (
            f"{file.name} is marked as rejected (ApprovalStatus): check that it is the "
            "one that was treated"
            for file in files
            if file.text("ApprovalStatus").upper() == "REJECTED"
        ),
    )


def absent(site: sites.Site, assigned: Collection[str]) -> list[note_kinds.Note]:
    """A note if structures of `site` are not among those `assigned`."""
    missing = [name for name in site.names if name not in assigned]
    sentence = f"no ROI is called {', '.join(missing)}"
    return [note_kinds.Note("missing", sentence)] if missing else []


def _dose(
    folder: headers.Folder,
    structure_set: rtstruct.StructureSet,
    ct: ct_series.Series,
    site: sites.Site,
    options: Options,
) -> tuple[np.ndarray | None, np.ndarray | None, list[note_kinds.Note]]:
    """The dose on the CT and where it is known, None without an RTDOSE, and notes."""
    study = ct.files[0].text("StudyInstanceUID")

    def in_frame(file: headers.File) -> bool:
        uid = file.text("FrameOfReferenceUID")
        # Without a frame of reference the same study is what is left to go by.
        same_study = study != "" and file.text("StudyInstanceUID") == study
        return _in_frame(uid, ct, options) or (uid == "" and same_study)

    files, chosen = rtdose.choose(folder, structure_set.file, in_frame, options.accept)
    if not files:
        return None, None, [*chosen]
    plans = rtdose.plans_of(folder, files)
    for plan in plans:
        uid = plan.text("FrameOfReferenceUID")
        if uid and ct.frame_uid and not _in_frame(uid, ct, options):
            raise plan.error(
                "has another frame of reference than the CT; give the plan, contours "
                "and dose of this CT, or allow the mismatch if they are"
            )
    dose_gy, covered, notes = rtdose.total(files, ct.grid)
    names = [file.name for file in files]
    notes += rtdose.check_height(names, dose_gy, site, options.accept)
    return dose_gy, covered, [*chosen, *notes, *_rejected(plans)]


def outside_notes(
    outside: Mapping[str, float], labels: Mapping[str, str]
) -> list[note_kinds.Note]:
    """Notes on structures partly outside the dose grid; `labels` names them."""
    return [
        note_kinds.Note(
            "outside", f"{labels[name]}: {part:.1%} lies outside the dose grid", name
        )
        for name, part in outside.items()
        if part
    ]


def outside_dose(
    structures: Mapping[str, np.ndarray], covered: np.ndarray
) -> dict[str, float]:
    """The fraction of each structure where the dose is not known."""
    return {
        name: float(np.count_nonzero(mask & ~covered) / np.count_nonzero(mask))
        for name, mask in structures.items()
    }
