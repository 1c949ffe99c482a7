"""What is reported of a structure's predicted contours.

Goes in: the predicted and the reference mask on the CT's own grid. Comes out: the
values that a template asks for, each with a note where there is something to say.
"""

import math
from collections.abc import Sequence

import numpy as np

from mtl_jax.core import geometry, metric_names, reported_metrics
from mtl_jax.metrics import surface

NOT_CONTOURED = "not contoured"
BOTH_EMPTY = "empty in reference and prediction"
MISSED = "missed"
FALSE_POSITIVE = "false positive"

# What perfect agreement gives, by unit: shares are 1, distances 0.
_PERFECT = {"1": 1.0, "mm": 0.0, "px": 0.0}


def score(
    structure: str,
    predicted: np.ndarray,
    reference: np.ndarray | None,
    grid: geometry.Grid,
    names: Sequence[str],
) -> list[reported_metrics.Value]:
    """The metrics called `names` of one structure's masks [Z, Y, X].

    A reference of None is not contoured: NaN. Drawn in one of the two only: Dice 0 and
    distances equal to the diagonal of the image (of a slice, for slices).

    Raises:
        GeometryError: the masks have different shapes.
    """
    metrics = [metric_names.parse(name, "contours") for name in names]
    if reference is None:
        return [_value(structure, m, math.nan, NOT_CONTOURED) for m in metrics]
    agreement = surface.compare(predicted, reference, grid.spacing_mm)
    note = _note(agreement)
    values = []
    for metric in metrics:
        if metric.kind == "hd100_volumes":
            value = surface.compare_volumes(predicted, reference, grid.spacing_mm)
            values.append(_value(structure, metric, value, note))
        elif metric.kind == "hd100_slices":
            slices = surface.compare_slices(predicted, reference)
            remark = note or _slices_note(slices)
            values.append(_value(structure, metric, slices.mean_px, remark))
        else:
            values.append(_value(structure, metric, _read(agreement, metric), note))
    return values


def _read(agreement: surface.Agreement, metric: metric_names.Metric) -> float:
    match metric.kind:
        case "dice":
            return agreement.dice
        case "hd100":
            return agreement.hd100
        case "hd95":
            return agreement.hd95
        case "surface_dice":
            return agreement.surface_dice(metric.amount)
    raise AssertionError(f"no rule for {metric.kind}")


def _note(agreement: surface.Agreement) -> str:
    drawn, there = agreement.from_predicted.size, agreement.from_reference.size
    if drawn and there:
        return ""
    if not drawn and not there:
        return BOTH_EMPTY
    return MISSED if there else FALSE_POSITIVE


def _slices_note(slices: surface.SliceAgreement) -> str:
    if not slices.one_only:
        return ""
    note = f"{slices.one_only} of {slices.both + slices.one_only} slices drawn in one"
    if slices.both:
        note += f"; {slices.both_mean_px:.2f} px over the others"
    return note


def _value(
    structure: str, metric: metric_names.Metric, value: float, note: str
) -> reported_metrics.Value:
    perfect = math.nan if note == NOT_CONTOURED else _PERFECT[metric.unit]
    error = abs(value - perfect)
    return reported_metrics.Value(
        structure, metric.name, metric.unit, perfect, value, error, note
    )
