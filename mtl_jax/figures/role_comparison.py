"""The paper's Figures 2 to 5: all roles, for the best, median and worst patient.

Input: patients with each role's predictions and scores. Output: a PNG of the doses
(Figures 2 and 4) and one of the contours (Figures 3 and 5). The worst patient is shown
where the predictions are worst, others where the structures are seen best.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colors

from mtl_jax.core import body_region, errors, records, sites
from mtl_jax.figures import colours, panel_grid, slice_choice, slice_panels

# Inches.
DOSE_PANEL_WIDTH, CONTOUR_PANEL_WIDTH = 2.1, 2.9
WORST = "worst"


@dataclasses.dataclass(frozen=True)
class Case:
    """One patient of the figure."""

    label: str  # "best", ...
    patient: records.Patient
    # By role, in the order of the columns.
    predictions: Mapping[str, records.PredictedVolumes]
    mae_gy: Mapping[str, float] = dataclasses.field(default_factory=dict)
    # By role and structure.
    dice: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)

    @property
    def title(self) -> str:
        """The rank and the patient, such as "Best: pt_1"."""
        return f"{self.label.capitalize()}: {self.patient.patient_id}"

    def slice_title(self, z: int) -> str:
        """The label of slice `z`, and why it is shown."""
        why = " (largest errors)" if self.label == WORST else ""
        return f"slice {z}{why}"


def choose_cases(
    scores: Mapping[str, float], *, lower_is_better: bool
) -> list[tuple[str, str]]:
    """Return ("best", patient), ("median", ...) and ("worst", ...) by score.

    Patients with a NaN score are left out. One or two patients give as many entries.
    Among equal scores the first in `scores` ranks first.
    """
    sign = 1 if lower_is_better else -1
    known = [patient for patient, score in scores.items() if not math.isnan(score)]
    ranked = sorted(known, key=lambda patient: sign * scores[patient])
    ranks = {"best": 0, "median": (len(ranked) - 1) // 2, WORST: len(ranked) - 1}
    if len(ranked) < 3:
        ranks.pop("median")
    if len(ranked) < 2:
        ranks.pop(WORST)
    return [(label, ranked[rank]) for label, rank in ranks.items() if ranked]


def draw_doses(
    path: Path, cases: Sequence[Case], *, site: sites.Site, title: str
) -> None:
    """Draw the CT, the reference dose, and each role's dose with its error below.

    Args:
        path: the PNG to write.
        cases: patients with a reference dose, from top to bottom; roles without a
            dose are left out.
        site: names and colours.
        title: shown above the panels.
    """
    roles = _roles(cases, "dose")
    targets = tuple(s.name for s in site.structures if s.target_gy is not None)
    slices = [_dose_slice(case, site, targets) for case in cases]
    slices = slice_panels.match_proportions(slices)
    doses = [
        _doses(case, ct_slice.z) for case, ct_slice in zip(cases, slices, strict=True)
    ]
    norm = slice_panels.dose_norm(
        [dose for by_role in doses for dose in by_role.values()]
    )
    error_norm = slice_panels.error_norm(
        [by_role[role] - by_role[""] for by_role in doses for role in by_role if role]
    )
    columns = 2 + len(roles)
    grid = panel_grid.PanelGrid(
        2 * len(cases),
        columns,
        slices[0].proportion,
        panel_width=DOSE_PANEL_WIDTH,
        rows_per_group=2,
    )
    grid.add_bar(0, 1, norm, colours.DOSE_MAP, "dose (Gy)")
    grid.add_bar(
        2, columns - 1, error_norm, colours.ERROR_MAP, "predicted - reference (Gy)"
    )
    for number, (case, ct_slice, by_role) in enumerate(
        zip(cases, slices, doses, strict=True)
    ):
        _draw_dose_rows(
            grid, 2 * number, case, ct_slice, by_role, roles, (norm, error_norm)
        )
    handles = [
        panel_grid.legend_line(name, color=slices[0].colour(name), lw=2)
        for name in site.names
        if any(_is_in(name, ct_slice) for ct_slice in slices)
    ]
    handles.append(panel_grid.legend_line("targets, on doses", color="white", lw=0.8))
    grid.save(path, title, handles)


def _draw_dose_rows(
    grid: panel_grid.PanelGrid,
    row: int,
    case: Case,
    ct_slice: slice_panels.Slice,
    doses: Mapping[str, np.ndarray],
    roles: Sequence[str],
    norms: tuple[colors.Normalize, colors.Normalize],
) -> None:
    """Draw the two rows of a case: doses, and their errors below."""
    norm, error_norm = norms

    def heading(text: str) -> str:
        return "" if row else text

    axis = grid.add_panel(row, 0, heading("CT"))
    slice_panels.draw_ct(axis, ct_slice)
    slice_panels.add_orientation(axis, ct_slice, case.slice_title(ct_slice.z))
    slice_panels.draw_dose(
        grid.add_panel(row, 1, heading("Reference dose")), ct_slice, doses[""], norm
    )
    axis = grid.add_panel(row + 1, 0)
    slice_panels.draw_ct(axis, ct_slice)
    slice_panels.draw_contours(axis, ct_slice, case.patient.structures, width=1.0)
    slice_panels.add_label(axis, (0.03, 0.02, "reference contours"))
    axis = grid.add_panel(row + 1, 1)
    axis.set_facecolor(colours.BACKGROUND)
    slice_panels.add_label(axis, (0.05, 0.95, case.title), size=12)
    if case.mae_gy:
        texts = ["Dose MAE, whole patient", ""]
        texts += [f"{r}  {case.mae_gy[r]:.2f} Gy" for r in roles if r in case.mae_gy]
        slice_panels.add_label(axis, (0.05, 0.80, "\n".join(texts)), size=8.5)
    for column, role in enumerate(roles, 2):
        axis, below = (
            grid.add_panel(row, column, heading(role)),
            grid.add_panel(row + 1, column),
        )
        if role not in doses:
            slice_panels.add_label(axis, (0.05, 0.95, "no prediction"))
            continue
        slice_panels.draw_dose(axis, ct_slice, doses[role], norm)
        slice_panels.draw_error(below, ct_slice, doses[role] - doses[""], error_norm)
        if role in case.mae_gy:
            slice_panels.add_label(
                below, (0.03, 0.02, f"MAE {case.mae_gy[role]:.2f} Gy")
            )


def draw_contours(
    path: Path,
    cases: Sequence[Case],
    *,
    site: sites.Site,
    names: Sequence[str],
    title: str,
    rows: int = 2,
) -> None:
    """Draw the CT, the reference contours, and each role's contours with their Dice.

    Args:
        path: the PNG to write.
        cases: patients, from top to bottom; roles without contours are left out.
        site: names and colours.
        names: the structures to draw.
        title: shown above the panels.
        rows: number of slices per patient; together they show the structures best.
    """
    roles = _roles(cases, "contours")
    slices: list[slice_panels.Slice] = []
    cases_of_slices: list[tuple[Case, bool]] = []  # and whether it is the first slice
    for case in cases:
        numbers = _contour_slices(case, site, names, rows)
        slices += slice_panels.cut_slices(case.patient, site, numbers)
        cases_of_slices += [(case, position == 0) for position in range(len(numbers))]
    slices = slice_panels.match_proportions(slices)
    grid = panel_grid.PanelGrid(
        len(slices),
        2 + len(roles),
        slices[0].proportion,
        panel_width=CONTOUR_PANEL_WIDTH,
        rows_per_group=rows,
    )
    for row, ((case, is_first), ct_slice) in enumerate(
        zip(cases_of_slices, slices, strict=True)
    ):
        _draw_contour_row(grid, row, case, ct_slice, roles, names, is_first)
    handles = [
        panel_grid.legend_line(n, color=slices[0].colour(n), lw=2) for n in names
    ]
    style = dict(color=colours.INK, lw=0.7, ls="dotted")
    handles.append(panel_grid.legend_line("reference, on predictions", **style))
    grid.save(path, title, handles)


def _draw_contour_row(
    grid: panel_grid.PanelGrid,
    row: int,
    case: Case,
    ct_slice: slice_panels.Slice,
    roles: Sequence[str],
    names: Sequence[str],
    with_scores: bool,
) -> None:
    """Draw one slice of a case; `with_scores` adds the case's title and each Dice."""
    headings = ["CT", "Reference", *roles]
    axes = [grid.add_panel(row, i, "" if row else h) for i, h in enumerate(headings)]
    for axis in axes:
        slice_panels.draw_ct(axis, ct_slice)
    slice_panels.add_orientation(axes[0], ct_slice, case.slice_title(ct_slice.z))
    reference = {n: m for n, m in case.patient.structures.items() if n in names}
    slice_panels.draw_contours(axes[1], ct_slice, reference)
    if with_scores:
        slice_panels.add_label(axes[0], (0.1, 0.97, case.title), size=10)
    for axis, role in zip(axes[2:], roles, strict=True):
        masks = case.predictions.get(role, records.PredictedVolumes()).contours
        predicted = {n: m for n, m in masks.items() if n in names}
        slice_panels.draw_contours(axis, ct_slice, reference, width=0.7, style="dotted")
        slice_panels.draw_contours(axis, ct_slice, predicted)
        if with_scores:
            text = _dice_text(names, case.dice.get(role, {}))
            slice_panels.add_label(
                axis, (0.03, 0.97, text if masks else "no prediction")
            )


def _dice_text(names: Sequence[str], dice: Mapping[str, float]) -> str:
    """The mean and each structure's value for the whole patient; a dash for NaN."""
    if not dice:
        return ""
    known = [v for n in names if not math.isnan(v := dice.get(n, math.nan))]
    lines = [f"Dice {np.mean(known):.3f}" if known else "Dice -"]
    for name in names:
        value = dice.get(name, math.nan)
        lines.append(f"{name} {'-' if math.isnan(value) else f'{value:.2f}'}")
    return "\n".join(lines)


def _roles(cases: Sequence[Case], task: str) -> list[str]:
    """The roles that predict `task`, in order of first appearance."""
    roles: dict[str, None] = {}
    for case in cases:
        for role, prediction in case.predictions.items():
            has = {"dose": prediction.dose_gy is not None}
            has["contours"] = bool(prediction.contours)
            if has[task]:
                roles[role] = None
    if not roles:
        raise errors.RecordError(
            f"no {task} to compare: {len(cases)} patients, but no role predicts {task}"
        )
    return list(roles)


def _is_in(name: str, ct_slice: slice_panels.Slice) -> bool:
    """Whether structure `name` has voxels in a slice."""
    mask = ct_slice.patient.structures.get(name)
    return mask is not None and bool(mask[ct_slice.z].any())


def _dose_slice(
    case: Case, site: sites.Site, names: Sequence[str]
) -> slice_panels.Slice:
    """The slice whose doses are shown; errors count where a dose is possible."""
    patient = case.patient
    numbers = slice_choice.choose_slices(patient, names, 1)
    counts = 1 if patient.possible_dose_mask is None else patient.possible_dose_mask
    errors_gy = [
        (np.abs(prediction.dose_gy - patient.dose_gy) * counts).sum((1, 2))
        for prediction in case.predictions.values()
        if prediction.dose_gy is not None and patient.dose_gy is not None
    ]
    if case.label == WORST and errors_gy:
        numbers = slice_choice.worst_slices(np.sum(errors_gy, 0), 1)
    return slice_panels.cut_slices(patient, site, numbers)[0]


def _contour_slices(
    case: Case, site: sites.Site, names: Sequence[str], count: int
) -> list[int]:
    """The slices whose contours are shown; errors count where the CT shows tissue."""
    masks = case.patient.structures
    named = {name: masks[name] for name in names if name in masks}
    wrong = np.zeros(len(case.patient.ct))
    for prediction in case.predictions.values():
        for name in named.keys() & prediction.contours.keys():
            area = (prediction.contours[name] != named[name]).sum((1, 2))
            wrong += area / max(named[name].sum((1, 2)).max(), 1)
    hu = case.patient.ct - np.float32(site.ct_offset_hu)
    wrong *= (hu > body_region.METRICS_HU).any((1, 2))
    if case.label == WORST and wrong.any():
        return slice_choice.worst_slices(wrong, count)
    patient = dataclasses.replace(case.patient, structures=named)
    return slice_choice.choose_slices(patient, names, count)


def _doses(case: Case, z: int) -> dict[str, np.ndarray]:
    """The doses [Y, X] of slice `z` by role; "" is the reference."""
    reference_gy = case.patient.dose_gy
    if reference_gy is None:
        raise errors.RecordError(
            f"patient {case.patient.patient_id} has no dose to compare with: choose "
            "among the patients with a dose"
        )
    return {"": reference_gy[z]} | {
        role: prediction.dose_gy[z]
        for role, prediction in case.predictions.items()
        if prediction.dose_gy is not None
    }
