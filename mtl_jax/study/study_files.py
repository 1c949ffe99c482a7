"""The figures, DVH plots and submissions of a study.

Input: the results of a split. Output: files in the study's folder; equal runs give
equal files.
"""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mtl_jax.core import errors, records, roles, sites
from mtl_jax.export import openkbp_csv
from mtl_jax.figures import (
    calibration_plot,
    differences,
    dvh_plot,
    role_comparison,
    training_curves,
)
from mtl_jax.metrics import calibration, dvh, openkbp
from mtl_jax.report import content
from mtl_jax.study import study_results
from mtl_jax.study.tables import pair_tables
from mtl_jax.train import writers

logger = logging.getLogger(__name__)

# The numbers of the paper's figures of doses and of contours, by site.
PAPER_FIGURES = {"prostate": (2, 3), "openkbp": (4, 5)}
Curves = dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]


def draw_figures(
    split_results: study_results.SplitResults,
    compared: Sequence[pair_tables.Compared],
    folder: Path,
) -> list[content.Picture]:
    """Draw differences of roles, the paper's figures, calibration, training curves."""
    figures = []
    if compared:
        path = folder / "differences.png"
        differences.draw(path, pair_tables.panels(compared))
        title = "What one role gains over another, by structure"
        caption = (
            "Mean differences of the errors over the patients with their 95 % "
            "intervals; filled: significant after correction. The table of this title "
            "has the numbers."
        )
        alt = "Mean differences with intervals, for each pair of roles and structure"
        figures.append(content.Picture(title, caption, alt, path))
    numbers = PAPER_FIGURES.get(split_results.site.name)
    for task, number in zip(("dose", "contours"), numbers or (0, 0), strict=True):
        cases = _cases(split_results, task)
        if not cases:
            continue
        head = f"Figure {number}: " if number else ""
        name = f"figure{number}-{task}.png" if number else f"{task}.png"
        path = folder / name
        if task == "dose":
            title = f"{head}best, median and worst dose by mean absolute error"
            alt = "CT, reference dose, and each role's dose and error, by patient"
            role_comparison.draw_doses(
                path, cases, site=split_results.site, title=title
            )
        else:
            title = f"{head}best, median and worst contours by mean Dice"
            alt = "CT with reference contours and each role's contours as outlines"
            names = split_results.structures
            role_comparison.draw_contours(
                path, cases, site=split_results.site, names=names, title=title
            )
        figures.append(content.Picture(title, "", alt, path))
    figures += _draw_calibration(split_results, folder / "calibration.png")
    path = folder / "training.png"
    training_curves.draw_comparison(
        path,
        {
            study_results.label(role): [
                writers.read_json_lines(job.workdir / "metrics.jsonl")
                for job in split_results.jobs
                if job.role.name == role
            ]
            for role in split_results.first_jobs
        },
    )
    title = "Losses, task weights (DWA) and gammas"
    alt = "Curves over the training steps, for each role"
    return [*figures, content.Picture(title, "", alt, path)]


def _draw_calibration(
    split_results: study_results.SplitResults, path: Path
) -> list[content.Picture]:
    """Draw how well probabilities of contours are calibrated; [] without contours."""
    by_role: dict[str, dict[str, calibration.Reliability]] = {
        role: {}
        for role in split_results.first_jobs
        if "contours" in roles.get(role).tasks
    }
    if not by_role:
        return []
    for patient_id in tqdm(split_results.patient_ids, desc="calibration", unit="pt"):
        patient = split_results.patient(patient_id)
        for role, reliabilities in by_role.items():
            probabilities = split_results.probabilities(role, patient)
            calibration.add(reliabilities, probabilities, patient.structures)
    calibration_plot.draw(
        path,
        {
            study_results.label(role): {n: r.points for n, r in of_role.items()}
            for role, of_role in by_role.items()
        },
        site=split_results.site,
    )
    of_roles = (
        f"{study_results.label(role)} "
        + ", ".join(f"{name} {r.error:.3f}" for name, r in of_role.items())
        for role, of_role in by_role.items()
    )
    caption = (
        "Voxels of all patients with a probability of at least "
        f"{calibration.LEAST:g}, in ten bins. On the diagonal, a voxel is inside as "
        "often as predicted; below it, the network is too sure. Expected calibration "
        f"error: {'; '.join(of_roles)}."
    )
    title = "Calibration of the contours' probabilities"
    alt = "Share of voxels inside each structure over the predicted probability"
    return [content.Picture(title, caption, alt, path)]


def _cases(
    split_results: study_results.SplitResults, task: roles.Task
) -> list[role_comparison.Case]:
    """The best, median and worst patient; empty if no role predicts `task`."""
    ranking = split_results.ranking(task)
    predicting = [
        name for name in split_results.first_jobs if task in roles.get(name).tasks
    ]
    scores = {
        study_results.label(name): split_results.scores(name) for name in predicting
    }
    cases = []
    for rank, patient_id in role_comparison.choose_cases(
        ranking, lower_is_better=task == "dose"
    ):
        patient = split_results.patient(patient_id)
        case_scores = {
            label: by_patient[patient_id] for label, by_patient in scores.items()
        }
        cases.append(
            role_comparison.Case(
                rank,
                patient,
                {
                    study_results.label(n): split_results.prediction(n, patient)
                    for n in predicting
                },
                mae_gy={
                    label: score.dose_error_gy
                    for label, score in case_scores.items()
                    if score.dose_error_gy is not None
                },
                dice={label: score.dice for label, score in case_scores.items()},
            )
        )
    return cases


def dvh_curves(
    patient: records.Patient,
    predictions: Mapping[str, records.PredictedVolumes],
    site: sites.Site,
) -> Curves:
    """Histograms of the reference dose ("") and each role's dose, by structure."""
    doses = {"": patient.dose_gy}
    doses |= {role: prediction.dose_gy for role, prediction in predictions.items()}
    masks = {n: mask for n, mask in patient.structures.items() if mask.any()}
    return {
        role: {
            name: dvh.curve(*dvh.inside(masks[name], dose_gy))
            for name in site.names
            if name in masks
        }
        for role, dose_gy in doses.items()
        if dose_gy is not None
    }


def draw_dvh_plots(
    split_results: study_results.SplitResults, folder: Path
) -> list[Path]:
    """Draw a DVH plot for each patient with a dose; returns the paths."""
    paths = []
    for patient_id in tqdm(split_results.patient_ids, desc="DVH plots", unit="pt"):
        patient = split_results.patient(patient_id)
        curves = dvh_curves(
            patient, split_results.predictions(patient), split_results.site
        )
        if len(curves) > 1 and "" in curves:
            reference = curves.pop("")
            dvh_plot.draw(
                folder / f"{patient_id}.png",
                reference=reference,
                predictions=curves,
                site=split_results.site,
                title=f"Patient {patient_id}",
            )
            paths.append(folder / f"{patient_id}.png")
    return paths


def remove_stale(
    written: Collection[Path], folder: Path, subfolders: Sequence[str]
) -> None:
    """Remove files that are not among `written` from the `subfolders` of `folder`."""
    for subfolder in subfolders:
        for path in (folder / subfolder).glob("*"):
            if path not in written:
                path.unlink()


def write_submissions(
    split_results: study_results.SplitResults, folder: Path
) -> list[Path]:
    """Write an OpenKBP challenge submission for each role that predicts the dose.

    Returns the paths; none for another site.
    """
    if not openkbp.applies(split_results.site):
        return []
    paths = []
    for role in split_results.first_jobs:
        if "dose" not in roles.get(role).tasks:
            continue
        path = folder / f"{role}.zip"
        try:
            openkbp_csv.write(_doses(split_results, role), path)
        except errors.RecordError as error:  # other patients than the challenge's
            logger.warning("no submission of %s: %s", role, error)
            continue
        paths.append(path)
    return paths


def _doses(
    split_results: study_results.SplitResults, role: str
) -> Iterator[tuple[str, np.ndarray]]:
    for patient_id in tqdm(
        split_results.patient_ids, desc=f"submission, {role}", unit="pt"
    ):
        patient = split_results.patient(patient_id)
        dose_gy = split_results.prediction(role, patient).dose_gy
        assert dose_gy is not None
        yield patient_id, dose_gy
