"""A patient's prediction beside its reference, on a few slices."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import axes, lines

from mtl_jax.core import errors, records, sites
from mtl_jax.figures import colours, sheet, slice_choice, slice_panels

Draw = Callable[[axes.Axes, slice_panels.Slice], None]


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
        path: where the PNG goes.
        patient: the reference.
        site: names and colours.
        contours: predicted masks [Z, Y, X] bool by structure; None: not predicted.
        dose_gy: predicted dose [Z, Y, X]; None: not predicted.
        dice: by structure, for the legend and, as a mean, for the title; may be empty.
        mae_gy: mean absolute error of the dose, for the title; None: left out.
        title: what the picture is of; the scores are put behind it.
        rows: how many slices.
    """
    with_dose = dose_gy is not None and patient.dose_gy is not None
    if contours is None and not with_dose:
        raise errors.RecordError(
            f"patient {patient.patient_id}: nothing to draw: neither contours, nor a "
            "dose with a reference to compare it with"
        )
    names = tuple(contours) if contours is not None else site.contoured
    shown = slice_panels.cut(
        patient, site, slice_choice.choose_slices(patient, names, rows)
    )
    columns: list[tuple[str, Draw]] = [] if with_dose else [("CT", slice_panels.ct)]
    columns.append(("CT and contours", _contours(patient, names, contours or {})))
    page = sheet.Sheet(len(shown), 4 if with_dose else 2, shown[0].proportion)
    if dose_gy is not None and patient.dose_gy is not None:
        columns += _doses(page, shown, patient.dose_gy, dose_gy)
    for column, (heading, draw) in enumerate(columns):
        for row, one in enumerate(shown):
            axis = page.panel(row, column, "" if row else heading)
            draw(axis, one)
            if column == 0:
                slice_panels.orient(axis, one, f"slice {one.z}")
    scores = [title]
    if known := [value for value in dice.values() if not math.isnan(value)]:
        scores.append(f"mean Dice {np.mean(known):.3f}")
    if mae_gy is not None:
        scores.append(f"dose MAE {mae_gy:.2f} Gy")
    handles = _legend(shown[0], names, dice, contours is not None, with_dose)
    page.save(path, "     ".join(scores), handles)


def _contours(
    patient: records.Patient,
    names: Sequence[str],
    predicted: Mapping[str, np.ndarray],
) -> Draw:
    reference = {n: patient.structures[n] for n in names if n in patient.structures}

    def draw(axis: axes.Axes, one: slice_panels.Slice) -> None:
        slice_panels.ct(axis, one)
        slice_panels.contours(axis, one, reference)
        slice_panels.contours(axis, one, predicted, style=slice_panels.DASHED)

    return draw


def _doses(
    page: sheet.Sheet,
    shown: Sequence[slice_panels.Slice],
    reference_gy: np.ndarray,
    predicted_gy: np.ndarray,
) -> list[tuple[str, Draw]]:
    """Both doses on one scale, their difference, and the bars below."""
    at = [one.z for one in shown]
    norm = slice_panels.dose_norm([reference_gy[at]])
    error_norm = slice_panels.error_norm([predicted_gy[at] - reference_gy[at]])
    page.bar(1, 2, norm, colours.DOSE_MAP, "dose (Gy)")
    page.bar(3, 3, error_norm, colours.ERROR_MAP, "error (Gy)")

    def error(axis: axes.Axes, one: slice_panels.Slice) -> None:
        difference = predicted_gy[one.z] - reference_gy[one.z]
        slice_panels.error(axis, one, difference, error_norm)

    def dose(volume_gy: np.ndarray) -> Draw:
        return lambda axis, one: slice_panels.dose(axis, one, volume_gy[one.z], norm)

    return [
        ("Reference dose", dose(reference_gy)),
        ("Predicted dose", dose(predicted_gy)),
        ("Predicted - reference", error),
    ]


def _legend(
    one: slice_panels.Slice,
    names: Sequence[str],
    dice: Mapping[str, float],
    predicted: bool,
    targets: bool,
) -> list[lines.Line2D]:
    """Structures by colour, with their Dice; lines by style."""
    handles = []
    for name in names:
        label = f"{name} {dice[name]:.2f}" if name in dice else name
        if name not in one.patient.structures:
            label = f"{name} (not contoured)"
        handles.append(sheet.line(label, color=one.colour(name), lw=2))
    handles.append(sheet.line("reference", color=colours.INK, lw=1.3))
    if predicted:
        style = dict(color=colours.INK, lw=1.3, ls=slice_panels.DASHED)
        handles.append(sheet.line("predicted", **style))
    if targets:
        handles.append(sheet.line("targets", color="white", lw=0.8))
    return handles
