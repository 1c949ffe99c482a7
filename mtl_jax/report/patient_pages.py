"""The patients' pages of a report as HTML: slice viewer, histogram and scores.

All markup and labels are here; the scripts only draw into it and update it.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mtl_jax.core import sites
from mtl_jax.figures import colours, slice_panels
from mtl_jax.report import content, markup, packed_volumes, sections

# Distance in Gy between the stored points of a histogram.
DVH_STEP_GY = 0.25
ERROR_SCALES_GY = (5, 10, 20, 40)
ISODOSES_PERCENT = (107, 100, 95, 80, 50, 30)  # of the prescription
PANELS = ("Reference", "Predicted", "Difference")


def page_ids(patients: Sequence[content.PatientPage]) -> dict[str, str]:
    """The id of each patient's page."""
    ids: dict[str, str] = {}
    for number, page in enumerate(patients, 1):
        name = markup.identifier("patient", page.patient_id)
        ids[page.patient_id] = f"{name}-{number}" if name in ids.values() else name
    return ids


def section(report: content.Report, pages: Mapping[str, str]) -> str:
    """The section of patients, after the controls that they share."""
    if not report.patients:
        return sections.section("patients", "Patients", "<p>No patients.</p>\n")
    roles = roles_of(report.patients)
    interactive = any(page.slices or page.histograms for page in report.patients)
    body = (
        _controls(report.site, roles, _default_role(report.patients))
        if interactive
        else ""
    )
    body += "".join(
        _patient(page, number, pages[page.patient_id])
        for number, page in enumerate(report.patients, 1)
    )
    return sections.section("patients", "Patients", body)


def roles_of(patients: Sequence[content.PatientPage]) -> list[str]:
    """All roles with a dose, contours or histograms, in order of appearance."""
    roles: dict[str, None] = {}
    for page in patients:
        if page.slices is not None:
            header = page.slices.header
            roles |= dict.fromkeys(header["doses"])
            roles |= dict.fromkeys(role for role, _ in header["contours"])
        roles |= dict.fromkeys(page.histograms)
    return [role for role in roles if role]


def _default_role(patients: Sequence[content.PatientPage]) -> str:
    """The role that is selected at first: the last one with a dose."""
    roles = [""]
    for page in patients:
        roles += page.slices.header["doses"] if page.slices else page.histograms
    return roles[-1]


def settings(site: sites.Site) -> dict[str, Any]:
    """The site's data and the colours that the scripts need."""

    def packed(name: str) -> str:
        return base64.b64encode(colours.colour_table(name).tobytes()).decode()

    return {
        "structures": [
            {
                "name": structure.name,
                "colour": list(structure.colour),
                "onWhite": [round(255 * c) for c in colours.on_white(structure.colour)],
                "target": structure.target_gy is not None,
            }
            for structure in site.structures
        ],
        "prescription": site.prescription_gy,
        "faint": slice_panels.FAINT_DOSE * site.prescription_gy,
        "top": 5 * math.ceil(1.1 * site.prescription_gy / 5),
        "isodoses": list(ISODOSES_PERCENT),
        "hu": np.rint(packed_volumes.HU_CODES).astype(int).tolist(),
        "doseMap": packed(colours.DOSE_MAP),
        "errorMap": packed(colours.ERROR_MAP),
    }


def _controls(site: sites.Site, roles: Sequence[str], default_role: str) -> str:
    """The controls; all viewers share them, so patients can be compared."""

    def choice(
        name: str, label: str, options: Sequence[tuple[str, str]], chosen: str = ""
    ) -> str:
        inner = "".join(
            f'<option value="{markup.text(value)}"'
            f"{' selected' if value == chosen else ''}>{markup.text(text)}</option>"
            for value, text in options
        )
        return (
            f'<div><label for="{name}">{label}</label>'
            f'<select id="{name}">{inner}</select></div>'
        )

    named = [(role, role) for role in roles]
    scales = [(str(gray), f"± {gray} Gy") for gray in ERROR_SCALES_GY]
    structures = "".join(
        f'<label class="chip" style="--dark:rgb{structure.colour};'
        f'--light:{_css(colours.on_white(structure.colour))}">'
        '<input type="checkbox" name="structure" checked '
        f'value="{markup.text(structure.name)}">'
        f"<span>{markup.text(structure.name)}</span></label>"
        for structure in site.structures
    )
    return (
        '<form class="controls" aria-label="Viewer settings" autocomplete="off">'
        '<div class="choices">'
        + choice("role", "Prediction", named or [("", "none")], default_role)
        + choice("layer", "Dose", [("wash", "colour wash"), ("lines", "isodose lines"),
                                   ("off", "off")])
        + choice("plane", "Plane", [("axial", "axial"), ("coronal", "coronal"),
                                    ("sagittal", "sagittal")])
        + choice("zoom", "Zoom", [("fit", "fit to patient"), ("whole", "whole slice")])
        + choice("window", "CT window", [("soft", "soft tissue"), ("bone", "bone"),
                                         ("lung", "lung"), ("all", "all")])
        + choice("limit", "Error scale", scales, "20")
        + '<div><label for="opacity">Opacity</label><input type="range" id="opacity" '
        'min="0" max="100" step="5" value="60"></div>'
        '<div class="bars"><div class="bar" id="dose-bar"></div>'
        '<div class="bar" id="error-bar"></div></div></div>'
        f'<fieldset><legend>Structures</legend>{structures}'
        '<button type="button" data-structures="all">All</button>'
        '<button type="button" data-structures="none">None</button></fieldset></form>\n'
    )  # fmt: skip


def _css(colour: tuple[float, float, float]) -> str:
    return f"rgb({', '.join(str(round(255 * channel)) for channel in colour)})"


def _patient(page: content.PatientPage, number: int, name: str) -> str:
    title = markup.text(page.patient_id)
    parts = [f"<h3 id='{name}-title'>{title}</h3>\n".replace("'", '"')]
    if page.note:
        parts.append(f"<p>{markup.text(page.note)}</p>\n")
    if page.slices is not None:
        parts.append(_viewer(page.slices, number, title))
    if page.histograms:
        parts.append(_histogram(page.histograms, number, title))
    if page.scores is not None:
        parts.append(
            f"<details><summary>Scores of {title}</summary>"
            f"{markup.table(page.scores)}</details>\n"
        )
    return (
        f'<section class="patient" id="{name}" aria-labelledby="{name}-title">\n'
        f"{''.join(parts)}</section>\n"
    )


def _viewer(volumes: packed_volumes.PackedVolumes, number: int, title: str) -> str:
    panels = "".join(
        f'<div class="panel"><h4>{panel}</h4>'
        f'<canvas role="img" aria-label="{panel}, {title}" width="300" height="240">'
        "</canvas></div>"
        for panel in PANELS
    )
    last = volumes.header["shape"][0] - 1
    header = markup.embedded_json(volumes.header)
    return (
        f'<div class="viewer" role="group" aria-label="Slices of {title}">'
        f'<div class="panels">{panels}</div>'
        f'<canvas class="strip" role="img" aria-label="Mean dose error by slice" '
        'width="900" height="36"></canvas>'
        f'<div class="slider"><label for="slice-{number}">Slice</label>'
        f'<input type="range" id="slice-{number}" min="0" max="{last}" step="1" '
        f'value="{volumes.header["start"]}">'
        f'<output for="slice-{number}"></output>'
        '<button type="button" class="worst">Largest error</button></div>'
        '<p class="pointer" aria-hidden="true"></p>'
        '<p class="error-message" role="alert"></p>'
        f'<script type="application/json">{header}</script>'
        f'<script type="text/plain">{volumes.data}</script></div>\n'
    )


def _histogram(
    histograms: Mapping[str, Mapping[str, content.Curve]], number: int, title: str
) -> str:
    packed = markup.embedded_json(_packed_curves(histograms))
    return (
        '<div class="histogram" role="group" '
        f'aria-label="Dose-volume histogram of {title}">'
        '<div class="plot"></div><div class="reading">'
        f'<label for="dose-{number}">Dose</label>'
        f'<input type="range" id="dose-{number}" min="0" step="0.5" value="20">'
        f'<output for="dose-{number}"></output><table><caption>Volume (%) receiving at '
        'least this dose</caption><thead><tr><th scope="col">Structure</th>'
        '<th scope="col">Reference</th><th scope="col">Predicted</th>'
        '<th scope="col">Difference</th></tr></thead><tbody></tbody></table></div>'
        f'<script type="application/json">{packed}</script></div>\n'
    )


def _packed_curves(
    histograms: Mapping[str, Mapping[str, content.Curve]],
) -> dict[str, Any]:
    """Volumes in tenths of a percent, at doses 0, 0.25, 0.5, ... Gy."""
    maximum_gy = max(
        float(dose[np.flatnonzero(volume > 0)].max(initial=0))
        for curves in histograms.values()
        for dose, volume in curves.values()
    )
    top = 5 * math.ceil((maximum_gy + 1) / 5)
    doses = np.arange(0, top + DVH_STEP_GY / 2, DVH_STEP_GY)
    curves = {
        role: {
            name: np.rint(10 * np.interp(doses, dose, volume, right=0))
            .astype(int).tolist()
            for name, (dose, volume) in by_structure.items()
        }
        for role, by_structure in histograms.items()
    }  # fmt: skip
    return {"step": DVH_STEP_GY, "top": top, "curves": curves}
