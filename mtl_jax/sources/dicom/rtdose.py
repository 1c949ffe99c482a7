"""RTDOSE files to the dose of the whole course on the CT's grid, in Gy.

Input: headers of dose files and plans, and the CT's grid. Output: the dose, and a mask
of the voxels where it is known. `choose` selects the files whose sum is the dose, and
`total` adds them up: `read` gives one on its own grid, `onto` interpolates it to the
CT's, linearly between voxel centres and 0 outside of them.
"""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Sequence

import numpy as np

from mtl_jax.core import errors, geometry, note_kinds, sites
from mtl_jax.sources.dicom import elements, headers, orientation, pixels

UNITS_GY = {"GY": 1.0, "CGY": 0.01}  # CGY is not in the standard, but met
OFFSET_MM = 0.01
# More than any course of external beams, but less than its dose in cGy.
PLAUSIBLE_GY = 300.0
# Hot spots have less than twice the prescription, also in stereotactic plans; a dose in
# cGy has a hundred times of it.
FAR_BEYOND = 3.0
# How the export of this package comments on a dose whose plan it wrote itself.
INVENTED = "the plan is invented"
# A course gives more; less is in other units, of one beam or fraction, or no dose.
LOW_GY = 1.0

Files = tuple[headers.File, ...]


@dataclasses.dataclass(frozen=True)
class Dose:
    """A dose on its own planes, which need not be evenly spaced."""

    dose_gy: np.ndarray  # [Z, Y, X] float32, canonical order
    z_mm: np.ndarray  # [Z] growing
    plane: geometry.Grid  # y and x of `dose_gy`; its z is without meaning
    notes: tuple[note_kinds.Note, ...]


def choose(
    folder: headers.Folder,
    structure_set: headers.File,
    in_frame: Callable[[headers.File], bool],
    accept: Collection[str] = (),
) -> tuple[Files, tuple[note_kinds.Note, ...]]:
    """The files whose sum is the dose, none if there is no RTDOSE at all, and notes.

    `in_frame` says whether a dose lies in the CT's coordinates; `accept` has names of
    reasons to refuse a patient that do not (core/note_kinds).

    Raises:
        SourceError: no dose can be used, or several could be meant.
    """
    if not folder.doses:
        return (), note_kinds.of("no_dose", ["no RTDOSE here: the patient has no dose"])
    left_out: dict[headers.File, str] = {}
    usable, planned_elsewhere = [], []
    for file in folder.doses:
        reason = unusable(file)
        if not reason and not in_frame(file):
            reason = "has another frame of reference than the CT"
            if not file.text("FrameOfReferenceUID"):
                reason = "states no frame of reference, nor is it of the CT's study"
        if not reason and _is_of_another(folder, file, structure_set):
            reason = "belongs to another structure set"
        if reason:
            left_out[file] = reason
        elif _is_planned_elsewhere(folder, file):
            planned_elsewhere.append(file)
        else:
            usable.append(file)
    doubts = []
    if planned_elsewhere and not usable:
        sentence = (
            f"{headers.listed([file.name for file in planned_elsewhere])} was planned, "
            "as its plan says, on a structure set that is not here; add that one"
        )
        doubts.append(note_kinds.refuse("other_plan", sentence, accept))
        usable = planned_elsewhere
    else:
        reason = "was planned on a structure set that is not here"
        left_out |= dict.fromkeys(planned_elsewhere, reason)
    if not usable:
        reasons = "; ".join(f"{f.name} {reason}" for f, reason in left_out.items())
        raise errors.SourceError(f"no RTDOSE can be used: {reasons}")
    linked = [file for file in usable if structure_set_of(folder, file)]
    chosen = _by_summation(linked or usable, folder)
    notes = [f"{file.name} {reason}: left out" for file, reason in left_out.items()]
    for file in usable:
        reason = f"DoseSummationType {file.quoted('DoseSummationType')}"
        if linked and file not in linked:
            reason = "no plan here links it to the contours"
        if file not in chosen:
            notes.append(f"{file.name} ({reason}) left out")
    notes = note_kinds.of("files", notes)
    return chosen, (*doubts, *notes, *_unlinked(folder, chosen))


def _unlinked(folder: headers.Folder, doses: Files) -> tuple[note_kinds.Note, ...]:
    """Notes on what does not say which contours `doses` were planned on."""
    sentences = []
    without = [file.name for file in doses if not plans_of(folder, [file])]
    if without:
        sentences.append(f"the plan (RTPLAN) of {headers.listed(without)} is not here")
    plans = plans_of(folder, doses)
    if silent := [plan.name for plan in plans if not _sets_of(plan)]:
        sentences.append(f"{headers.listed(silent)} names no structure set")
    return note_kinds.of("unstated", sentences)


def structure_set_of(folder: headers.Folder, dose: headers.File) -> str:
    """The UID of the structure set in `folder` that the plan of `dose` was made on."""
    present = {file.text("SOPInstanceUID") for file in folder.structure_sets}
    named = [uid for plan in plans_of(folder, [dose]) for uid in _sets_of(plan)]
    return next((uid for uid in named if uid in present), "")


def _sets_of(plan: headers.File) -> list[str]:
    """The UIDs of the structure sets that `plan` names."""
    uids = [
        elements.text(item, "ReferencedSOPInstanceUID", plan.name)
        for item in plan.items("ReferencedStructureSetSequence")
    ]
    return [uid for uid in uids if uid]


def plans_of(folder: headers.Folder, doses: Iterable[headers.File]) -> Files:
    """The plans in `folder` that `doses` refer to."""
    uids = set[str]().union(*(plan_uids(dose) for dose in doses))
    return tuple(p for p in folder.plans if p.text("SOPInstanceUID") in uids)


def plan_uids(dose: headers.File) -> set[str]:
    """The UIDs of the plans that `dose` refers to."""
    return {
        elements.text(item, "ReferencedSOPInstanceUID", dose.name)
        for item in dose.items("ReferencedRTPlanSequence")
    } - {""}


def _is_planned_elsewhere(folder: headers.Folder, dose: headers.File) -> bool:
    """Whether plans of `dose` name structure sets, none of which is here."""
    is_named = any(_sets_of(plan) for plan in plans_of(folder, [dose]))
    return is_named and not structure_set_of(folder, dose)


def _is_of_another(
    folder: headers.Folder, dose: headers.File, structure_set: headers.File
) -> bool:
    return structure_set_of(folder, dose) not in (
        "",
        structure_set.text("SOPInstanceUID"),
    )


def _by_summation(doses: Sequence[headers.File], folder: headers.Folder) -> Files:
    """One PLAN, else one MULTI_PLAN, else all the beams of one plan."""
    kinds: dict[str, list[headers.File]] = {}
    for file in doses:
        kinds.setdefault(file.text("DoseSummationType").upper(), []).append(file)
    for kind in ("PLAN", "MULTI_PLAN"):
        matches = kinds.get(kind, [])
        if len(matches) == 1:
            return tuple(matches)
        if matches:
            raise errors.SourceError(
                f"{len(matches)} doses are of DoseSummationType {kind}: "
                f"{headers.listed([file.name for file in matches])}; leave the one "
                "that was treated, move the others away"
            )
    if "BEAM" in kinds:
        return _beams(tuple(kinds["BEAM"]), folder)
    summation_types = ", ".join(
        f"{file.name} is {file.quoted('DoseSummationType')}" for file in doses
    )
    raise errors.SourceError(
        f"no dose of a whole plan (DoseSummationType PLAN): {summation_types}; export "
        "the plan's dose"
    )


def _beams(doses: Files, folder: headers.Folder) -> Files:
    """`doses`, if they are of each beam of one plan once; else a SourceError."""
    advice = "; export the dose of the whole plan (DoseSummationType PLAN)"
    names = headers.listed([file.name for file in doses])
    uids = set().union(*(plan_uids(file) for file in doses))
    plans = [plan for plan in folder.plans if plan.text("SOPInstanceUID") in uids]
    if len(uids) != 1 or len(plans) != 1:
        raise errors.SourceError(
            f"there are only doses of single beams ({names}), without the one plan "
            f"(RTPLAN) that states the number of beams{advice}"
        )
    numbers = [number for file in doses for number in _dose_beams(file)]
    expected = _plan_beams(plans[0])
    if sorted(numbers) != sorted(expected):
        raise errors.SourceError(
            f"{plans[0].name} has {len(expected)} beams, the doses of single beams "
            f"({names}) are of {len(numbers)}; they must be of each beam once{advice}"
        )
    return doses


def _dose_beams(file: headers.File) -> list[int]:
    return [
        int(elements.numbers(beam, "ReferencedBeamNumber", file.name, 1)[0])
        for plan in file.items("ReferencedRTPlanSequence")
        for group in elements.items(plan, "ReferencedFractionGroupSequence", file.name)
        for beam in elements.items(group, "ReferencedBeamSequence", file.name)
    ]


def _plan_beams(plan: headers.File) -> list[int]:
    """Numbers of the beams that treat: of every fraction group, setup beams aside."""
    setup = {
        elements.numbers(beam, "BeamNumber", plan.name, 1)[0]
        for beam in plan.items("BeamSequence")
        if elements.text(beam, "TreatmentDeliveryType", plan.name) == "SETUP"
    }
    numbers = [
        elements.numbers(beam, "ReferencedBeamNumber", plan.name, 1)[0]
        for group in plan.items("FractionGroupSequence")
        for beam in elements.items(group, "ReferencedBeamSequence", plan.name)
    ]
    return [int(number) for number in numbers if number not in setup]


def total(
    files: tuple[headers.File, ...], grid: geometry.Grid
) -> tuple[np.ndarray, np.ndarray, tuple[note_kinds.Note, ...]]:
    """The sum of `files` on `grid`, where all of them are known, and notes."""
    return added(((file.name, read(file)) for file in files), grid)


def added(
    doses: Iterable[tuple[str, Dose]], grid: geometry.Grid
) -> tuple[np.ndarray, np.ndarray, tuple[note_kinds.Note, ...]]:
    """The sum on `grid` of `doses` with their names, where all are known, and notes."""
    dose_gy, known = np.zeros(grid.shape, np.float32), np.ones(grid.shape, bool)
    notes: list[note_kinds.Note] = []
    names = []
    for name, dose in doses:
        names.append(name)
        part, covered = onto(dose, grid)
        dose_gy += part
        known &= covered
        notes += dose.notes
        highest, resampled = float(dose.dose_gy.max()), float(part.max())
        if highest - resampled > 0.005 * highest:
            sentence = (
                f"{name} reaches {highest:.2f} Gy on its own grid, "
                f"{resampled:.2f} Gy on the CT's"
            )
            notes.append(note_kinds.Note("changed_values", sentence))
    if not known.any():
        raise errors.SourceError(
            f"the dose of {names[0]} does not overlap the CT; they are of "
            "different patients or scans"
        )
    dose_gy[~known] = 0  # a part of the sum is no dose
    return dose_gy, known, tuple(notes)


def read(file: headers.File) -> Dose:
    """The dose in `file`; a SourceError for one that is not absolute or not regular."""
    if reason := unusable(file):
        raise file.error(reason)
    first = orientation.plane(file)
    orientation.check_straight(first, file)
    z_mm = _heights(file, first)
    # PS3.3 C.8.8.3: integers that DoseGridScaling makes doses; rescale plays no part.
    (scaling,) = file.numbers("DoseGridScaling", 1)
    if not 0 < scaling <= 1e3:
        raise file.error(
            f"has a DoseGridScaling of {scaling:g}; it must be greater than 0, and "
            "convert pixels to Gy"
        )
    stored, dataset = pixels.read(file)
    stored = pixels.significant(stored, dataset, file)
    stored = stored.reshape(-1, *first.shape)
    if len(stored) != len(z_mm):
        raise file.error(
            f"has {len(stored)} planes of dose but {len(z_mm)} offsets "
            "(GridFrameOffsetVector); export it again"
        )
    units = file.text("DoseUnits").upper()
    values = (stored.astype(np.float64) * (scaling * UNITS_GY[units])).astype(
        np.float32
    )
    order = np.argsort(z_mm)
    dose_gy, plane = orientation.canonical(values[order], first, 1.0)
    return Dose(dose_gy, z_mm[order], plane, _notes(file, float(dose_gy.max())))


def unusable(file: headers.File) -> str:
    """Why the file holds no dose in Gy; '' if it does."""
    units, kind = file.text("DoseUnits").upper(), file.text("DoseType").upper()
    if units not in UNITS_GY:
        return (
            f"has DoseUnits {file.quoted('DoseUnits')}, which gives no dose in Gy; "
            "export the dose in absolute units"
        )
    if kind not in ("", "PHYSICAL", "EFFECTIVE"):
        return f"has DoseType {file.quoted('DoseType')}, which is not a dose"
    if INVENTED in file.text("DoseComment"):
        return "is a network's estimate with an invented plan, no planned dose"
    if file.numbers("PixelRepresentation") not in ((), (0.0,)):
        return "has signed pixels, which a dose cannot have; export it again"
    return ""


def _heights(file: headers.File, first: orientation.Plane) -> np.ndarray:
    """Positions along z in mm of each frame (PS3.3 C.8.8.3.2)."""
    offsets = np.array(file.numbers("GridFrameOffsetVector"))
    if len(offsets) < 2:
        raise file.error(
            f"has {len(offsets)} offsets of planes (GridFrameOffsetVector); a dose "
            "volume has two or more"
        )
    steps = np.diff(offsets)
    if not (np.all(steps >= 1e-3) or np.all(steps <= -1e-3)) or (
        np.abs(offsets).max() > orientation.FAR_MM
    ):
        raise file.error(
            "has a GridFrameOffsetVector (mm) that neither grows nor falls all the way"
        )
    start = float(first.position_mm[2])
    # Only rows to the left and columns to posterior may state z itself.
    plain = first.right[0] > 0.5 and first.down[1] > 0.5
    if abs(offsets[0]) <= OFFSET_MM:
        return start + offsets * round(float(first.normal[2]))
    if plain and abs(offsets[0] - start) <= OFFSET_MM:
        return offsets
    if abs(offsets[0] - start) <= OFFSET_MM:
        raise file.error(
            f"has a GridFrameOffsetVector that begins with {offsets[0]:g}, the first "
            "plane's z, which the standard allows only where columns grow to the left "
            "and rows to the back (head first, supine); export it with offsets from 0"
        )
    raise file.error(
        f"has a GridFrameOffsetVector that begins with {offsets[0]:g}; expected 0 or, "
        f"in axial orientation, the first plane's z of {start:g} mm"
    )


def check_height(
    names: Sequence[str], dose_gy: np.ndarray, site: sites.Site, accept: Collection[str]
) -> tuple[note_kinds.Note, ...]:
    """A note if the dose of the files `names` is far beyond what `site` prescribes.

    Raises:
        SourceError: it is, and that is not accepted.
    """
    highest_gy = float(dose_gy.max())
    prescribed_gy = max(
        [site.prescription_gy, *(s.target_gy or 0 for s in site.structures)]
    )
    if highest_gy <= FAR_BEYOND * prescribed_gy:
        return ()
    sentence = (
        f"{headers.listed(names)} reaches {highest_gy:.4g} Gy, "
        f"{highest_gy / prescribed_gy:.0f} times the prescription of site {site.name} "
        f"({prescribed_gy:g} Gy): it is in other units (cGy?), or of another site; "
        "export it in Gy"
    )
    return (note_kinds.refuse("high_dose", sentence, accept),)


def unusual(name: str, highest_gy: float) -> list[str]:
    """What is unusual about the height of the dose `name`, as sentences."""
    if LOW_GY <= highest_gy <= PLAUSIBLE_GY:
        return []
    return [f"{name} reaches {highest_gy:.4g} Gy: check that these are Gy"]


def _notes(file: headers.File, highest_gy: float) -> tuple[note_kinds.Note, ...]:
    notes = unusual(file.name, highest_gy)
    if file.text("DoseUnits").upper() == "CGY":
        notes.append(f"{file.name} is in cGy, and was divided by 100")
    if file.text("DoseType").upper() == "EFFECTIVE":
        notes.append(f"{file.name} holds effective (biologically weighted) dose")
    if not file.text("DoseType"):
        notes.append(f"{file.name} has no DoseType, and was taken for physical dose")
    return note_kinds.of("dose_values", notes)


def onto(dose: Dose, grid: geometry.Grid) -> tuple[np.ndarray, np.ndarray]:
    """The dose [Z, Y, X] in Gy at the voxels of `grid`, and where it is known.

    Outside the dose's outer voxel centres it is not known, and 0.
    """
    z, y, x = (np.arange(size) for size in grid.shape)
    z_mm = grid.origin_mm[2] + z * grid.spacing_mm[0]
    # Linear along z first, between planes that may be unevenly spaced.
    height = np.interp(z_mm, dose.z_mm, np.arange(len(dose.z_mm)))
    below = np.minimum(height.astype(int), len(dose.z_mm) - 2)
    part = (height - below)[:, None, None].astype(np.float32)
    levelled = dose.dose_gy[below] * (1 - part) + dose.dose_gy[below + 1] * part
    dz, (_, dy, dx) = grid.spacing_mm[0], dose.plane.spacing_mm
    x0, y0, _ = dose.plane.origin_mm
    source = geometry.Grid(levelled.shape, (dz, dy, dx), (x0, y0, grid.origin_mm[2]))
    resampled = geometry.resample(levelled, source, grid)
    y_mm = grid.origin_mm[1] + y * grid.spacing_mm[1]
    x_mm = grid.origin_mm[0] + x * grid.spacing_mm[2]
    _, rows, columns = dose.plane.shape
    edge = geometry.EDGE * np.diff(dose.z_mm)
    known = (
        _within(z_mm, dose.z_mm[0], dose.z_mm[-1], edge.min())[:, None, None]
        & _within(y_mm, y0, y0 + (rows - 1) * dy, geometry.EDGE * dy)[:, None]
        & _within(x_mm, x0, x0 + (columns - 1) * dx, geometry.EDGE * dx)
    )
    resampled[~known] = 0
    return resampled, known


def _within(values: np.ndarray, low: float, high: float, edge: float) -> np.ndarray:
    return (values >= low - edge) & (values <= high + edge)
