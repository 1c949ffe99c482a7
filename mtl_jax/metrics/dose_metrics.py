"""Metrics of a predicted dose: errors in the whole patient, and DVH metrics.

Input: the reference and the predicted dose [Z, Y, X] in Gy on the CT's own grid, and
the patient, whose structures are used for both doses. Output: the values that a
template lists, in its order. A metric of the whole patient is a row of
`core/metric_names.FORMS` and a rule in `RULES` under the same key; DVH metrics have
theirs in `metrics/dvh`, those relative to a prescription in `metrics/target_coverage`.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mtl_jax.core import (
    body_region,
    errors,
    geometry,
    metric_names,
    records,
    reported_metrics,
    sites,
)
from mtl_jax.metrics import dvh, gamma_index, openkbp, target_coverage


def score(
    reference_gy: np.ndarray,
    predicted_gy: np.ndarray,
    patient: records.Patient,
    site: sites.Site,
    template: reported_metrics.Template,
) -> list[reported_metrics.Value]:
    """The template's metrics of a predicted dose [Z, Y, X].

    Errors are |prediction - reference|, in the metric's unit. If the patient lacks a
    structure, the value is NaN and the note says why.

    Raises:
        GeometryError: a dose is not on the patient's grid.
        RecordError: a dose has NaN or infinite values.
    """
    for name, dose_gy in (("reference", reference_gy), ("predicted", predicted_gy)):
        _check(name, dose_gy, patient)
    doses = Doses(reference_gy, predicted_gy, patient, site)
    values = [_of_patient(name, doses) for name in template.patient]
    for structure, names in template.dvh.items():
        values += _of_structure(structure, names, doses)
    return values


def _check(name: str, dose_gy: np.ndarray, patient: records.Patient) -> None:
    label = f"patient {patient.patient_id}: the {name} dose"
    if dose_gy.shape != patient.grid.shape:
        raise errors.GeometryError(
            f"{label} has shape {dose_gy.shape}, the grid {patient.grid.shape}; "
            "resample it first with geometry.resample(dose, grid, onto=patient.grid)"
        )
    finite = np.isfinite(dose_gy)
    if not finite.all():
        raise errors.RecordError(
            f"{label} has {np.count_nonzero(~finite)} NaN or infinite values of "
            f"{dose_gy.size}; a score needs a number in every voxel"
        )


@dataclasses.dataclass(frozen=True)
class Doses:
    """The doses of a patient on the CT's own grid, [Z, Y, X] in Gy."""

    reference_gy: np.ndarray
    predicted_gy: np.ndarray
    patient: records.Patient
    site: sites.Site

    @functools.cached_property
    def absolute_gy(self) -> np.ndarray:
        """The absolute error of each voxel, float64, computed once."""
        return openkbp.absolute_error(self.reference_gy, self.predicted_gy)

    @functools.cached_property
    def possible(self) -> np.ndarray:
        """[Z, Y, X] bool: where dose is possible; everywhere if that is not known."""
        mask = self.patient.possible_dose_mask
        return np.ones(self.reference_gy.shape, bool) if mask is None else mask

    @functools.cached_property
    def from_targets_mm(self) -> np.ndarray | None:
        """[Z, Y, X] signed distance to the surface of all targets; None without any.

        It is NaN where no dose is possible.
        """
        targets = np.zeros(self.reference_gy.shape, bool)
        for structure in self.site.structures:
            if structure.target_gy is not None:
                targets |= self.patient.structures.get(structure.name, False)
        box = geometry.bounding_box(targets, self.possible)
        if not targets.any() or targets[box].all():
            return None
        distance_mm = np.full(targets.shape, np.nan)
        spacing_mm = self.patient.grid.spacing_mm
        distance_mm[box] = geometry.signed_distance_mm(targets[box], spacing_mm)
        distance_mm[~self.possible] = np.nan
        return distance_mm

    @functools.cached_property
    def of_gamma(self) -> gamma_index.Doses:
        """What all gamma indices share."""
        return gamma_index.Doses(
            self.reference_gy, self.predicted_gy, self.patient.grid.spacing_mm
        )


class Result(NamedTuple):
    """The value of a metric, and a note; a value of NaN needs one."""

    value: float
    note: str = ""


def _mean_inside(doses: Doses, region: np.ndarray, if_none: str) -> Result:
    """The mean absolute error in `region`, or NaN and `if_none` if it is empty."""
    inside = doses.absolute_gy[region]
    if not inside.size:
        return Result(math.nan, if_none)
    return Result(float(inside.sum()) / inside.size)


def _dose_error(doses: Doses, _: metric_names.Metric) -> Result:
    total, mask = float(doses.absolute_gy.sum()), doses.patient.possible_dose_mask
    if mask is None:
        note = "possible-dose mask not known: per voxel of the grid"
        return Result(total / doses.absolute_gy.size, note)
    count = np.count_nonzero(mask)
    if not count:
        return Result(math.nan, "the possible-dose mask is empty")
    return Result(total / count)


def _in_body(doses: Doses, _: metric_names.Metric) -> Result:
    hu = doses.patient.ct - doses.site.ct_offset_hu
    region = body_region.largest(hu, body_region.METRICS_HU)
    return _mean_inside(doses, region, "no body in the CT")


def _in_isodose(doses: Doses, metric: metric_names.Metric) -> Result:
    region = doses.reference_gy >= metric.amount
    return _mean_inside(doses, region, f"no reference dose of {metric.amount:g} Gy")


def _in_band(doses: Doses, metric: metric_names.Metric) -> Result:
    """Between two isodoses of the reference, in percent of the site's prescription."""
    low, high = (*metric.amounts, math.inf)[:2]
    percent = doses.reference_gy * np.float32(100 / doses.site.prescription_gy)
    region = (percent >= low) & (percent < high)
    return _mean_inside(doses, region, "no reference dose in this band")


def _from_targets(doses: Doses, metric: metric_names.Metric) -> Result:
    """Between two distances from the targets' surface, where dose is possible."""
    if doses.from_targets_mm is None:
        return Result(math.nan, "no target")
    low, high = (*metric.amounts, math.inf)[:2]
    sign = -1 if metric.kind.endswith("inside") else 1
    distance_mm = sign * doses.from_targets_mm
    # No voxel's centre is at 0: the nearest are a voxel's side away.
    region = (distance_mm > low) & (distance_mm <= high)
    return _mean_inside(doses, region, "no voxel at this distance")


def _gamma(doses: Doses, metric: metric_names.Metric) -> Result:
    percent, distance_mm = metric.amounts
    local = metric.kind == "gamma_local"
    criterion = gamma_index.Criterion(percent, distance_mm, local)
    rate = gamma_index.pass_rate(doses.of_gamma, criterion)
    return Result(rate, "no reference dose" if math.isnan(rate) else "")


# By kind: the doses and the parsed name give the metric's value.
RULES: dict[str, Callable[[Doses, metric_names.Metric], Result]] = {
    "dose_error": _dose_error,
    "dose_mae_body": _in_body,
    "dose_mae_isodose": _in_isodose,
    "dose_mae_band": _in_band,
    "dose_mae_top_band": _in_band,
    "dose_mae_inside": _from_targets,
    "dose_mae_far_inside": _from_targets,
    "dose_mae_outside": _from_targets,
    "dose_mae_far_outside": _from_targets,
    "gamma_global": _gamma,
    "gamma_local": _gamma,
}


def _of_patient(name: str, doses: Doses) -> reported_metrics.Value:
    """A metric of the whole patient: the reference has the value of a perfect one."""
    metric = metric_names.parse(name, "patient")
    value, note = RULES[metric.kind](doses, metric)
    perfect = math.nan if math.isnan(value) else metric.form.perfect
    error = abs(value - perfect)
    return reported_metrics.Value("", name, metric.unit, perfect, value, error, note)


def _of_structure(
    structure: str, names: tuple[str, ...], doses: Doses
) -> list[reported_metrics.Value]:
    """DVH metrics of both doses in the patient's own structure."""
    metrics = [metric_names.parse(name, "dvh") for name in names]
    units = [metric.unit for metric in metrics]
    mask = doses.patient.structures.get(structure)
    if not names or mask is None:
        return _without(structure, names, units, "not contoured")
    reference, predicted = dvh.inside(mask, doses.reference_gy, doses.predicted_gy)
    if not reference.size:
        return _without(structure, names, units, "empty in reference")
    voxel = doses.patient.grid.voxel_mm3
    plain = [m.name for m in metrics if not m.form.of_target]
    both = zip(
        dvh.metrics(plain, reference, voxel),
        dvh.metrics(plain, predicted, voxel),
        strict=True,
    )
    found = dict(zip(plain, both, strict=True))
    values = []
    for metric in metrics:
        if metric.form.of_target:
            before, after, note = _of_target(structure, mask, metric, doses)
        else:
            before, after = found[metric.name]
            small = dvh.lacks_volume(metric.name, reference.size, voxel)
            note = "structure smaller than that: its minimum dose" if small else ""
        values.append(
            reported_metrics.Value(
                structure,
                metric.name,
                metric.unit,
                before,
                after,
                abs(after - before),
                note,
            )
        )
    return values


def _of_target(
    structure: str, mask: np.ndarray, metric: metric_names.Metric, doses: Doses
) -> tuple[float, float, str]:
    """A metric relative to the prescription, of both doses; and a note."""
    prescription_gy = doses.site.structure(structure).target_gy
    if prescription_gy is None:
        return math.nan, math.nan, "not a target"
    prescribed = np.zeros(mask.shape, bool)
    for other in doses.site.structures:
        if other.target_gy is not None and other.target_gy >= prescription_gy:
            prescribed |= doses.patient.structures.get(other.name, False)
    before, after = (
        target_coverage.value(
            target_coverage.Target(
                dose_gy, mask, prescribed, prescription_gy, doses.patient.grid.voxel_mm3
            ),
            metric,
        )
        for dose_gy in (doses.reference_gy, doses.predicted_gy)
    )
    note = "no dose in the target" if math.isnan(before + after) else ""
    return before, after, note


def _without(
    structure: str, names: tuple[str, ...], units: list[str], note: str
) -> list[reported_metrics.Value]:
    nan = math.nan
    return [
        reported_metrics.Value(structure, name, unit, nan, nan, nan, note)
        for name, unit in zip(names, units, strict=True)
    ]
