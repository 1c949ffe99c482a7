"""A patient's prediction beside its reference, on a few slices.

Input: a Patient and its predicted contours and dose. Output: a PNG.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import axes, lines

from mtl_jax.core import errors, records, sites
from mtl_jax.figures import colours, panel_grid, slice_choice, slice_panels

DrawPanel = Callable[[axes.Axes, slice_panels.Slice], None]


def draw(
    path: Path,
    patient: records.Patient,
    *,
    site: sites.Site,
    contours: Mapping[str, np.ndarray] | None,
    dose_gy: np.ndarray | None,
    dice: Mapping[str, float],
    mae_gy: float | None,
    title: str,
    rows: int,
) -> None:
    """Draw a patient's prediction beside its reference, in radiological convention.

    Args:
        path: the PNG to write.
        patient: the reference.
        site: names and colours.
        contours: predicted masks [Z, Y, X] bool by structure; None: not predicted.
        dose_gy: predicted dose [Z, Y, X]; None: not predicted.
        dice: by structure, for the legend; its mean is for the title; may be empty.
        mae_gy: mean absolute error of the dose, shown in the title; None: not shown.
        title: shown above the panels, followed by the scores.
        rows: number of slices.
    """
    with_dose = dose_gy is not None and patient.dose_gy is not None
    if contours is None and not with_dose:
        raise errors.RecordError(
            f"patient {patient.patient_id}: nothing to draw: no contours were "
            "predicted, and a predicted or the reference dose is missing"
        )
    names = tuple(contours) if contours is not None else site.contoured
    slices = slice_panels.cut_slices(
        patient, site, slice_choice.choose_slices(patient, names, rows)
    )
    columns: list[tuple[str, DrawPanel]] = (
        [] if with_dose else [("CT", slice_panels.draw_ct)]
    )
    columns.append(("CT and contours", _contour_panel(patient, names, contours or {})))
    grid = panel_grid.PanelGrid(
        len(slices), 4 if with_dose else 2, slices[0].proportion
    )
    if dose_gy is not None and patient.dose_gy is not None:
        columns += _dose_columns(grid, slices, patient.dose_gy, dose_gy)
    for column, (heading, draw_panel) in enumerate(columns):
        for row, ct_slice in enumerate(slices):
            axis = grid.add_panel(row, column, "" if row else heading)
            draw_panel(axis, ct_slice)
            if column == 0:
                slice_panels.add_orientation(axis, ct_slice, f"slice {ct_slice.z}")
    scores = [title]
    if known := [value for value in dice.values() if not math.isnan(value)]:
        scores.append(f"mean Dice {np.mean(known):.3f}")
    if mae_gy is not None:
        scores.append(f"dose MAE {mae_gy:.2f} Gy")
    handles = _legend(slices[0], names, dice, contours is not None, with_dose)
    grid.save(path, "     ".join(scores), handles)


def _contour_panel(
    patient: records.Patient,
    names: Sequence[str],
    predicted: Mapping[str, np.ndarray],
) -> DrawPanel:
    reference = {n: patient.structures[n] for n in names if n in patient.structures}

    def draw_panel(axis: axes.Axes, ct_slice: slice_panels.Slice) -> None:
        slice_panels.draw_ct(axis, ct_slice)
        slice_panels.draw_contours(axis, ct_slice, reference)
        slice_panels.draw_contours(axis, ct_slice, predicted, style=slice_panels.DASHED)

    return draw_panel


def _dose_columns(
    grid: panel_grid.PanelGrid,
    slices: Sequence[slice_panels.Slice],
    reference_gy: np.ndarray,
    predicted_gy: np.ndarray,
) -> list[tuple[str, DrawPanel]]:
    """Both doses and their difference; adds their colour bars to `grid`."""
    numbers = [ct_slice.z for ct_slice in slices]
    norm = slice_panels.dose_norm([reference_gy[numbers]])
    error_norm = slice_panels.error_norm(
        [predicted_gy[numbers] - reference_gy[numbers]]
    )
    grid.add_bar(1, 2, norm, colours.DOSE_MAP, "dose (Gy)")
    grid.add_bar(3, 3, error_norm, colours.ERROR_MAP, "error (Gy)")

    def error(axis: axes.Axes, ct_slice: slice_panels.Slice) -> None:
        difference = predicted_gy[ct_slice.z] - reference_gy[ct_slice.z]
        slice_panels.draw_error(axis, ct_slice, difference, error_norm)

    def dose(volume_gy: np.ndarray) -> DrawPanel:
        return lambda axis, ct_slice: slice_panels.draw_dose(
            axis, ct_slice, volume_gy[ct_slice.z], norm
        )

    return [
        ("Reference dose", dose(reference_gy)),
        ("Predicted dose", dose(predicted_gy)),
        ("Predicted - reference", error),
    ]


def _legend(
    ct_slice: slice_panels.Slice,
    names: Sequence[str],
    dice: Mapping[str, float],
    predicted: bool,
    targets: bool,
) -> list[lines.Line2D]:
    """Entries for the structures, with their Dice, and for the line styles."""
    handles = []
    for name in names:
        label = f"{name} {dice[name]:.2f}" if name in dice else name
        if name not in ct_slice.patient.structures:
            label = f"{name} (not contoured)"
        handles.append(panel_grid.legend_line(label, color=ct_slice.colour(name), lw=2))
    handles.append(panel_grid.legend_line("reference", color=colours.INK, lw=1.3))
    if predicted:
        style = dict(color=colours.INK, lw=1.3, ls=slice_panels.DASHED)
        handles.append(panel_grid.legend_line("predicted", **style))
    if targets:
        handles.append(panel_grid.legend_line("targets", color="white", lw=0.8))
    return handles
