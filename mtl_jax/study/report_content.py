"""Builds the content of a study's report.

Input: the results of a split, its tables and its figures. Output: a content.Report with
findings, cohort, tables, figures and patients.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

import mtl_jax
from mtl_jax.core import metric_names, roles
from mtl_jax.datasets import prepared
from mtl_jax.evaluation import scoring, yardsticks
from mtl_jax.metrics import contour_metrics
from mtl_jax.report import content, packed_volumes, render
from mtl_jax.run import model_card, workdir
from mtl_jax.study import plan, split_checks, study_files, study_results

# More patients make the file large; then only the worst and the best are included.
MOST_PATIENTS = 24
# Dose errors this many standard deviations above the mean are findings.
OUTLIER_DEVIATIONS = 2.0
# A role that is told the targets is judged by its worst error of this one.
WORST_TARGET = "target:D_95"


def build(
    split_results: study_results.SplitResults,
    dataset: split_checks.DatasetSummary,
    data: prepared.Prepared,
    tables: Sequence[render.Table],
    figures: Sequence[content.Picture],
    title: str,
) -> content.Report:
    """The report of a split's results."""
    return content.Report(
        title=title,
        site=split_results.site,
        summary=_summary(split_results),
        findings=[
            *_worst_targets(split_results),
            *_failures(split_results),
            *_yardsticks(split_results),
            *_outliers(split_results),
        ],
        cohort=[content.Fact("site", split_results.site.name)],
        cohort_tables=[_cohort_table(dataset)],
        checks=[*dataset.checks, *_statistics_checks(split_results)],
        tables=tables,
        pictures=figures,
        patients=list(_patient_pages(split_results)),
        provenance=[
            *_provenance(split_results),
            content.Fact("fingerprint of the data", data.fingerprint),
        ],
    )


def _summary(split_results: study_results.SplitResults) -> str:
    names = ", ".join(study_results.label(role) for role in split_results.rows)
    seeds = max(len(seeds) for seeds in split_results.rows.values())
    text = f"{split_results.patients_in_words}; {names}"
    if seeds == 1:
        return f"{text}."
    return f"{text}; {seeds} seeds; findings and figures show the first."


def _worst_targets(
    split_results: study_results.SplitResults,
) -> Iterator[content.Finding]:
    """The worst coverage of a target by each role; first those told the targets."""

    def told(role: str) -> bool:
        return roles.get(role).input.shows_targets

    for role in sorted(split_results.rows, key=told, reverse=True):
        rows = [
            row
            for row in split_results.rows[role][0]
            if row.metric == WORST_TARGET
            and not row.variant
            and not math.isnan(row.error)
        ]
        if rows:
            worst = max(rows, key=lambda row: row.error)
            name = worst.metric.rpartition(":")[2]
            not_told = "" if told(role) else " (not told the targets)"
            yield content.Finding(
                "target",
                f"{study_results.label(role)}{not_told}: {worst.structure} {name} "
                f"{worst.prediction:.1f} % of the prescription, "
                f"{worst.reference:.1f} % in the plan",
                worst.patient,
            )


def _failures(split_results: study_results.SplitResults) -> Iterator[content.Finding]:
    """Missed and falsely predicted structures."""
    for role, seeds in split_results.rows.items():
        for row in seeds[0]:
            agrees = row.note not in (
                contour_metrics.MISSED,
                contour_metrics.FALSE_POSITIVE,
            )
            if row.metric == "dice" and not row.variant and not agrees:
                text = f"{study_results.label(role)}: {row.structure} {row.note}"
                yield content.Finding("failure", text, row.patient)


def _yardsticks(split_results: study_results.SplitResults) -> Iterator[content.Finding]:
    """Models that are no better than yardsticks, which see no image."""
    site = split_results.site
    scores = {
        yardsticks.TABLE[name].label: scoring.summarise(rows, site)
        for name, rows in split_results.yardsticks.items()
    }
    for role, seeds in split_results.rows.items():
        model = scoring.summarise(seeds[0], site)
        for key, score, sign, form in (
            ("openkbp_dose_score", "dose score", 1, "{:.2f} Gy"),
            ("openkbp_dvh_score", "DVH score", 1, "{:.2f} Gy"),
            ("dose_error", "dose error", 1, "{:.2f} Gy"),
            ("mean_dice", "mean Dice", -1, "{:.3f}"),
        ):
            better = [
                f"{label} ({form.format(of[key])})"
                for label, of in scores.items()
                if key in model and key in of and sign * model[key] >= sign * of[key]
            ]
            if better:
                yield content.Finding(
                    "warning",
                    f"{study_results.label(role)}: {score} {form.format(model[key])} "
                    f"is no better than without the image: {', '.join(better)}",
                )


def _outliers(split_results: study_results.SplitResults) -> Iterator[content.Finding]:
    """Patients with an unusually high dose error."""
    for role in split_results.rows:
        scores = split_results.scores(role)
        errors_gy = {
            patient_id: score.dose_error_gy
            for patient_id, score in scores.items()
            if score.dose_error_gy is not None
        }
        if len(errors_gy) < 3:
            continue
        values = list(errors_gy.values())
        mean, spread = np.mean(values), np.std(values)
        for patient_id, value in sorted(errors_gy.items(), key=lambda pair: -pair[1]):
            if value > mean + OUTLIER_DEVIATIONS * spread:
                text = (
                    f"{study_results.label(role)}: dose error {value:.2f} Gy, "
                    f"far above the mean of {mean:.2f} Gy"
                )
                yield content.Finding("note", text, patient_id)


def _cohort_table(dataset: split_checks.DatasetSummary) -> content.Table:
    splits = list(dataset.counts)
    names = list(next(iter(dataset.counts.values())))
    return content.Table(
        "Patients",
        "Rows of structures: the number of patients with this structure contoured.",
        ["", *splits],
        [[name, *(str(dataset.counts[s][name]) for s in splits)] for name in names],
    )


def _statistics_checks(
    split_results: study_results.SplitResults,
) -> Iterator[content.Check]:
    """Checks that CT statistics were fitted to training patients only."""
    for role, job in split_results.first_jobs.items():
        origin = workdir.read_json(job.workdir / "statistics.json")["origin"]
        # The origin of statistics from the configuration cannot be checked.
        fingerprint = split_results.fingerprint
        fitted = f"training split of {fingerprint}" in origin
        name = f"{study_results.label(role)}: CT statistics use no test patient"
        detail = origin.replace(fingerprint, "these data")
        yield content.Check(name, True if fitted else None, detail)


def _patient_pages(
    split_results: study_results.SplitResults,
) -> Iterator[content.PatientPage]:
    """Pages from the worst to the best patient; of many, those at both ends."""
    ranking = split_results.ranking("dose")
    sign = -1
    if not ranking:
        ranking, sign = split_results.ranking("contours"), 1
    ranked = [name for name, value in ranking.items() if not math.isnan(value)]
    order = sorted(ranked, key=lambda name: sign * ranking[name])
    order += [name for name in split_results.patient_ids if name not in ranked]
    if len(order) > MOST_PATIENTS:
        half = MOST_PATIENTS // 2
        order = [*order[:half], *order[-half:]]
    for patient_id in tqdm(order, desc="report", unit="pt"):
        patient = split_results.patient(patient_id)
        predictions = split_results.predictions(patient)
        yield content.PatientPage(
            patient_id,
            scores=_patient_scores(split_results, patient_id),
            slices=packed_volumes.pack(patient, predictions, site=split_results.site),
            histograms=study_files.dvh_curves(patient, predictions, split_results.site),
        )


def _patient_scores(
    split_results: study_results.SplitResults, patient: str
) -> content.Table:
    """A patient's dose errors and contour metrics by role."""
    rows = []
    for structure, metric, label in _patient_metrics(split_results):
        values = [
            split_results.value(role, patient, structure, metric)
            for role in split_results.rows
        ]
        if not all(math.isnan(value) for value in values):
            texts = ["–" if math.isnan(v) else f"{v:.2f}" for v in values]
            rows.append([label, *texts])
    return content.Table(
        f"Patient {patient}",
        "Doses: the absolute error. Contours and gamma: the metric's value.",
        ["", *(study_results.label(role) for role in split_results.rows)],
        rows,
    )


def _patient_metrics(
    split_results: study_results.SplitResults,
) -> Iterator[tuple[str, str, str]]:
    """Structure, metric, and the label of their row."""
    rules = split_results.rules
    labels = {
        "dose_error": "dose error, Gy",
        "dose_mae_body": "dose error in the body, Gy",
        "dose_mae_5gy": "dose error inside 5 Gy, Gy",
    }
    for metric in rules.template.patient:
        known = metric_names.parse(metric, "patient")
        yield "", metric, labels.get(metric, f"{known.title}, {known.unit}")
    for structure in split_results.structures:
        for metric in rules.template.contours.get(structure, ()):
            if metric in ("dice", "hd95"):
                unit = {"dice": "Dice", "hd95": "HD95, mm"}[metric]
                yield structure, metric, f"{structure}: {unit}"
    for structure, metrics in rules.template.dose_table.items():
        for metric in metrics:
            unit = metric_names.parse(metric, "dvh").unit
            yield structure, metric, f"{structure}: {metric}, {unit}"


def _provenance(split_results: study_results.SplitResults) -> Iterator[content.Fact]:
    yield content.Fact("mtl_jax", mtl_jax.__version__)
    first_start: dict[str, Any] = {}
    for role, job in split_results.first_jobs.items():
        first_start = workdir.read_json(job.workdir / "provenance.json")["starts"][0]
        seeds = [j.config.seed for j in split_results.jobs if j.role.name == role]
        network = roles.get(role).network
        progress = plan.Progress.of(job).text
        text = (
            f"{network}, width {job.config.model.width}; {progress}; seeds "
            f"{', '.join(map(str, seeds))}; {first_start['devices']}; initial "
            f"weights: {first_start['pretrained']}; model card: "
            f"{job.workdir.name}/{model_card.NAME}"
        )
        yield content.Fact(study_results.label(role), text)
    if first_start:
        versions = ", ".join(f"{k} {v}" for k, v in first_start["versions"].items())
        yield content.Fact("versions", f"Python {first_start['python']}, {versions}")
