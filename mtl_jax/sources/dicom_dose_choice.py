"""Which RTDOSE files of a folder make up the dose of the course that was planned.

The dose of one plan is wanted. What belongs to another image or structure set, or is
no dose in Gy, is left out; what is then still ambiguous is refused.
"""

from collections.abc import Callable, Sequence

from mtl_jax.core import errors
from mtl_jax.sources import dicom_files, dicom_rtdose, dicom_values

Files = tuple[dicom_files.File, ...]


def choose(
    folder: dicom_files.Folder,
    structure_set: dicom_files.File,
    in_frame: Callable[[dicom_files.File], bool],
) -> tuple[Files, tuple[str, ...]]:
    """The files whose sum is the dose, none if there is no RTDOSE at all, and notes.

    `in_frame` says whether a dose lies in the CT's coordinates.

    Raises:
        SourceError: no dose can be used, or several could be meant.
    """
    if not folder.doses:
        return (), ("no RTDOSE here: the patient has no dose",)
    left_out: dict[dicom_files.File, str] = {}
    usable = []
    for file in folder.doses:
        reason = dicom_rtdose.unusable(file)
        if not reason and not in_frame(file):
            reason = "has another frame of reference than the CT"
        if not reason and _is_of_another(folder, file, structure_set):
            reason = "belongs to another structure set"
        if reason:
            left_out[file] = reason
        else:
            usable.append(file)
    if not usable:
        told = "; ".join(f"{file.name} {why}" for file, why in left_out.items())
        raise errors.SourceError(f"no RTDOSE can be used: {told}")
    linked = [file for file in usable if structure_set_of(folder, file)]
    chosen = _by_summation(linked or usable, folder)
    notes = [f"{file.name} {reason}: left out" for file, reason in left_out.items()]
    notes += [
        f"{file.name} (DoseSummationType {file.shown('DoseSummationType')}) left out"
        for file in usable
        if file not in chosen
    ]
    return chosen, tuple(notes)


def structure_set_of(folder: dicom_files.Folder, dose: dicom_files.File) -> str:
    """The UID of the structure set in `folder` that the plan of `dose` was made on."""
    here = {file.text("SOPInstanceUID") for file in folder.structure_sets}
    plans = plan_uids(dose)
    for plan in folder.plans:
        if plan.text("SOPInstanceUID") not in plans:
            continue
        for item in plan.items("ReferencedStructureSetSequence"):
            uid = dicom_values.text(item, "ReferencedSOPInstanceUID", plan.name)
            if uid in here:
                return uid
    return ""


def plan_uids(dose: dicom_files.File) -> set[str]:
    """The UIDs of the plans that `dose` refers to."""
    return {
        dicom_values.text(item, "ReferencedSOPInstanceUID", dose.name)
        for item in dose.items("ReferencedRTPlanSequence")
    } - {""}


def _is_of_another(
    folder: dicom_files.Folder, dose: dicom_files.File, structure_set: dicom_files.File
) -> bool:
    return structure_set_of(folder, dose) not in (
        "",
        structure_set.text("SOPInstanceUID"),
    )


def _by_summation(
    doses: Sequence[dicom_files.File], folder: dicom_files.Folder
) -> Files:
    """One PLAN, else one MULTI_PLAN, else all the beams of one plan."""
    kinds: dict[str, list[dicom_files.File]] = {}
    for file in doses:
        kinds.setdefault(file.text("DoseSummationType").upper(), []).append(file)
    for kind in ("PLAN", "MULTI_PLAN"):
        found = kinds.get(kind, [])
        if len(found) == 1:
            return tuple(found)
        if found:
            raise errors.SourceError(
                f"{len(found)} doses are of DoseSummationType {kind}: "
                f"{dicom_files.listed([file.name for file in found])}; leave the one "
                "that was treated, move the others away"
            )
    if "BEAM" in kinds:
        return _beams(tuple(kinds["BEAM"]), folder)
    shown = ", ".join(
        f"{file.name} is {file.shown('DoseSummationType')}" for file in doses
    )
    raise errors.SourceError(
        f"no dose of a whole plan (DoseSummationType PLAN): {shown}; export the plan's "
        "dose"
    )


def _beams(doses: Files, folder: dicom_files.Folder) -> Files:
    """`doses`, if they are of each beam of one plan once; else a SourceError."""
    advice = "; export the dose of the whole plan (DoseSummationType PLAN)"
    names = dicom_files.listed([file.name for file in doses])
    uids = set().union(*(plan_uids(file) for file in doses))
    plans = [plan for plan in folder.plans if plan.text("SOPInstanceUID") in uids]
    if len(uids) != 1 or len(plans) != 1:
        raise errors.SourceError(
            f"there are doses of single beams alone ({names}), and not the one plan "
            f"(RTPLAN) that says how many beams there are{advice}"
        )
    numbers = [number for file in doses for number in _dose_beams(file)]
    expected = _plan_beams(plans[0])
    if sorted(numbers) != sorted(expected):
        raise errors.SourceError(
            f"{plans[0].name} has {len(expected)} beams, the doses of single beams "
            f"({names}) are of {len(numbers)}; they must be of each beam once{advice}"
        )
    return doses


def _dose_beams(file: dicom_files.File) -> list[int]:
    return [
        int(dicom_values.numbers(beam, "ReferencedBeamNumber", file.name, 1)[0])
        for plan in file.items("ReferencedRTPlanSequence")
        for group in dicom_values.items(
            plan, "ReferencedFractionGroupSequence", file.name
        )
        for beam in dicom_values.items(group, "ReferencedBeamSequence", file.name)
    ]


def _plan_beams(plan: dicom_files.File) -> list[int]:
    """Numbers of the beams that treat: of every fraction group, setup beams aside."""
    setup = {
        dicom_values.numbers(beam, "BeamNumber", plan.name, 1)[0]
        for beam in plan.items("BeamSequence")
        if dicom_values.text(beam, "TreatmentDeliveryType", plan.name) == "SETUP"
    }
    numbers = [
        dicom_values.numbers(beam, "ReferencedBeamNumber", plan.name, 1)[0]
        for group in plan.items("FractionGroupSequence")
        for beam in dicom_values.items(group, "ReferencedBeamSequence", plan.name)
    ]
    return [int(number) for number in numbers if number not in setup]
