"""What the report of a cohort says, in one HTML file.

In: a Quality. Out: `cohort.html`.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import mtl_jax
from mtl_jax.cohort import inventory
from mtl_jax.datasets import splits
from mtl_jax.report import content, page

HTML = "cohort.html"
NONE = "–"


def write(found: inventory.Quality, folder: Path, how: Mapping[str, str]) -> Path:
    """Write the report into `folder`; returns its path. `how` it was read."""
    page.write(_study(found, how), folder / HTML)
    return folder / HTML


def text(found: inventory.Quality) -> str:
    """Some lines for the terminal."""
    refused = [member for member in found.members if member.refused]
    lines = [f"patient {one.patient_id} is refused: {one.refused}" for one in refused]
    return "\n".join([*lines, _summary(found)])


def _summary(found: inventory.Quality) -> str:
    taken, total = len(found.taken), len(found.members)
    left = f"; {found.left_out} not named in the CSV of splits" * bool(found.left_out)
    return f"{taken} of {total} patients would be taken, {total - taken} refused{left}."


def _study(found: inventory.Quality, how: Mapping[str, str]) -> content.Report:
    return content.Report(
        title=f"Cohort for the site {found.site.name}",
        site=found.site,
        summary=_summary(found),
        findings=list(_findings(found)),
        cohort=[content.Fact(term, value) for term, value in _counts(found).items()],
        cohort_tables=[_names_table(found), _volumes_table(found)],
        checks=list(_checks(found)),
        tables=[_patients_table(found)],
        pictures=[
            content.Picture(
                one.patient_id,
                "CT with contours, and with the dose and the targets.",
                f"Slices of patient {one.patient_id}",
                one.picture,
            )
            for one in found.taken
            if one.picture is not None
        ],
        patients=[_page(one) for one in found.members],
        provenance=[
            content.Fact("mtl_jax", mtl_jax.__version__),
            *(content.Fact(term, value) for term, value in how.items()),
        ],
    )


def _findings(found: inventory.Quality) -> Iterator[content.Finding]:
    """Refusals, then what is odd, then what was decided on the way."""
    for one in found.members:
        if one.refused:
            yield content.Finding("failure", f"Refused: {one.refused}", one.patient_id)
        for drawn in one.structures:
            for words in _odd(drawn):
                text = f"{drawn.structure}: {words}"
                yield content.Finding("warning", text, one.patient_id)
        if one.shape and one.highest_gy is None:
            yield content.Finding("warning", "No dose", one.patient_id)
        for note in one.notes:
            yield content.Finding("note", note, one.patient_id)
    if found.unheard:
        names = ", ".join(found.unheard)
        yield content.Finding("warning", f"Mapped, but no patient has: {names}")


def _odd(drawn: inventory.Drawn) -> Iterator[str]:
    if drawn.plausible is False and drawn.range_cc is not None:
        low, high = drawn.range_cc
        yield f"{drawn.volume_cc:.1f} cm³, where {low:g} to {high:g} are plausible"
    if drawn.outside_dose:
        yield f"{drawn.outside_dose:.1%} outside the dose grid"
    if drawn.missing_slices:
        yield f"{drawn.missing_slices} slices without a contour between others"


def _counts(found: inventory.Quality) -> dict[str, str]:
    taken = found.taken
    divided = (
        f"{split} {sum(one.split == split for one in taken)}" for split in splits.SPLITS
    )
    return {
        "patients taken": ", ".join(divided),
        "refused": str(len(found.members) - len(taken)),
        "not named in the CSV of splits": str(found.left_out),
        "with a dose": str(sum(one.highest_gy is not None for one in taken)),
    }


def _checks(found: inventory.Quality) -> Iterator[content.Check]:
    drawn = [one for member in found.taken for one in member.structures]
    odd = [one for one in drawn if one.plausible is False]
    outside = [one for one in drawn if one.outside_dose]
    gaps = [one for one in drawn if one.missing_slices]
    refused = len(found.members) - len(found.taken)
    doses = sum(member.highest_gy is None for member in found.taken)
    for name, count in (
        ("every patient can be read", refused),
        ("every patient has a dose", doses),
        ("every volume is plausible", len(odd)),
        ("every structure lies inside the dose grid", len(outside)),
        ("no slice lacks a contour between others", len(gaps)),
        ("every name of the mapping file is some ROI's", len(found.unheard)),
    ):
        yield content.Check(name, not count, f"{count} not" if count else "")


def _names_table(found: inventory.Quality) -> content.Table:
    rows = [
        [name, structure or NONE, str(patients)]
        for (name, structure), patients in found.names.items()
    ]
    return content.Table(
        "ROI names",
        "What ROIs are called, and which structure they were taken for.",
        ["name", "structure", "patients"],
        rows,
    )


def _volumes_table(found: inventory.Quality) -> content.Table:
    rows = []
    for structure in found.site.structures:
        drawn = [
            one
            for member in found.taken
            for one in member.structures
            if one.structure == structure.name
        ]
        volumes = [one.volume_cc for one in drawn]
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
                str(sum(one.plausible is False for one in drawn)),
            ]
        )
    headers = ["", "patients", "smallest", "median", "largest", "plausible", "outside"]
    return content.Table(
        "Volumes in cm³", "Outside: patients whose volume is not plausible.", headers,
        rows,
    )  # fmt: skip


def _patients_table(found: inventory.Quality) -> content.Table:
    rows = []
    for one in found.members:
        z, y, x = one.shape or (0, 0, 0)
        dz, dy, dx = one.spacing_mm or (0, 0, 0)
        outside = [d.outside_dose for d in one.structures if d.outside_dose is not None]
        rows.append(
            [
                one.patient_id,
                one.split,
                "refused" if one.refused else "taken",
                str(len(one.structures)) if one.shape else NONE,
                f"{z} × {y} × {x}" if one.shape else NONE,
                f"{dz:.4g} × {dy:.4g} × {dx:.4g}" if one.shape else NONE,
                NONE if one.highest_gy is None else f"{one.highest_gy:.2f}",
                f"{100 * max(outside):.1f}" if outside else NONE,
            ]
        )
    headers = ["", "split", "", "structures", "voxels (z, y, x)", "mm (z, y, x)"]
    headers += ["highest dose, Gy", "outside the dose, %"]
    return content.Table(
        "Patients", "Outside the dose: of the structure that is so most.", headers, rows
    )


def _page(one: inventory.Member) -> content.PatientPage:
    if one.refused:
        return content.PatientPage(one.patient_id, note=f"Refused: {one.refused}")
    rows: Sequence[Sequence[str]] = [
        [
            drawn.structure,
            drawn.roi,
            f"{drawn.volume_cc:.1f}",
            {True: "yes", False: "no", None: NONE}[drawn.plausible],
            NONE if drawn.outside_dose is None else f"{100 * drawn.outside_dose:.1f}",
            str(drawn.missing_slices),
        ]
        for drawn in one.structures
    ]
    headers = ["", "ROI", "cm³", "plausible", "outside the dose, %", "missing slices"]
    table = content.Table(f"Structures of {one.patient_id}", "", headers, rows)
    return content.PatientPage(one.patient_id, note="; ".join(one.notes), scores=table)
