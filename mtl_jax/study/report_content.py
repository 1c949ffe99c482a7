"""What a study's report says: findings first, then cohort, tables, pictures, patients.

In: what `gather` read, and the files that `outputs` wrote. Out: a content.Report.
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

# More patients than this make the file large: then the outer ranks are shown.
MOST_PATIENTS = 24
# Worse than the mean by so many standard deviations: worth a look.
OUTLIER = 2.0


def study(
    gathered: study_results.Gathered,
    members: split_checks.Cohort,
    data: prepared.Prepared,
    tables: Sequence[render.Table],
    pictures: Sequence[content.Picture],
    title: str,
) -> content.Report:
    """The whole report."""
    return content.Report(
        title=title,
        site=gathered.site,
        summary=_summary(gathered),
        findings=[*_failures(gathered), *_yardsticks(gathered), *_outliers(gathered)],
        cohort=[
            content.Fact("site", gathered.site.name),
            content.Fact("fingerprint", data.fingerprint),
        ],
        cohort_tables=[_cohort_table(members)],
        checks=[*members.checks, *_statistics(gathered)],
        tables=tables,
        pictures=pictures,
        patients=list(_patients(gathered)),
        provenance=[*_provenance(gathered)],
    )


def _summary(gathered: study_results.Gathered) -> str:
    names = ", ".join(study_results.label(role) for role in gathered.rows)
    seeds = max(len(seeds) for seeds in gathered.rows.values())
    text = f"{len(gathered.patients)} patients of the {gathered.name} split; {names}"
    if seeds == 1:
        return f"{text}."
    return f"{text}; {seeds} seeds, of which the first is drawn and listed in findings."


def _failures(gathered: study_results.Gathered) -> Iterator[content.Finding]:
    """Structures that were not drawn, and roles that were not run."""
    for role, seeds in gathered.rows.items():
        for row in seeds[0]:
            drawn = row.note not in (
                contour_metrics.MISSED,
                contour_metrics.FALSE_POSITIVE,
            )
            if row.metric == "dice" and not row.variant and not drawn:
                text = f"{study_results.label(role)}: {row.structure} {row.note}"
                yield content.Finding("failure", text, row.patient)
    if missing := [role for role in plan.PAPER if role not in gathered.rows]:
        yield content.Finding("warning", f"not run: {', '.join(missing)}")


def _yardsticks(gathered: study_results.Gathered) -> Iterator[content.Finding]:
    """Models that a predictor without an image equals or beats."""
    site = gathered.site
    models = {r: scoring.summarise(s[0], site) for r, s in gathered.rows.items()}
    for name, rows in gathered.yardsticks.items():
        theirs = scoring.summarise(rows, site)
        for role, mine in models.items():
            for key, words, sign, form in (
                ("openkbp_dose_score", "dose score", 1, "{:.2f} Gy"),
                ("openkbp_dvh_score", "DVH score", 1, "{:.2f} Gy"),
                ("dose_error", "dose error", 1, "{:.2f} Gy"),
                ("mean_dice", "mean Dice", -1, "{:.3f}"),
            ):
                if key not in mine or key not in theirs:
                    continue
                if sign * mine[key] >= sign * theirs[key]:
                    yield content.Finding(
                        "warning",
                        f"{study_results.label(role)}: {words} "
                        f"{form.format(mine[key])}, no better than the "
                        f"{yardsticks.TABLE[name].label}: "
                        f"{form.format(theirs[key])}",
                    )


def _outliers(gathered: study_results.Gathered) -> Iterator[content.Finding]:
    """Patients whose dose error stands out."""
    for role in gathered.rows:
        scores = gathered.scores(role)
        found = {
            who: one.dose_error_gy
            for who, one in scores.items()
            if one.dose_error_gy is not None
        }
        if len(found) < 3:
            continue
        mean, spread = np.mean(list(found.values())), np.std(list(found.values()))
        for who, value in sorted(found.items(), key=lambda pair: -pair[1]):
            if value > mean + OUTLIER * spread:
                text = (
                    f"{study_results.label(role)}: dose error {value:.2f} Gy, "
                    f"the mean is {mean:.2f}"
                )
                yield content.Finding("note", text, who)


def _cohort_table(members: split_checks.Cohort) -> content.Table:
    splits = list(members.counts)
    names = list(next(iter(members.counts.values())))
    return content.Table(
        "Patients",
        "Structures: patients in whom they were contoured.",
        ["", *splits],
        [[name, *(str(members.counts[s][name]) for s in splits)] for name in names],
    )


def _statistics(gathered: study_results.Gathered) -> Iterator[content.Check]:
    """That no run normalised its CT with values of the patients it is tested on."""
    for role, job in gathered.first.items():
        origin = workdir.read_json(job.workdir / "statistics.json")["origin"]
        # Of given values nobody can tell here whose they are.
        fitted = f"training split of {gathered.fingerprint}" in origin
        name = f"{study_results.label(role)}: CT statistics know no test patient"
        yield content.Check(name, True if fitted else None, origin)


def _patients(gathered: study_results.Gathered) -> Iterator[content.PatientPage]:
    """Pages from the worst to the best; of many patients those at both ends."""
    ranking = gathered.ranking("dose")
    sign = -1
    if not ranking:
        ranking, sign = gathered.ranking("contours"), 1
    known = [who for who, value in ranking.items() if not math.isnan(value)]
    order = sorted(known, key=lambda who: sign * ranking[who])
    order += [who for who in gathered.patients if who not in known]
    if len(order) > MOST_PATIENTS:
        half = MOST_PATIENTS // 2
        order = [*order[:half], *order[-half:]]
    for patient_id in tqdm(order, desc="report", unit="pt"):
        patient = gathered.patient(patient_id)
        shown = gathered.predictions(patient)
        yield content.PatientPage(
            patient_id,
            scores=_scores(gathered, patient_id),
            slices=packed_volumes.pack(patient, shown, site=gathered.site),
            histograms=study_files.curves(patient, shown, gathered.site),
        )


def _scores(gathered: study_results.Gathered, patient: str) -> content.Table:
    """A patient's errors and agreement, by role."""
    rows = []
    for structure, metric, words in _measures(gathered):
        values = [
            gathered.value(role, patient, structure, metric) for role in gathered.rows
        ]
        if not all(math.isnan(value) for value in values):
            texts = ["–" if math.isnan(v) else f"{v:.2f}" for v in values]
            rows.append([words, *texts])
    return content.Table(
        f"Patient {patient}",
        "Doses: absolute error. Contours: the value.",
        ["", *(study_results.label(role) for role in gathered.rows)],
        rows,
    )


def _measures(gathered: study_results.Gathered) -> Iterator[tuple[str, str, str]]:
    """Structure, metric, and both in words."""
    rules = gathered.rules
    words = {
        "dose_error": "dose error, Gy",
        "dose_mae_body": "dose error in the body, Gy",
        "dose_mae_5gy": "dose error inside 5 Gy, Gy",
    }
    for metric in rules.template.patient:
        yield "", metric, words.get(metric, metric)
    for structure in gathered.structures:
        for metric in rules.template.contours.get(structure, ()):
            if metric in ("dice", "hd95"):
                unit = {"dice": "Dice", "hd95": "HD95, mm"}[metric]
                yield structure, metric, f"{structure}: {unit}"
    for structure, metrics in rules.template.dose_table.items():
        for metric in metrics:
            unit = metric_names.parse(metric, "dvh").unit
            yield structure, metric, f"{structure}: {metric}, {unit}"


def _provenance(gathered: study_results.Gathered) -> Iterator[content.Fact]:
    yield content.Fact("mtl_jax", mtl_jax.__version__)
    first: dict[str, Any] = {}
    for role, job in gathered.first.items():
        first = workdir.read_json(job.workdir / "provenance.json")["starts"][0]
        seeds = [j.config.seed for j in gathered.jobs if j.role.name == role]
        network = roles.get(role).network
        text = (
            f"{network}, width {job.config.model.width}; {plan.state(job)}; seeds "
            f"{', '.join(map(str, seeds))}; {first['devices']}; initial "
            f"weights: {first['pretrained']}; model card: "
            f"{job.workdir.name}/{model_card.NAME}"
        )
        yield content.Fact(study_results.label(role), text)
    if first:
        versions = ", ".join(f"{k} {v}" for k, v in first["versions"].items())
        yield content.Fact("versions", f"Python {first['python']}, {versions}")
