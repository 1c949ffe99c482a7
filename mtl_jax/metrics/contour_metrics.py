"""Metrics of a structure's predicted contours.

Input: the predicted and the reference mask [Z, Y, X] on the CT's own grid. Output: the
values that a template lists, with a note where a value needs one. A metric is a row of
`core/metric_names.FORMS` and a rule in `RULES` under the same key.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import numpy as np

from mtl_jax.core import geometry, metric_names, reported_metrics
from mtl_jax.metrics import surface

NOT_CONTOURED = "not contoured"
BOTH_EMPTY = "empty in reference and prediction"
MISSED = "missed"
FALSE_POSITIVE = "false positive"


@dataclasses.dataclass(frozen=True)
class Masks:
    """The predicted and the reference mask [Z, Y, X], bool, on one grid."""

    predicted: np.ndarray
    reference: np.ndarray
    grid: geometry.Grid

    def __post_init__(self) -> None:
        surface.check_shapes(self.predicted, self.reference)

    @functools.cached_property
    def agreement(self) -> surface.Agreement:
        """The distances between the borders, computed once."""
        return surface.compare(self.predicted, self.reference, self.grid.spacing_mm)

    @functools.cached_property
    def slices(self) -> surface.SliceAgreement:
        """The same slice by slice, in pixels."""
        return surface.compare_slices(self.predicted, self.reference)

    @property
    def empty(self) -> str:
        """A note on which of the two masks is empty; "" if neither is."""
        predicted, reference = self.predicted.any(), self.reference.any()
        if predicted and reference:
            return ""
        if not predicted and not reference:
            return BOTH_EMPTY
        return MISSED if reference else FALSE_POSITIVE


def _hd100_volumes(masks: Masks, _: float) -> float:
    return surface.compare_volumes(
        masks.predicted, masks.reference, masks.grid.spacing_mm
    )


# By kind: the masks and the number in the metric's name give its value.
RULES: dict[str, Callable[[Masks, float], float]] = {
    "dice": lambda masks, _: surface.dice(masks.predicted, masks.reference),
    "hd100": lambda masks, _: masks.agreement.hd100,
    "hd95": lambda masks, _: masks.agreement.hd95,
    "hd100_volumes": _hd100_volumes,
    "surface_dice": lambda masks, mm: masks.agreement.surface_dice(mm),
    "hd100_slices": lambda masks, _: masks.slices.mean_px,
}


def _slices_note(masks: Masks) -> str:
    slices = masks.slices
    if not slices.one_only:
        return ""
    note = f"{slices.one_only} of {slices.both + slices.one_only} slices drawn in one"
    if slices.both:
        note += f"; {slices.both_mean_px:.2f} px over the others"
    return note


# By kind: a remark on the value, if neither mask is empty.
NOTES: dict[str, Callable[[Masks], str]] = {"hd100_slices": _slices_note}


def score(
    structure: str,
    predicted: np.ndarray,
    reference: np.ndarray | None,
    grid: geometry.Grid,
    names: Sequence[str],
) -> list[reported_metrics.Value]:
    """The metrics called `names` of one structure's masks [Z, Y, X], bool.

    A reference of None is not contoured: NaN. If one mask is empty, Dice is 0 and a
    distance is the diagonal of the image (of a slice, for `hd100_slices`).

    Raises:
        ConfigError: a name is not one of a contour metric.
        GeometryError: the masks have different shapes.
    """
    metrics = [metric_names.parse(name, "contours") for name in names]
    if reference is None:
        return [_value(structure, m, math.nan, NOT_CONTOURED) for m in metrics]
    masks = Masks(predicted, reference, grid)
    empty = masks.empty
    values = []
    for metric in metrics:
        value = RULES[metric.kind](masks, metric.amount)
        note = empty
        if not note and metric.kind in NOTES:
            note = NOTES[metric.kind](masks)
        values.append(_value(structure, metric, value, note))
    return values


def _value(
    structure: str, metric: metric_names.Metric, value: float, note: str
) -> reported_metrics.Value:
    perfect = 1.0 if metric.form.higher_is_better else 0.0
    if note == NOT_CONTOURED:
        perfect = math.nan
    error = abs(value - perfect)
    return reported_metrics.Value(
        structure, metric.name, metric.unit, perfect, value, error, note
    )
