"""Scores the predictions of a split: rows of metrics, and their summary.

Input: patients, their predictions and the rules of a configuration. Output: Rows, which
are written as CSV, and the summary of them as plain values.

The reference's structures serve for both doses; everything is on the CT's own grid.
Patients are the unit: a metric's mean and spread are over the patients that have it.
"""

import csv
import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np

from mtl_jax.core import (
    clinical_goals,
    csv_cells,
    files,
    metric_names,
    records,
    reported_metrics,
    sites,
)
from mtl_jax.evaluation import goals
from mtl_jax.inference import postprocess, volumes
from mtl_jax.metrics import contour_metrics, dose_metrics, openkbp

WITH_MASK, WITHOUT_MASK = "with_possible_dose_mask", "without_possible_dose_mask"
LARGEST, ALL_PIECES = "largest_component", "all_components"


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
    variant: str = ""  # "": as configured; else the name of the different treatment

    @property
    def value(self) -> float:
        """What is summarised: a score itself (Dice, gamma), or the error of a dose."""
        is_score = metric_names.is_score(self.structure, self.metric)
        return self.prediction if is_score else self.error


@dataclasses.dataclass(frozen=True)
class Rules:
    """How a prediction is treated before it is scored, and what is reported."""

    site: sites.Site
    template: reported_metrics.Template
    contour_head: str
    contour_threshold: float
    apply_possible_dose_mask: bool
    largest_component: bool

    @classmethod
    def of(
        cls, config: ml_collections.ConfigDict, site: sites.Site | None = None
    ) -> "Rules":
        """The rules of a configuration; a ConfigError if its metrics file is wrong.

        Give `site` if the configuration's site file may be missing on this machine.
        """
        site, settings = site or sites.get(config.site), config.evaluate
        return cls(
            site,
            _template(settings.metrics, site),
            config.model.contour_head,
            settings.contour_threshold,
            settings.apply_possible_dose_mask,
            settings.largest_component,
        )

    @classmethod
    def of_volumes(cls, site: sites.Site, metrics: str) -> "Rules":
        """The rules for masks and doses that are final, apart from where a dose can be.

        `metrics` as `evaluate.metrics`.
        """
        return cls(site, _template(metrics, site), "sigmoid", 0.5, True, False)

    @property
    def of_yardsticks(self) -> "Rules":
        """These rules for yardsticks, whatever the network's head is.

        Their contours are masks, which may overlap.
        """
        return dataclasses.replace(self, contour_head="sigmoid")

    @property
    def of_headlines(self) -> "Rules":
        """These rules, with the dose error and Dice as the only metrics."""
        template = reported_metrics.Template(
            patient=("dose_error",),
            dvh={},
            contours={name: ("dice",) for name in self.site.names},
            dose_table={},
        )
        return dataclasses.replace(self, template=template)

    @property
    def of_variants(self) -> "Rules":
        """These rules without the slow metrics, which only the configured dose gets."""
        patient = tuple(
            name
            for name in self.template.patient
            if not metric_names.parse(name, "patient").form.slow
        )
        template = dataclasses.replace(self.template, patient=patient)
        return dataclasses.replace(self, template=template)

    def doses(
        self, patient: records.Patient, dose_gy: np.ndarray
    ) -> dict[str, np.ndarray]:
        """`dose_gy` by variant; two where the possible-dose mask is known."""
        if patient.possible_dose_mask is None:
            return {"": dose_gy}
        masked = np.where(patient.possible_dose_mask, dose_gy, np.float32(0))
        if self.apply_possible_dose_mask:
            return {"": masked, WITHOUT_MASK: dose_gy}
        return {"": dose_gy, WITH_MASK: masked}

    def contours(
        self, prediction: volumes.Prediction
    ) -> dict[str, dict[str, np.ndarray]]:
        """Masks by variant and structure; empty if the role predicts no contours."""
        return self.variants(self._all_pieces(prediction))

    def variants(
        self, masks: Mapping[str, np.ndarray]
    ) -> dict[str, dict[str, np.ndarray]]:
        """`masks`, all pieces of them, by variant and structure."""
        if not masks:
            return {}
        masks, largest = dict(masks), postprocess.largest_of(masks)
        if self.largest_component:
            return {"": largest, ALL_PIECES: masks}
        return {"": masks, LARGEST: largest}

    def as_configured(
        self, patient: records.Patient, prediction: volumes.Prediction
    ) -> records.PredictedVolumes:
        """`prediction` as it is scored, without the other variants."""
        dose_gy = prediction.dose_gy
        if dose_gy is not None:
            dose_gy = self.doses(patient, dose_gy)[""]
        return records.PredictedVolumes(dose_gy, self.masks(prediction))

    def masks(self, prediction: volumes.Prediction) -> dict[str, np.ndarray]:
        """Masks [Z, Y, X] bool by structure, as configured."""
        masks = self._all_pieces(prediction)
        return postprocess.largest_of(masks) if self.largest_component else masks

    def _all_pieces(self, prediction: volumes.Prediction) -> dict[str, np.ndarray]:
        return postprocess.masks(
            prediction, head=self.contour_head, threshold=self.contour_threshold
        )


def _template(metrics: str, site: sites.Site) -> reported_metrics.Template:
    """What the file `metrics` asks for, or the site's default for ""; and headlines."""
    template = reported_metrics.default(site)
    if metrics:
        template = reported_metrics.read(Path(metrics).expanduser(), site)
    return _with_headlines(template, site)


def _with_headlines(
    template: reported_metrics.Template, site: sites.Site
) -> reported_metrics.Template:
    """`template` with the metrics that scores, rankings and goals need."""
    dvh = template.dvh
    if openkbp.applies(site):
        dvh = {
            name: _joined(dvh.get(name, ()), openkbp.dvh_names(site.structure(name)))
            for name in site.names
        }
    for goal in clinical_goals.of_site(site.name):
        known = dvh.get(goal.structure, ())
        dvh = dvh | {goal.structure: _joined(known, (goal.metric,))}
    return dataclasses.replace(
        template,
        patient=_joined(template.patient, ("dose_error",)),
        dvh=dvh,
        contours={
            name: _joined(metrics, ("dice",))
            for name, metrics in template.contours.items()
        },
    )


def _joined(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second)))


def score(
    patient: records.Patient, prediction: volumes.Prediction, rules: Rules
) -> list[Row]:
    """All metrics of one patient, of all variants."""
    contours = rules.contours(prediction)
    return score_arrays(patient, prediction.dose_gy, contours, rules)


def score_arrays(
    patient: records.Patient,
    dose_gy: np.ndarray | None,
    contours: Mapping[str, Mapping[str, np.ndarray]],
    rules: Rules,
) -> list[Row]:
    """As `score`, from a dose [Z, Y, X] in Gy and masks by variant and structure."""
    values: list[tuple[str, reported_metrics.Value]] = []
    if dose_gy is not None and patient.dose_gy is not None:
        for variant, variant_gy in rules.doses(patient, dose_gy).items():
            template = rules.of_variants.template if variant else rules.template
            values += [
                (variant, value)
                for value in dose_metrics.score(
                    patient.dose_gy, variant_gy, patient, rules.site, template
                )
            ]
    for variant, masks in contours.items():
        for name, mask in masks.items():
            metrics = rules.template.contours.get(name, ())
            reference = patient.structures.get(name)
            values += [
                (variant, value)
                for value in contour_metrics.score(
                    name, mask, reference, patient.grid, metrics
                )
            ]
    return [
        Row(patient.patient_id, *value, variant=variant) for variant, value in values
    ]


@dataclasses.dataclass
class PatientScore:
    """The headline numbers of one patient."""

    dose_error_gy: float | None = None
    dice: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def mean_dice(self) -> float:
        """Over the structures that have a Dice; NaN if none has."""
        return float(np.mean(list(self.dice.values()))) if self.dice else math.nan

    @property
    def rank(self) -> float:
        """Lower is better: the dose error, or 1 minus the mean Dice."""
        if self.dose_error_gy is not None:
            return self.dose_error_gy
        return 1 - (self.mean_dice if self.dice else 0.0)


def scores(rows: Sequence[Row]) -> dict[str, PatientScore]:
    """The headline numbers of each patient in `rows`."""
    by_patient: dict[str, PatientScore] = defaultdict(PatientScore)
    for row in rows:
        if row.variant:
            continue
        patient = by_patient[row.patient]
        if row.metric == "dose_error":
            patient.dose_error_gy = row.error
        elif row.metric == "dice" and not math.isnan(row.prediction):
            patient.dice[row.structure] = row.prediction
    return dict(by_patient)


def summarise(rows: Sequence[Row], site: sites.Site) -> dict[str, Any]:
    """Mean, standard deviation and n over the patients of each metric and structure.

    Doses are summarised by their absolute error, contours and gamma by the value. The
    summary also has the mean Dice and the dose error (for OpenKBP the official scores,
    with all DVH cells pooled), the same for each other variant, and how often plan and
    prediction meet the site's clinical goals.
    """
    of_variant: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        of_variant[row.variant].append(row)
    variants = {name: _summary(several, site) for name, several in of_variant.items()}
    summary = {"patients": len({row.patient for row in rows})}
    return summary | variants.pop("", {"metrics": {}}) | {"variants": variants}


def _summary(rows: Sequence[Row], site: sites.Site) -> dict[str, Any]:
    values: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if not math.isnan(row.error):
            name = f"{row.metric}/{row.structure}" if row.structure else row.metric
            values[name].append(row.value)
    metrics = {
        name: {
            "mean": float(np.mean(several)),
            "std": float(np.std(several, ddof=1)) if len(several) > 1 else None,
            "n": len(several),
        }
        for name, several in values.items()
    }
    summary: dict[str, Any] = {"metrics": metrics}
    if "dose_error" in values:
        name = "openkbp_dose_score" if openkbp.applies(site) else "dose_error"
        summary[name] = openkbp.dose_score(values["dose_error"])
        if cells := openkbp.dvh_errors(rows, site):
            summary["openkbp_dvh_score"] = openkbp.dvh_score(cells)
    summary |= goals.summarise(rows, clinical_goals.of_site(site.name))
    dices = [m["mean"] for name, m in metrics.items() if name.startswith("dice/")]
    if dices:
        summary["mean_dice"] = float(np.mean(dices))
        summary["missed"] = sum(
            r.metric == "dice" and r.note == contour_metrics.MISSED for r in rows
        )
    return summary


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write `rows` in long form, whole or not at all."""
    write_runs_csv([((), rows)], path, ())


def write_runs_csv(
    runs: Iterable[tuple[Sequence[object], Sequence[Row]]],
    path: Path,
    columns: Sequence[str],
) -> None:
    """Write the rows of several runs, each after its values of `columns`."""
    with files.whole(path) as partial, partial.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow([*columns, *(field.name for field in dataclasses.fields(Row))])
        for first_cells, rows in runs:
            for row in rows:
                values = dataclasses.astuple(row)
                cells = [
                    "" if isinstance(v, float) and math.isnan(v) else v for v in values
                ]
                table.writerow(map(csv_cells.harmless, [*first_cells, *cells]))


def read_csv(path: Path) -> list[Row]:
    """The rows that `write_csv` wrote."""

    def number(text: str) -> float:
        return float(text) if text else math.nan

    with path.open(newline="") as file:
        return [
            Row(
                patient=csv_cells.original(row["patient"]),
                structure=csv_cells.original(row["structure"]),
                metric=row["metric"],
                unit=row["unit"],
                reference=number(row["reference"]),
                prediction=number(row["prediction"]),
                error=number(row["error"]),
                note=csv_cells.original(row["note"]),
                variant=row["variant"],
            )
            for row in csv.DictReader(file)
        ]
