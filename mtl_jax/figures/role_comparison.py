"""The paper's Figures 2 to 5: roles beside each other, for the best, median and worst.

Goes in: patients with what each role predicts, and scores. Comes out: a PNG each for
doses (Figures 2 and 4) and for contours (Figures 3 and 5).
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colors

from mtl_jax.core import errors, records, sites
from mtl_jax.figures import colours, sheet, slice_choice, slice_panels

# Inches: a panel's width.
DOSE_PANEL, CONTOUR_PANEL = 2.1, 2.9


@dataclasses.dataclass(frozen=True)
class Case:
    """A patient of a comparison: one line of the figure."""

    label: str  # "best", ...
    patient: records.Patient
    predictions: Mapping[
        str, records.PredictedVolumes
    ]  # by role, in the order of the columns
    mae_gy: Mapping[str, float] = dataclasses.field(default_factory=dict)
    # By role and structure.
    dice: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)

    @property
    def title(self) -> str:
        """Which patient, and why."""
        return f"{self.label.capitalize()}: {self.patient.patient_id}"


def choose_cases(
    scores: Mapping[str, float], *, lower_is_better: bool
) -> list[tuple[str, str]]:
    """("best", patient), ("median", ...), ("worst", ...), of patients with a score.

    Fewer where there are fewer than three patients; of ties the first in `scores`.
    """
    sign = 1 if lower_is_better else -1
    known = [patient for patient, score in scores.items() if not math.isnan(score)]
    ranked = sorted(known, key=lambda patient: sign * scores[patient])
    places = {"best": 0, "median": (len(ranked) - 1) // 2, "worst": len(ranked) - 1}
    if len(ranked) < 3:
        places.pop("median")
    if len(ranked) < 2:
        places.pop("worst")
    return [(label, ranked[place]) for label, place in places.items() if ranked]


def draw_doses(
    path: Path, cases: Sequence[Case], *, site: sites.Site, title: str
) -> None:
    """Draw CT, reference dose, each role's dose and, below it, its error.

    Args:
        path: where the PNG goes.
        cases: patients with a reference dose, from above; roles without a dose are
            left out.
        site: names and colours.
        title: what the picture is of.
    """
    roles = _roles(cases, "dose")
    targets = tuple(s.name for s in site.structures if s.target_gy is not None)
    at = [_slice(case.patient, site, targets) for case in cases]
    at = slice_panels.in_same_proportions(at)
    doses = [_doses(case, one.z) for case, one in zip(cases, at, strict=True)]
    norm = slice_panels.dose_norm([dose for mine in doses for dose in mine.values()])
    error_norm = slice_panels.error_norm(
        [mine[role] - mine[""] for mine in doses for role in mine if role]
    )
    columns = 2 + len(roles)
    page = sheet.Sheet(
        2 * len(cases), columns, at[0].proportion, panel=DOSE_PANEL, group=2
    )
    page.bar(0, 1, norm, colours.DOSE_MAP, "dose (Gy)")
    page.bar(
        2, columns - 1, error_norm, colours.ERROR_MAP, "predicted - reference (Gy)"
    )
    for number, (case, one, mine) in enumerate(zip(cases, at, doses, strict=True)):
        _dose_rows(page, 2 * number, case, one, mine, roles, (norm, error_norm))
    handles = [
        sheet.line(name, color=at[0].colour(name), lw=2)
        for name in site.names
        if any(name in case.patient.structures for case in cases)
    ]
    handles.append(sheet.line("targets, on doses", color="white", lw=0.8))
    page.save(path, title, handles)


def _dose_rows(
    page: sheet.Sheet,
    row: int,
    case: Case,
    one: slice_panels.Slice,
    doses: Mapping[str, np.ndarray],
    roles: Sequence[str],
    norms: tuple[colors.Normalize, colors.Normalize],
) -> None:
    """The two lines of a case: doses, and below them the errors."""
    norm, error_norm = norms

    def heading(text: str) -> str:
        return "" if row else text

    axis = page.panel(row, 0, heading("CT"))
    slice_panels.ct(axis, one)
    slice_panels.orient(axis, one, f"slice {one.z}")
    slice_panels.dose(
        page.panel(row, 1, heading("Reference dose")), one, doses[""], norm
    )
    axis = page.panel(row + 1, 0)
    slice_panels.ct(axis, one)
    slice_panels.contours(axis, one, case.patient.structures, width=1.0)
    slice_panels.label(axis, (0.03, 0.02, "reference contours"))
    axis = page.panel(row + 1, 1)
    axis.set_facecolor(colours.BACKGROUND)
    slice_panels.label(axis, (0.05, 0.95, case.title), size=12)
    if case.mae_gy:
        texts = ["Dose MAE, whole patient", ""]
        texts += [f"{r}  {case.mae_gy[r]:.2f} Gy" for r in roles if r in case.mae_gy]
        slice_panels.label(axis, (0.05, 0.80, "\n".join(texts)), size=8.5)
    for column, role in enumerate(roles, 2):
        axis, below = (
            page.panel(row, column, heading(role)),
            page.panel(row + 1, column),
        )
        if role not in doses:
            slice_panels.label(axis, (0.05, 0.95, "no prediction"))
            continue
        slice_panels.dose(axis, one, doses[role], norm)
        slice_panels.error(below, one, doses[role] - doses[""], error_norm)
        if role in case.mae_gy:
            slice_panels.label(below, (0.03, 0.02, f"MAE {case.mae_gy[role]:.2f} Gy"))


def draw_contours(
    path: Path,
    cases: Sequence[Case],
    *,
    site: sites.Site,
    names: Sequence[str],
    title: str,
    rows: int = 2,
) -> None:
    """Draw CT, reference contours, and each role's contours with their Dice.

    Args:
        path: where the PNG goes.
        cases: patients, from above; roles without contours are left out.
        site: names and colours.
        names: the structures that are drawn.
        title: what the picture is of.
        rows: how many slices of each patient; together they show the structures best.
    """
    roles = _roles(cases, "contours")
    at, of = [], []
    for case in cases:
        masks = case.patient.structures
        only = {name: masks[name] for name in names if name in masks}
        seen = dataclasses.replace(case.patient, structures=only)
        chosen = slice_choice.choose_slices(seen, names, rows)
        at += slice_panels.cut(case.patient, site, chosen)
        of += [(case, number == 0) for number in range(len(chosen))]
    at = slice_panels.in_same_proportions(at)
    page = sheet.Sheet(
        len(at), 2 + len(roles), at[0].proportion, panel=CONTOUR_PANEL, group=rows
    )
    for row, ((case, first), one) in enumerate(zip(of, at, strict=True)):
        headings = ["CT", "Reference", *roles]
        axes = [page.panel(row, i, "" if row else h) for i, h in enumerate(headings)]
        for axis in axes:
            slice_panels.ct(axis, one)
        slice_panels.orient(axes[0], one, f"slice {one.z}")
        reference = {n: m for n, m in case.patient.structures.items() if n in names}
        slice_panels.contours(axes[1], one, reference)
        if first:
            slice_panels.label(axes[0], (0.1, 0.97, case.title), size=10)
        for axis, role in zip(axes[2:], roles, strict=True):
            masks = case.predictions.get(role, records.PredictedVolumes()).contours
            predicted = {n: m for n, m in masks.items() if n in names}
            slice_panels.contours(axis, one, reference, width=0.7, style="dotted")
            slice_panels.contours(axis, one, predicted)
            if first:
                text = _dice_text(names, case.dice.get(role, {}))
                slice_panels.label(
                    axis, (0.03, 0.97, text if masks else "no prediction")
                )
    handles = [sheet.line(n, color=at[0].colour(n), lw=2) for n in names]
    style = dict(color=colours.INK, lw=0.7, ls="dotted")
    handles.append(sheet.line("reference, on predictions", **style))
    page.save(path, title, handles)


def _dice_text(names: Sequence[str], dice: Mapping[str, float]) -> str:
    """Mean and single values, of the whole patient; a dash where there is none."""
    if not dice:
        return ""
    known = [v for n in names if not math.isnan(v := dice.get(n, math.nan))]
    lines = [f"Dice {np.mean(known):.3f}" if known else "Dice -"]
    for name in names:
        value = dice.get(name, math.nan)
        lines.append(f"{name} {'-' if math.isnan(value) else f'{value:.2f}'}")
    return "\n".join(lines)


def _roles(cases: Sequence[Case], task: str) -> list[str]:
    """The roles that predict `task`, in the order of the first case that has them."""
    roles: dict[str, None] = {}
    for case in cases:
        for role, prediction in case.predictions.items():
            has = {"dose": prediction.dose_gy is not None}
            has["contours"] = bool(prediction.contours)
            if has[task]:
                roles[role] = None
    if not roles:
        raise errors.RecordError(
            f"no {task} to compare: {len(cases)} patients, and no role predicts them"
        )
    return list(roles)


def _slice(
    patient: records.Patient, site: sites.Site, names: Sequence[str]
) -> slice_panels.Slice:
    return slice_panels.cut(
        patient, site, slice_choice.choose_slices(patient, names, 1)
    )[0]


def _doses(case: Case, z: int) -> dict[str, np.ndarray]:
    """The slice's doses [Y, X] by role; "" is the reference."""
    reference_gy = case.patient.dose_gy
    if reference_gy is None:
        raise errors.RecordError(
            f"patient {case.patient.patient_id} has no dose to compare with: choose "
            "among the patients with a plan"
        )
    return {"": reference_gy[z]} | {
        role: prediction.dose_gy[z]
        for role, prediction in case.predictions.items()
        if prediction.dose_gy is not None
    }
