"""The files of a study: tables, figures, all rows, submissions.

In: what `gather` read. Out: files in the study's folder, the same for the same runs.
"""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mtl_jax.core import errors, records, roles, sites
from mtl_jax.evaluation import yardsticks
from mtl_jax.export import openkbp_csv
from mtl_jax.figures import dvh_plot, role_comparison, training_curves
from mtl_jax.metrics import dvh, openkbp
from mtl_jax.report import content, render
from mtl_jax.study import study_results
from mtl_jax.study.tables import catalogue
from mtl_jax.train import writers

logger = logging.getLogger(__name__)

# The paper's figures of doses and of contours.
PAPER_FIGURES = {"prostate": (2, 3), "openkbp": (4, 5)}
Curves = dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]


def build_tables(
    gathered: study_results.Gathered, cohort: str, seed: int
) -> list[render.Table]:
    """All tables that the roles give."""
    return catalogue.build(
        gathered.rows,
        {yardsticks.TABLE[n].label: rows for n, rows in gathered.yardsticks.items()},
        site=gathered.site,
        cohort=cohort,
        seed=seed,
        dose_table=gathered.rules.template.dose_table,
    )  # fmt: skip


def draw_figures(
    gathered: study_results.Gathered, folder: Path
) -> list[content.Picture]:
    """The paper's comparisons and the training curves."""
    drawn = []
    numbers = PAPER_FIGURES.get(gathered.site.name)
    for task, number in zip(("dose", "contours"), numbers or (0, 0), strict=True):
        cases = _cases(gathered, task)
        if not cases:
            continue
        head = f"Figure {number}: " if number else ""
        name = f"figure{number}-{task}.png" if number else f"{task}.png"
        path = folder / name
        if task == "dose":
            title = f"{head}best, median and worst dose by mean absolute error"
            alt = "CT, reference dose, each role's dose and its error, a patient a row"
            role_comparison.draw_doses(path, cases, site=gathered.site, title=title)
        else:
            title = f"{head}best, median and worst contours by mean Dice"
            alt = "CT with reference contours and each role's contours as outlines"
            names = gathered.structures
            role_comparison.draw_contours(
                path, cases, site=gathered.site, names=names, title=title
            )
        drawn.append(content.Picture(title, "", alt, path))
    path = folder / "training.png"
    training_curves.draw_comparison(
        path,
        {
            study_results.label(role): writers.read_json_lines(
                job.workdir / "metrics.jsonl"
            )
            for role, job in gathered.first.items()
        },
    )
    title = "Losses, weights of the tasks (DWA) and gammas"
    alt = "Curves over the steps of training, for each role"
    return [*drawn, content.Picture(title, "", alt, path)]


def _cases(
    gathered: study_results.Gathered, task: roles.Task
) -> list[role_comparison.Case]:
    """Best, median and worst patient; none where no role does `task`."""
    ranking = gathered.ranking(task)
    doing = [name for name in gathered.first if task in roles.get(name).tasks]
    scores = {study_results.label(name): gathered.scores(name) for name in doing}
    cases = []
    for place, patient_id in role_comparison.choose_cases(
        ranking, lower_is_better=task == "dose"
    ):
        patient = gathered.patient(patient_id)
        own = {label: by_patient[patient_id] for label, by_patient in scores.items()}
        cases.append(
            role_comparison.Case(
                place,
                patient,
                {
                    study_results.label(n): gathered.prediction(n, patient)
                    for n in doing
                },
                mae_gy={
                    label: score.dose_error_gy
                    for label, score in own.items()
                    if score.dose_error_gy is not None
                },
                dice={label: score.dice for label, score in own.items()},
            )
        )
    return cases


def curves(
    patient: records.Patient,
    predictions: Mapping[str, records.PredictedVolumes],
    site: sites.Site,
) -> Curves:
    """Histograms of the reference ("") and of each role's dose, by structure."""
    doses = {"": patient.dose_gy}
    doses |= {role: one.dose_gy for role, one in predictions.items()}
    drawn = {n: mask for n, mask in patient.structures.items() if mask.any()}
    return {
        role: {
            name: dvh.curve(*dvh.inside(drawn[name], dose_gy))
            for name in site.names
            if name in drawn
        }
        for role, dose_gy in doses.items()
        if dose_gy is not None
    }


def draw_histograms(gathered: study_results.Gathered, folder: Path) -> list[Path]:
    """A DVH plot for each patient with a dose; where they are."""
    paths = []
    for patient_id in tqdm(gathered.patients, desc="DVH plots", unit="pt"):
        patient = gathered.patient(patient_id)
        found = curves(patient, gathered.predictions(patient), gathered.site)
        if len(found) > 1 and "" in found:
            reference = found.pop("")
            dvh_plot.draw(
                folder / f"{patient_id}.png",
                reference=reference,
                predictions=found,
                site=gathered.site,
                title=f"Patient {patient_id}",
            )
            paths.append(folder / f"{patient_id}.png")
    return paths


def only(written: Collection[Path], folder: Path, parts: Sequence[str]) -> None:
    """Remove files of earlier runs from the `parts` of `folder`."""
    for part in parts:
        for path in (folder / part).glob("*"):
            if path not in written:
                path.unlink()


def write_submissions(gathered: study_results.Gathered, folder: Path) -> list[Path]:
    """A submission to the OpenKBP challenge for each role that predicts the dose."""
    if not openkbp.applies(gathered.site):
        return []
    paths = []
    for role in gathered.first:
        if "dose" not in roles.get(role).tasks:
            continue
        path = folder / f"{role}.zip"
        try:
            openkbp_csv.write(_doses(gathered, role), path)
        except errors.RecordError as error:  # not the challenge's patients
            logger.warning("no submission of %s: %s", role, error)
            continue
        paths.append(path)
    return paths


def _doses(
    gathered: study_results.Gathered, role: str
) -> Iterator[tuple[str, np.ndarray]]:
    for patient_id in tqdm(gathered.patients, desc=f"submission, {role}", unit="pt"):
        patient = gathered.patient(patient_id)
        dose_gy = gathered.prediction(role, patient).dose_gy
        assert dose_gy is not None
        yield patient_id, dose_gy
