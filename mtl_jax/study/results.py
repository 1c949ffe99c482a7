"""What a trained run is worth: predictions of a split, their scores, a picture.

In: a Run with checkpoints. Out: `predictions/` and `evaluation/` of its workdir.
"""

from pathlib import Path
from typing import Any

import numpy as np

from mtl_jax.core import records
from mtl_jax.inference import volumes
from mtl_jax.study import evaluate, figures, runs, trained, workdir, yardsticks
from mtl_jax.train import writers


def evaluate_split(run: runs.Run, name: str) -> dict[str, Any]:
    """Predict and score split `name`; writes predictions and evaluation files."""
    at_step = trained.step(run)
    rules = evaluate.Rules(
        site=run.site,
        contour_threshold=run.config.evaluate.contour_threshold,
        apply_possible_dose_mask=run.config.evaluate.apply_possible_dose_mask,
    )
    mean_map = None
    if "dose" in run.role.tasks:
        mean_map = yardsticks.MeanDoseMap.fit(run.split("train"))
    rows, map_rows = [], []
    split = run.split(name)
    for index, prediction in trained.predictions(run, name):
        patient = split.volume(index)
        path = run.workdir / "predictions" / name / f"{patient.patient_id}.npz"
        volumes.save(prediction, path)
        rows += evaluate.score(patient, prediction, rules)
        if mean_map is not None:
            zero_information = volumes.Prediction(
                patient.grid, mean_map.dose_gy, None, ()
            )
            map_rows += evaluate.score(patient, zero_information, rules)
    summary = {"split": name, "step": at_step} | evaluate.summarise(rows)
    summary["yardsticks"] = {}
    if mean_map is not None:
        summary["yardsticks"]["mean_dose_map"] = evaluate.summarise(map_rows)
    evaluate.write_csv(rows, run.workdir / "evaluation" / f"{name}.csv")
    workdir.write_json(summary, run.workdir / "evaluation" / f"{name}.json")
    return summary


def curves(run: runs.Run) -> Path:
    """Draw the losses and weights over the steps; where they are."""
    path = run.workdir / "evaluation" / "training.png"
    rows = writers.read_json_lines(run.workdir / "metrics.jsonl")
    figures.training_curves_figure(path, rows)
    return path


def picture(run: runs.Run, name: str) -> Path:
    """Draw the patient of split `name` in the middle of the ranking; where it is."""
    folder = run.workdir / "evaluation"
    scores = evaluate.scores(evaluate.read_csv(folder / f"{name}.csv"))
    chosen = sorted(scores, key=lambda patient: scores[patient].rank)[len(scores) // 2]
    ids = [entry.patient_id for entry in run.split(name).patients]
    patient = run.split(name).volume(ids.index(chosen))
    prediction = volumes.read(run.workdir / "predictions" / name / f"{chosen}.npz")
    contours = None
    if prediction.contours is not None:
        drawn = prediction.contours >= run.config.evaluate.contour_threshold
        contours = dict(zip(prediction.structures, drawn, strict=True))
    path = folder / f"{name}.png"
    figures.prediction_figure(
        path,
        patient,
        site=run.site,
        contours=contours,
        dose_gy=_masked(run, prediction.dose_gy, patient),
        dice=scores[chosen].dice,
        mae_gy=scores[chosen].dose_error_gy,
        title=f"{run.role.paper_name or run.role.name}, patient {chosen}",
        rows=3,
    )
    return path


def _masked(
    run: runs.Run, dose_gy: np.ndarray | None, patient: records.Patient
) -> np.ndarray | None:
    mask = patient.possible_dose_mask
    if dose_gy is None or mask is None:
        return dose_gy
    if not run.config.evaluate.apply_possible_dose_mask:
        return dose_gy
    return np.where(mask, dose_gy, np.float32(0))
