"""Scores predictions of a split against its patients: a table, and its summary.

The reference's structures serve for both doses; everything is on the CT's own grid.
Patients are the unit: a metric's mean and spread are over the patients that have it.
"""

import csv
import dataclasses
import math
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtl_jax.core import records, sites
from mtl_jax.inference import volumes
from mtl_jax.metrics import openkbp, overlap


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of `evaluation/<split>.csv`; NaN where there is no value."""

    patient: str
    structure: str  # "" for the whole patient
    metric: str
    unit: str
    reference: float
    prediction: float
    error: float
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Rules:
    """What a prediction goes through before it is scored."""

    site: sites.Site
    contour_threshold: float
    apply_possible_dose_mask: bool


def score(
    patient: records.Patient, prediction: volumes.Prediction, rules: Rules
) -> list[Row]:
    """All metrics of one patient."""
    rows = []
    if prediction.dose_gy is not None and patient.dose_gy is not None:
        rows += _dose_rows(patient, prediction.dose_gy, rules)
    if prediction.contours is not None:
        rows += _contour_rows(patient, prediction, rules)
    return rows


def _dose_rows(
    patient: records.Patient, dose_gy: np.ndarray, rules: Rules
) -> list[Row]:
    reference_gy, mask = patient.dose_gy, patient.possible_dose_mask
    assert reference_gy is not None
    nan, who = math.nan, patient.patient_id
    note = "possible-dose mask not known: per voxel of the grid"
    if mask is None:
        mask = np.ones(reference_gy.shape, bool)
    else:
        note = ""
        if rules.apply_possible_dose_mask:
            dose_gy = np.where(mask, dose_gy, np.float32(0))
    error = openkbp.dose_error(reference_gy, dose_gy, mask)
    rows = [Row(who, "", "dose_error", "Gy", nan, nan, error, note)]
    predicted = openkbp.dvh_metrics(dose_gy, patient, rules.site)
    for key, value in openkbp.dvh_metrics(reference_gy, patient, rules.site).items():
        difference = abs(predicted[key] - value)
        rows.append(Row(who, *key, "Gy", value, predicted[key], difference))
    return rows


def _contour_rows(
    patient: records.Patient, prediction: volumes.Prediction, rules: Rules
) -> list[Row]:
    assert prediction.contours is not None
    rows = []
    for name, probability in zip(
        prediction.structures, prediction.contours, strict=True
    ):
        who, nan = patient.patient_id, math.nan
        if name not in patient.structures:
            rows.append(Row(who, name, "dice", "1", nan, nan, nan, "not contoured"))
            continue
        drawn = probability >= rules.contour_threshold
        value = overlap.dice(drawn, patient.structures[name])
        note = ""
        if math.isnan(value):
            note = "empty in reference and prediction"
        elif not drawn.any():
            note = "missed"
        rows.append(Row(who, name, "dice", "1", 1.0, value, 1.0 - value, note))
    return rows


@dataclasses.dataclass
class PatientScore:
    """The headline numbers of one patient."""

    dose_error_gy: float | None = None
    dice: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def rank(self) -> float:
        """Lower is better: the dose error, or what the mean Dice lacks of 1."""
        if self.dose_error_gy is not None:
            return self.dose_error_gy
        return 1 - float(np.mean(list(self.dice.values() or [0.0])))


def scores(rows: Sequence[Row]) -> dict[str, PatientScore]:
    """The headline numbers of each patient in `rows`."""
    by_patient: dict[str, PatientScore] = defaultdict(PatientScore)
    for row in rows:
        mine = by_patient[row.patient]
        if row.metric == "dose_error":
            mine.dose_error_gy = row.error
        elif row.metric == "dice" and not math.isnan(row.prediction):
            mine.dice[row.structure] = row.prediction
    return dict(by_patient)


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    """Mean, standard deviation and n over the patients of each metric and structure.

    Dose metrics are summarised by their absolute error, Dice by its value. With them
    the official OpenKBP scores (all DVH cells pooled) and the mean Dice.
    """
    values: dict[str, list[float]] = defaultdict(list)
    cells: list[float] = []
    for row in rows:
        value = row.prediction if row.metric == "dice" else row.error
        if math.isnan(value):
            continue
        values[f"{row.metric}/{row.structure}" if row.structure else row.metric].append(
            value
        )
        if row.metric.startswith("D_"):
            cells.append(row.error)
    metrics = {
        name: {
            "mean": float(np.mean(several)),
            "std": float(np.std(several, ddof=1)) if len(several) > 1 else None,
            "n": len(several),
        }
        for name, several in sorted(values.items())
    }
    summary: dict[str, Any] = {
        "patients": len({row.patient for row in rows}),
        "metrics": metrics,
    }
    if "dose_error" in values:
        summary["openkbp_dose_score"] = openkbp.dose_score(values["dose_error"])
        if cells:
            summary["openkbp_dvh_score"] = openkbp.dvh_score(cells)
    dices = [m["mean"] for name, m in metrics.items() if name.startswith("dice/")]
    if dices:
        summary["mean_dice"] = float(np.mean(dices))
    return summary


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write `rows` in long form, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".tmp")
    with partial.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow([field.name for field in dataclasses.fields(Row)])
        for row in rows:
            values = dataclasses.astuple(row)
            table.writerow(
                ["" if isinstance(v, float) and math.isnan(v) else v for v in values]
            )
    os.replace(partial, path)


def read_csv(path: Path) -> list[Row]:
    """The rows that `write_csv` wrote."""

    def number(text: str) -> float:
        return float(text) if text else math.nan

    with path.open(newline="") as file:
        return [
            Row(
                patient=row["patient"],
                structure=row["structure"],
                metric=row["metric"],
                unit=row["unit"],
                reference=number(row["reference"]),
                prediction=number(row["prediction"]),
                error=number(row["error"]),
                note=row["note"],
            )
            for row in csv.DictReader(file)
        ]
