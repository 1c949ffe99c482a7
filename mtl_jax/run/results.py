"""The results of a trained run: predictions of a split, their scores, pictures.

Input: a Run with checkpoints. Output: `predictions/` and `evaluation/` in its workdir.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import trange

from mtl_jax.core import config as configs
from mtl_jax.core import reported_metrics, roles
from mtl_jax.datasets import prepared
from mtl_jax.evaluation import scoring, yardsticks
from mtl_jax.figures import prediction_figure, training_curves
from mtl_jax.inference import volumes
from mtl_jax.run import averaging, predictions, wiring, workdir
from mtl_jax.train import distributed, writers

# Rows of each yardstick, by its name.
Yardsticks = Mapping[str, Sequence[scoring.Row]]


def evaluate_split(
    run: wiring.Run, name: str, yardstick_rows: Yardsticks | None = None
) -> dict[str, Any]:
    """Predict and score split `name`; writes predictions and evaluation files.

    The yardsticks are scored too, unless `yardstick_rows` has their rows by name.
    """
    start = time.monotonic()
    folder = run.workdir / "evaluation"
    for stale in (folder / f"{name}.json", folder / f"{name}.png"):
        if distributed.is_first():
            stale.unlink(missing_ok=True)  # a stopped evaluation leaves none
    rules = scoring.Rules.of(run.config)
    split = run.split(name)
    rows, also = [], averaging.runs(run)
    for index, prediction in predictions.predict_split(run, name, also=also):
        if not distributed.is_first():
            continue  # its share of the slices is done
        patient = split.volume(index)
        path = prediction_path(run.workdir, name, patient.patient_id)
        volumes.save(prediction, path)
        rows += scoring.score(patient, prediction, rules)

    def finish() -> dict[str, Any]:
        by_yardstick = yardstick_rows
        if by_yardstick is None:
            structures, tasks = run.config.data.structures, run.role.tasks
            train = run.split("train")
            by_yardstick = score_yardsticks(train, split, rules, structures, tasks)
        summary = _basis(run, name, also) | scoring.summarise(rows, run.site)
        summary["yardsticks"] = {
            key: scoring.summarise(scored, run.site)
            for key, scored in by_yardstick.items()
        }
        for key, scored in by_yardstick.items():
            scoring.write_csv(scored, folder / "yardsticks" / name / f"{key}.csv")
        scoring.write_csv(rows, rows_path(run.workdir, name))
        summary["seconds"] = time.monotonic() - start
        workdir.write_json(summary, folder / f"{name}.json")
        return summary

    return distributed.once(finish)


def _basis(run: wiring.Run, name: str, also: Sequence[wiring.Run]) -> dict[str, Any]:
    """What an evaluation depends on, apart from the data, which the run is bound to.

    `also`: the runs whose predictions are averaged with those of `run`.
    """
    settings = configs.flatten(run.config.evaluate)
    # These change no result of a checkpoint.
    del settings["splits"], settings["batch_size"], settings["best_patients"]
    # What they hold counts, not their names; evaluations without them lack the key.
    del settings["also"]
    if also:
        settings["also"] = sorted(map(_evaluated_digest, also))
    if run.config.model.contour_head == "softmax":
        # Its contours need no threshold; evaluations that cut them at one are stale.
        settings["contour_threshold"] = None
    if run.config.evaluate.metrics:
        template = scoring.Rules.of(run.config).template
        settings["metrics"] = reported_metrics.render(template, run.site)
    return {
        "split": name,
        "step": predictions.evaluated_step(run),
        "checkpoint": _evaluated_digest(run),
        "settings": settings,
    }


def _evaluated_digest(run: wiring.Run) -> str:
    """The digest of the checkpoint that is evaluated."""
    return predictions.checkpoint_digest(run, predictions.evaluated_step(run))


def is_current(run: wiring.Run, name: str) -> bool:
    """Whether the evaluation of split `name` is complete and up to date."""
    path = run.workdir / "evaluation" / f"{name}.json"
    needed = [path, rows_path(run.workdir, name)]
    for entry in run.data.splits[name].patients:
        needed.append(prediction_path(run.workdir, name, entry.patient_id))
    if not all(file.exists() for file in needed):
        return False
    stored, basis = workdir.read_json(path), _basis(run, name, averaging.runs(run))
    for settings in (stored.get("settings", {}), basis["settings"]):
        # The comments list all metrics there are, not those that were computed.
        text = settings.get("metrics", "")
        settings["metrics"] = reported_metrics.without_comments(text)
    return {key: stored.get(key) for key in basis} == basis


def for_tasks(by_yardstick: Yardsticks, tasks: Collection[roles.Task]) -> Yardsticks:
    """The rows of the yardsticks that predict one of `tasks`."""
    return {
        name: rows
        for name, rows in by_yardstick.items()
        if yardsticks.TABLE[name].task in tasks
    }


def prediction_path(folder: Path, name: str, patient_id: str) -> Path:
    """Path in the workdir `folder` of a patient's prediction, in split `name`."""
    return folder / "predictions" / name / f"{patient_id}.npz"


def rows_path(folder: Path, name: str) -> Path:
    """Path in the workdir `folder` of the evaluation's rows of split `name`."""
    return folder / "evaluation" / f"{name}.csv"


def score_yardsticks(
    train: prepared.Split,
    split: prepared.Split,
    rules: scoring.Rules,
    structures: Sequence[str],
    tasks: Collection[roles.Task],
) -> Yardsticks:
    """Rows of the yardsticks for `tasks`, fitted on `train`, scored on `split`."""
    rules = rules.of_yardsticks
    fitted = yardsticks.fit(train, rules.site, structures, on=split)
    chosen = {n: y for n, y in fitted.items() if yardsticks.TABLE[n].task in tasks}
    rows: dict[str, list[scoring.Row]] = {name: [] for name in chosen}
    progress = trange(len(split.patients), desc=f"yardsticks, {split.name}", unit="pt")
    for index in progress if chosen else ():
        patient = split.volume(index)
        for name, yardstick in chosen.items():
            rows[name] += scoring.score(patient, yardstick.predict(patient), rules)
    return rows


def draw_training_curves(run: wiring.Run) -> Path:
    """Draw the losses and weights over the steps; the picture's path."""
    path = run.workdir / "evaluation" / "training.png"
    rows = writers.read_json_lines(run.workdir / "metrics.jsonl")
    training_curves.draw(path, rows)
    return path


def draw_median_patient(run: wiring.Run, name: str) -> Path:
    """Draw the patient of split `name` with the median rank; the picture's path."""
    scores = scoring.scores(scoring.read_csv(rows_path(run.workdir, name)))
    chosen = sorted(scores, key=lambda patient: scores[patient].rank)[len(scores) // 2]
    ids = [entry.patient_id for entry in run.split(name).patients]
    patient = run.split(name).volume(ids.index(chosen))
    prediction = volumes.read(prediction_path(run.workdir, name, chosen))
    volume = scoring.Rules.of(run.config).as_configured(patient, prediction)
    path = run.workdir / "evaluation" / f"{name}.png"
    prediction_figure.draw(
        path,
        patient,
        site=run.site,
        contours=volume.contours or None,
        dose_gy=volume.dose_gy,
        dice=scores[chosen].dice,
        mae_gy=scores[chosen].dose_error_gy,
        title=f"{run.role.paper_name or run.role.name}, patient {chosen}",
        rows=3,
    )
    return path
