"""The patients' pages of a report: slice viewer, histogram, scores.

The markup stands here whole, with its labels; report.js only fills and moves it.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mtl_jax.core import sites
from mtl_jax.figures import colours, slice_panels
from mtl_jax.report import content, markup, sections, slice_viewer

# Gy between the doses at which a histogram is stored.
DVH_STEP_GY = 0.25
# Percent of the prescription.
ERROR_SCALES_GY = (5, 10, 20, 40)
ISODOSES = (107, 100, 95, 80, 50, 30)
PANELS = ("Reference", "Predicted", "Difference")


def page_ids(patients: Sequence[content.PatientPage]) -> dict[str, str]:
    """The id of each patient's page."""
    ids: dict[str, str] = {}
    for number, page in enumerate(patients, 1):
        name = markup.identifier("patient", page.patient_id)
        ids[page.patient_id] = f"{name}-{number}" if name in ids.values() else name
    return ids


def section(study: content.Study, pages: Mapping[str, str]) -> str:
    """All patients, with the controls that they share before them."""
    if not study.patients:
        return sections.section("patients", "Patients", "<p>No patients given.</p>\n")
    roles = roles_of(study.patients)
    moving = any(page.slices or page.histograms for page in study.patients)
    body = _controls(study.site, roles, _first(study.patients)) if moving else ""
    body += "".join(
        _patient(page, number, pages[page.patient_id])
        for number, page in enumerate(study.patients, 1)
    )
    return sections.section("patients", "Patients", body)


def roles_of(patients: Sequence[content.PatientPage]) -> list[str]:
    """All roles of which something can be shown, in order of appearance."""
    roles: dict[str, None] = {}
    for page in patients:
        if page.slices is not None:
            header = page.slices.header
            roles |= dict.fromkeys(header["doses"])
            roles |= dict.fromkeys(role for role, _ in header["contours"])
        roles |= dict.fromkeys(page.histograms)
    return [role for role in roles if role]


def _first(patients: Sequence[content.PatientPage]) -> str:
    """The role that is shown first: the last one with a dose."""
    roles = [""]
    for page in patients:
        roles += page.slices.header["doses"] if page.slices else page.histograms
    return roles[-1]


def settings(site: sites.Site) -> dict[str, Any]:
    """What report.js has to know of the site, and the colours."""

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
        "isodoses": list(ISODOSES),
        "hu": np.rint(slice_viewer.HU_CODES).astype(int).tolist(),
        "doseMap": packed(colours.DOSE_MAP),
        "errorMap": packed(colours.ERROR_MAP),
    }


def _controls(site: sites.Site, roles: Sequence[str], first: str) -> str:
    """What all viewers show; one for all, so that patients can be compared."""

    def choice(
        name: str, label: str, options: Sequence[tuple[str, str]], chosen: str = ""
    ) -> str:
        inner = "".join(
            f'<option value="{markup.text(value)}"'
            f"{' selected' if value == chosen else ''}>{markup.text(shown)}</option>"
            for value, shown in options
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
        '<form class="controls" aria-label="What the viewers show" autocomplete="off">'
        '<div class="choices">'
        + choice("role", "Prediction", named or [("", "none")], first)
        + choice("layer", "Dose", [("wash", "colour wash"), ("lines", "isodose lines"),
                                   ("off", "off")])
        + choice("plane", "Plane", [("axial", "axial"), ("coronal", "coronal"),
                                    ("sagittal", "sagittal")])
        + choice("zoom", "Zoom", [("fit", "to the slice"), ("whole", "whole")])
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


def _viewer(given: slice_viewer.Viewer, number: int, title: str) -> str:
    panels = "".join(
        f'<div class="panel"><h4>{panel}</h4>'
        f'<canvas role="img" aria-label="{panel}, {title}" width="300" height="240">'
        "</canvas></div>"
        for panel in PANELS
    )
    last = given.header["shape"][0] - 1
    return (
        f'<div class="viewer" role="group" aria-label="Slices of {title}">'
        f'<div class="panels">{panels}</div>'
        f'<canvas class="strip" role="img" aria-label="Mean dose error by slice" '
        'width="900" height="36"></canvas>'
        f'<div class="slider"><label for="slice-{number}">Slice</label>'
        f'<input type="range" id="slice-{number}" min="0" max="{last}" step="1" '
        f'value="{given.header["start"]}">'
        f'<output for="slice-{number}"></output>'
        '<button type="button" class="worst">Largest error</button></div>'
        '<p class="pointer" aria-hidden="true"></p>'
        '<p class="trouble" role="alert"></p>'
        f'<script type="application/json">{markup.embedded_json(given.header)}</script>'
        f'<script type="text/plain">{given.data}</script></div>\n'
    )


def _histogram(
    histograms: Mapping[str, Mapping[str, content.Curve]], number: int, title: str
) -> str:
    packed = markup.embedded_json(_packed_curves(histograms))
    return (
        '<div class="histogram" role="group" '
        f'aria-label="Dose-volume histogram of {title}">'
        '<div class="plot"></div><div class="reading">'
        f'<label for="dose-{number}">Read at</label>'
        f'<input type="range" id="dose-{number}" min="0" step="0.5" value="20">'
        f'<output for="dose-{number}"></output><table><caption>Volume (%) that gets at '
        'least this dose</caption><thead><tr><th scope="col">Structure</th>'
        '<th scope="col">Reference</th><th scope="col">Predicted</th>'
        '<th scope="col">Difference</th></tr></thead><tbody></tbody></table></div>'
        f'<script type="application/json">{packed}</script></div>\n'
    )


def _packed_curves(
    histograms: Mapping[str, Mapping[str, content.Curve]],
) -> dict[str, Any]:
    """Volumes in tenths of a percent, at doses 0, 0.25, 0.5, ... Gy."""
    highest = max(
        float(dose[np.flatnonzero(volume > 0)].max(initial=0))
        for curves in histograms.values()
        for dose, volume in curves.values()
    )
    top = 5 * math.ceil((highest + 1) / 5)
    doses = np.arange(0, top + DVH_STEP_GY / 2, DVH_STEP_GY)
    curves = {
        role: {
            name: np.rint(10 * np.interp(doses, dose, volume, right=0))
            .astype(int).tolist()
            for name, (dose, volume) in mine.items()
        }
        for role, mine in histograms.items()
    }  # fmt: skip
    return {"step": DVH_STEP_GY, "top": top, "curves": curves}
