"""A prediction against a patient's own contours and dose.

Input: volumes on the CT's grid. Output: an Evaluation, with the metrics that the
evaluation of a split has, computed by it (`evaluation/scoring`).

>>> import mtl_jax
>>> mtl_jax.evaluate(model.predict(patient), patient)  # doctest: +SKIP
pt_1: dose error 2.91 Gy, DVH error 1.87 Gy, mean Dice 0.823
Brainstem     Dice 0.861  HD95 3.91 mm  D_0.1cc 2.41 Gy  D_mean 1.12 Gy
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtl_jax.core import errors, metric_names, sites
from mtl_jax.evaluation import scoring
from mtl_jax.interface import patients, trained

# Metrics of a dose that a structure's line shows.
SHOWN = 3


@dataclasses.dataclass(frozen=True, repr=False)
class Evaluation:
    """How a prediction differs from a patient; None is what cannot be computed.

    A structure that the prediction misses has Dice 0, and the grid's diagonal as HD95.
    """

    patient_id: str
    dose_error_gy: float | None  # mean absolute error; OpenKBP's official dose score
    dvh_error_gy: float | None  # OpenKBP's official DVH score; None at other sites
    dice: dict[str, float | None]  # by structure
    hd95_mm: dict[str, float | None]  # by structure
    # Absolute difference by structure and metric, in the metric's unit.
    dvh_errors: dict[str, dict[str, float | None]]
    # All metrics, as in evaluation/<split>.csv: NaN with a note where there is none.
    rows: tuple[scoring.Row, ...]

    @property
    def mean_dice(self) -> float | None:
        """The mean over the structures that have a Dice."""
        found = [dice for dice in self.dice.values() if dice is not None]
        return float(np.mean(found)) if found else None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: each row of `rows` is a dictionary in `metrics`."""
        values = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self)
        }
        del values["rows"]
        values["mean_dice"] = self.mean_dice
        values["metrics"] = [
            {
                name: _number(value) if isinstance(value, float) else value
                for name, value in dataclasses.asdict(row).items()
            }
            for row in self.rows
        ]
        return values

    def __repr__(self) -> str:
        heads = (
            _text("dose error", self.dose_error_gy, "Gy"),
            _text("DVH error", self.dvh_error_gy, "Gy"),
            _text("mean Dice", self.mean_dice),
        )
        lines = [f"{self.patient_id}: {', '.join(filter(None, heads))}"]
        names = dict.fromkeys((*self.dice, *self.dvh_errors))
        width = max(map(len, names), default=0)
        lines += [f"{name:{width}}  {self._line(name)}" for name in names]
        return "\n".join(lines)

    def _line(self, structure: str) -> str:
        """The figures of a structure, or why there are none."""
        of_dose: dict[str, str] = {}
        for name, error in self.dvh_errors.get(structure, {}).items():
            label, unit = name.partition(":")[2], metric_names.parse(name, "dvh").unit
            of_dose.setdefault(label, _text(label, error, unit))
        figures = [
            _text("Dice", self.dice.get(structure)),
            _text("HD95", self.hd95_mm.get(structure), "mm"),
            *list(of_dose.values())[:SHOWN],
        ]
        notes = [row.note for row in self.rows if row.structure == structure]
        return "  ".join(filter(None, figures)) or next(filter(None, notes), "")


def evaluate(
    prediction: trained.Prediction,
    reference: patients.Patient,
    *,
    site: str | None = None,
    metrics: str | Path = "",
) -> Evaluation:
    """Dice, HD95, dose and DVH errors of `prediction` against `reference`.

    Where the reference says that no dose is possible, the prediction's counts as 0.

    Args:
        prediction: of `Model.predict`, or `Prediction(dose_gy, masks)` of other arrays;
            on the reference's grid.
        reference: the patient, with what was contoured and planned.
        site: name or file of the treatment site, whose structures these are; by default
            that of the prediction, else of the reference.
        metrics: a file that chooses metrics, as `evaluate.metrics` of a configuration.

    Raises:
        ConfigError: the site is not known, or has no structure of a name.
        GeometryError, RecordError: shapes differ, or values are not finite.
    """
    known = prediction.site or reference.site
    if site is not None:
        known = sites.get(site)
    if known is None:
        raise errors.ConfigError(
            "the treatment site is not known: give evaluate(..., site=NAME or FILE)"
        )
    dose_gy, masks = prediction.dose_gy, prediction.masks
    for name in masks:
        known.structure(name)
    rows = scoring.score_arrays(
        patients.as_record(reference, known),
        None if dose_gy is None else np.asarray(dose_gy, np.float32),
        {"": {name: np.asarray(mask, bool) for name, mask in masks.items()}},
        scoring.Rules.of_volumes(known, str(metrics)),
    )
    return _of_rows([row for row in rows if not row.variant], reference, known)


def _of_rows(
    rows: Sequence[scoring.Row], reference: patients.Patient, site: sites.Site
) -> Evaluation:
    def of(metric: str) -> dict[str, float | None]:
        return {r.structure: _number(r.value) for r in rows if r.metric == metric}

    dvh_errors: dict[str, dict[str, float | None]] = {}
    for row in rows:
        name = row.structure
        if name and not metric_names.is_of_contours(name, row.metric):
            dvh_errors.setdefault(name, {})[row.metric] = _number(row.error)
    summary = scoring.summarise(rows, site)
    return Evaluation(
        patient_id=reference.patient_id,
        dose_error_gy=of("dose_error").get(""),
        dvh_error_gy=summary.get("openkbp_dvh_score"),
        dice=of("dice"),
        hd95_mm=of("hd95"),
        dvh_errors=dvh_errors,
        rows=tuple(rows),
    )


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _text(label: str, value: float | None, unit: str = "") -> str:
    """A figure with its label; "" if there is none."""
    return "" if value is None else f"{label} {value:.3g} {unit}".rstrip()
