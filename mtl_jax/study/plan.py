"""Plans the runs of a study, and trains and evaluates what is missing.

Input: a configuration, roles and seeds. Output: jobs, and their finished working
directories. Each role has one in the study's folder: `multi`, or `multi-seed1` for a
seed that is not the configuration's. Runs of `mtl_jax.main` in them are reused.
"""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections

from mtl_jax.core import config as configs
from mtl_jax.core import errors, locks, roles
from mtl_jax.datasets import prepared
from mtl_jax.run import (
    contour_runs,
    input_contours,
    model_card,
    results,
    stopping,
    wiring,
    workdir,
)
from mtl_jax.train import writers

logger = logging.getLogger(__name__)

PAPER = roles.in_paper()


@dataclasses.dataclass(frozen=True)
class Job:
    """One run of a study."""

    config: ml_collections.ConfigDict
    workdir: Path

    @property
    def role(self) -> roles.Role:
        """The role that the run trains."""
        return roles.get(self.config.role)

    @property
    def is_fold(self) -> bool:
        """Whether it only predicts contours for another run."""
        return self.config.data.left_out_fold[1] > 0

    def run(self, data: prepared.Prepared) -> wiring.Run:
        """The run on `data`; its input contours are predicted if they are missing."""
        contours = input_contours.prepare(self.config, data, self.workdir)
        workdir.create_or_check(self.workdir, self.config, data.fingerprint)
        return wiring.Run(self.config, data, self.workdir, contours)


def jobs(
    config: ml_collections.ConfigDict,
    role_names: Sequence[str],
    seeds: Sequence[int],
    study_folder: Path,
) -> list[Job]:
    """The runs of `role_names` and `seeds`, each after the runs that it needs.

    Input contours come from the study's own runs, or from data.contours_from if it is
    set.

    Raises:
        ConfigError: no role, an unknown role, or a configuration for single
            runs (data.left_out_fold, evaluate.also).
    """
    chosen = {roles.get(name).name for name in role_names}
    if not chosen:
        raise errors.ConfigError(
            f"no roles given; choose from {', '.join(roles.ROLES)}"
        )
    if any(config.data.left_out_fold):
        raise errors.ConfigError(
            "data.left_out_fold is for single runs; a study has data.contour_folds"
        )
    if config.evaluate.also:
        raise errors.ConfigError(
            "evaluate.also is for single runs; a study evaluates each run by itself"
        )
    contour_roles = {n: by for n in chosen if (by := roles.get(n).input.contoured_by)}
    external, folds = config.data.contours_from, config.data.contour_folds
    needed_first = set() if external else set(contour_roles.values())
    chosen |= needed_first
    planned = []
    for seed in seeds:
        suffix = "" if seed == config.seed else f"-seed{seed}"
        for name in sorted(roles.ROLES, key=lambda n: n not in needed_first):
            if name not in chosen:
                continue
            job_config = _changed(config, role=name, seed=seed)
            job_folder = study_folder / f"{name}{suffix}"
            if name in contour_roles:
                contour_folder = study_folder / f"{contour_roles[name]}{suffix}"
                job_config.data.contours_from = external or str(contour_folder)
                if folds:
                    job_folder = study_folder / f"{name}-folds{folds}{suffix}"
            else:
                job_config.data.contours_from = ""
                job_config.data.contour_folds = 0
            planned.append(Job(wiring.check(job_config), job_folder))
            if name in needed_first:
                planned += _fold_jobs(job_config, folds, job_folder)
    return planned


def _fold_jobs(
    config: ml_collections.ConfigDict, folds: int, full_workdir: Path
) -> list[Job]:
    """Contour runs, each without one fold of the training patients."""
    planned = []
    for fold in range(folds):
        job_config = _changed(config)
        job_config.data.left_out_fold = (fold, folds)
        job_folder = contour_runs.fold_workdir(full_workdir, fold, folds)
        planned.append(Job(wiring.check(job_config), job_folder))
    return planned


def _changed(
    config: ml_collections.ConfigDict, **values: object
) -> ml_collections.ConfigDict:
    copy = configs.unflatten(configs.flatten(config))
    copy.update(values)
    return copy


def finish(
    job: Job, data: prepared.Prepared, yardsticks: Mapping[str, results.Yardsticks]
) -> None:
    """Train and evaluate what `job` lacks, with its working directory locked.

    `yardsticks` has the yardsticks' rows by split.
    """
    with locks.held(job.workdir, "give the study another --workdir"):
        _finish(job, data, yardsticks)


def _finish(
    job: Job, data: prepared.Prepared, yardsticks: Mapping[str, results.Yardsticks]
) -> None:
    run = job.run(data)
    with stopping.defer_signals() as stop_requested:
        run.train(stop_requested)
    model_card.write(run)
    splits = () if job.is_fold else job.config.evaluate.splits
    for split in splits:
        if not results.is_current(run, split):
            comparable = results.for_tasks(yardsticks[split], run.role.tasks)
            results.evaluate_split(run, split, comparable)
    folder = run.workdir / "evaluation"
    without = [split for split in splits if not (folder / f"{split}.png").exists()]
    if without:
        results.draw_training_curves(run)
    for split in without:
        results.draw_median_patient(run, split)
    model_card.write(run)  # with the results


def state(job: Job) -> str:
    """How far `job` is trained and evaluated, and how long that took."""
    logged = _logged(job)
    steps = logged[-1]["step"] if logged else 0
    planned = job.config.train.steps
    text = f"{steps} of {planned} steps trained"
    if not planned:
        text = f"{steps} steps of {job.config.train.epochs} epochs trained"
    if logged:
        text += f" in {duration(_training_seconds(logged))}"
    if evaluations := _evaluations(job):
        seconds = _evaluation_seconds(evaluations)
        text += f"; {', '.join(evaluations)} evaluated in {duration(seconds)}"
    elif job.is_fold:
        text += "; only predicts contours"
    else:
        text += "; not evaluated"
    return text


def is_finished(job: Job) -> bool:
    """Whether `job` is evaluated, or is a trained run that only predicts contours."""
    if not job.is_fold:
        return len(_evaluations(job)) == len(job.config.evaluate.splits)
    logged = _logged(job)
    return bool(logged) and logged[-1]["step"] == job.config.train.steps


def seconds_spent(job: Job) -> float:
    """How long `job` has been trained and evaluated."""
    return _training_seconds(_logged(job)) + _evaluation_seconds(_evaluations(job))


def _logged(job: Job) -> list[dict[str, Any]]:
    rows = writers.read_json_lines(job.workdir / "metrics.jsonl")
    return [row for row in rows if "loss/total" in row]


def _training_seconds(logged: Sequence[Mapping[str, Any]]) -> float:
    return sum(row["seconds"] for row in logged)


def _evaluations(job: Job) -> dict[str, Any]:
    """The summary of each evaluated split."""
    folder = job.workdir / "evaluation"
    paths = {split: folder / f"{split}.json" for split in job.config.evaluate.splits}
    return {
        name: workdir.read_json(path) for name, path in paths.items() if path.exists()
    }


def _evaluation_seconds(evaluations: Mapping[str, Any]) -> float:
    return sum(summary.get("seconds", 0) for summary in evaluations.values())


def duration(seconds: float) -> str:
    """Hours and minutes, or minutes and seconds."""
    minutes, remainder = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {remainder} s"
    return f"{minutes // 60} h {minutes % 60} min"


def parse_seeds(text: str) -> tuple[int, ...]:
    """The seeds in `text`, such as "0,1,2"; ConfigError if it is anything else."""
    try:
        seeds = tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        seeds = ()
    if not seeds or min(seeds) < 0:
        raise errors.ConfigError(f"--seeds is {text!r}: give numbers such as 0,1,2")
    return seeds
