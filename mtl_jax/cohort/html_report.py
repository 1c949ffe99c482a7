"""An Inventory as a report in one HTML file.

Input: an Inventory, and the options it was read with. Output: `cohort.html`, and a
short summary for the terminal.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import mtl_jax
from mtl_jax.cohort import inventory
from mtl_jax.core import note_kinds
from mtl_jax.datasets import splits
from mtl_jax.report import content, page

HTML = "cohort.html"
NONE = "–"


def write(
    cohort: inventory.Inventory, folder: Path, options: Mapping[str, str]
) -> Path:
    """Write the report into `folder` and return its path.

    `options` are the settings of the reader, which the report lists.
    """
    page.write(_study(cohort, options), folder / HTML)
    return folder / HTML


def summarise(cohort: inventory.Inventory) -> str:
    """The summary for the terminal: who is refused, notes by kind, who is accepted."""
    lines = [
        f"patient {patient.patient_id} is refused: {patient.refusal}"
        for patient in cohort.patients
        if patient.refusal
    ]
    lines += [
        f"note: {count} of {len(cohort.accepted)} patients: {note_kinds.KINDS[kind]}"
        for kind, count in cohort.note_counts.items()
    ]
    return "\n".join([*lines, _summary(cohort)])


def _summary(cohort: inventory.Inventory) -> str:
    accepted, total = len(cohort.accepted), len(cohort.patients)
    summary = f"{accepted} of {total} patients would be accepted, "
    summary += f"{total - accepted} refused"
    if cohort.not_in_splits:
        summary += f"; {cohort.not_in_splits} not named in the CSV of splits"
    return f"{summary}."


def _study(cohort: inventory.Inventory, options: Mapping[str, str]) -> content.Report:
    return content.Report(
        title=f"Cohort for the site {cohort.site.name}",
        site=cohort.site,
        summary=_summary(cohort),
        findings=list(_findings(cohort)),
        cohort=[content.Fact(term, value) for term, value in _counts(cohort).items()],
        cohort_tables=[_names_table(cohort), _volumes_table(cohort)],
        checks=list(_checks(cohort)),
        tables=[_patients_table(cohort)],
        pictures=[
            content.Picture(
                patient.patient_id,
                "CT with contours, and with the dose and the targets.",
                f"Slices of patient {patient.patient_id}",
                patient.picture,
            )
            for patient in cohort.accepted
            if patient.picture is not None
        ],
        patients=[_patient_page(patient) for patient in cohort.patients],
        provenance=[
            content.Fact("mtl_jax", mtl_jax.__version__),
            *(content.Fact(term, value) for term, value in options.items()),
        ],
    )


def _findings(cohort: inventory.Inventory) -> Iterator[content.Finding]:
    """Refusals and warnings patient by patient, then notes; the heaviest kind first."""
    for patient in cohort.patients:
        patient_id = patient.patient_id
        if patient.refusal:
            yield content.Finding("failure", f"Refused: {patient.refusal}", patient_id)
        for entry in patient.structures:
            for warning in _warnings(entry):
                message = f"{entry.structure}: {warning}"
                yield content.Finding("warning", message, patient_id)
    for kind in cohort.note_counts:
        for patient in cohort.patients:
            for note in patient.notes:
                if note.kind == kind:
                    degree = "warning" if note.is_doubtful else "note"
                    yield content.Finding(degree, note, patient.patient_id)
    if cohort.unused_mapping_names:
        names = ", ".join(cohort.unused_mapping_names)
        message = f"The mapping file has names that no patient has: {names}"
        yield content.Finding("warning", message)


def _warnings(entry: inventory.StructureEntry) -> Iterator[str]:
    if entry.plausible is False and entry.plausible_cc is not None:
        low, high = entry.plausible_cc
        yield f"the volume is {entry.volume_cc:.1f} cm³; expected {low:g} to {high:g}"


def _counts(cohort: inventory.Inventory) -> dict[str, str]:
    accepted = cohort.accepted
    by_split = (
        f"{split} {sum(patient.split == split for patient in accepted)}"
        for split in splits.SPLITS
    )
    with_dose = sum(patient.max_dose_gy is not None for patient in accepted)
    return {
        "patients accepted": ", ".join(by_split),
        "refused": str(len(cohort.patients) - len(accepted)),
        "not named in the CSV of splits": str(cohort.not_in_splits),
        "with a dose": str(with_dose),
    }


def _checks(cohort: inventory.Inventory) -> Iterator[content.Check]:
    accepted = cohort.accepted
    entries = [entry for patient in accepted for entry in patient.structures]
    failures = {
        "every patient can be read": len(cohort.patients) - len(accepted),
        "every patient has a dose": sum(p.max_dose_gy is None for p in accepted),
        "every volume is plausible": sum(e.plausible is False for e in entries),
        "every structure lies inside the dose grid": sum(
            bool(e.fraction_outside_dose) for e in entries
        ),
        "no slice between contours lacks a contour": sum(
            bool(e.missing_slices) for e in entries
        ),
        "every name in the mapping file is the name of an ROI": len(
            cohort.unused_mapping_names
        ),
    }
    for name, count in failures.items():
        detail = f"{count} {'does' if count == 1 else 'do'} not" if count else ""
        yield content.Check(name, not count, detail)


def _names_table(cohort: inventory.Inventory) -> content.Table:
    rows = [
        [name, structure or NONE, str(patients)]
        for (name, structure), patients in cohort.roi_counts.items()
    ]
    return content.Table(
        "ROI names",
        "The structure that each ROI name was assigned to.",
        ["name", "structure", "patients"],
        rows,
    )


def _volumes_table(cohort: inventory.Inventory) -> content.Table:
    rows = []
    for structure in cohort.site.structures:
        entries = [
            entry
            for patient in cohort.accepted
            for entry in patient.structures
            if entry.structure == structure.name
        ]
        volumes = [entry.volume_cc for entry in entries]
        low, high = structure.volume_cc or (None, None)
        rows.append(
            [
                structure.name,
                str(len(volumes)),
                *(
                    f"{value(volumes):.1f}" if volumes else NONE
                    for value in (min, statistics.median, max)
                ),
                NONE if low is None else f"{low:g} to {high:g}",
                str(sum(entry.plausible is False for entry in entries)),
            ]
        )
    headers = ["", "patients", "smallest", "median", "largest", "plausible", "outside"]
    return content.Table(
        "Volumes in cm³",
        "Outside: number of patients whose volume is outside the plausible range.",
        headers,
        rows,
    )


def _patients_table(cohort: inventory.Inventory) -> content.Table:
    rows = []
    for patient in cohort.patients:
        z, y, x = patient.shape or (0, 0, 0)
        dz, dy, dx = patient.spacing_mm or (0, 0, 0)
        outside = [
            entry.fraction_outside_dose
            for entry in patient.structures
            if entry.fraction_outside_dose is not None
        ]
        dose_gy = patient.max_dose_gy
        rows.append(
            [
                patient.patient_id,
                patient.split,
                "refused" if patient.refusal else "accepted",
                str(len(patient.structures)) if patient.shape else NONE,
                f"{z} × {y} × {x}" if patient.shape else NONE,
                f"{dz:.4g} × {dy:.4g} × {dx:.4g}" if patient.shape else NONE,
                NONE if dose_gy is None else f"{dose_gy:.2f}",
                f"{100 * max(outside):.1f}" if outside else NONE,
            ]
        )
    headers = ["", "split", "", "structures", "voxels (z, y, x)", "mm (z, y, x)"]
    headers += ["highest dose, Gy", "outside the dose, %"]
    return content.Table(
        "Patients",
        "Outside the dose: for the structure with the largest part of its volume "
        "outside the dose grid.",
        headers,
        rows,
    )


def _patient_page(patient: inventory.PatientEntry) -> content.PatientPage:
    patient_id = patient.patient_id
    if patient.refusal:
        return content.PatientPage(patient_id, note=f"Refused: {patient.refusal}")
    rows: Sequence[Sequence[str]] = [
        [
            entry.structure,
            entry.roi_name,
            f"{entry.volume_cc:.1f}",
            {True: "yes", False: "no", None: NONE}[entry.plausible],
            _percent(entry.fraction_outside_dose),
            str(entry.missing_slices),
        ]
        for entry in patient.structures
    ]
    headers = ["", "ROI", "cm³", "plausible", "outside the dose, %", "missing slices"]
    table = content.Table(f"Structures of {patient_id}", "", headers, rows)
    return content.PatientPage(patient_id, note="; ".join(patient.notes), scores=table)


def _percent(fraction: float | None) -> str:
    return NONE if fraction is None else f"{100 * fraction:.1f}"
