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


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a job is trained and evaluated, read from its working directory."""

    job: Job
    logged: list[dict[str, Any]]  # rows of metrics.jsonl with a training loss
    evaluations: dict[str, Any]  # the summary of each evaluated split

    @classmethod
    def of(cls, job: Job) -> "Progress":
        """The progress of `job`."""
        rows = writers.read_json_lines(job.workdir / "metrics.jsonl")
        folder = job.workdir / "evaluation"
        paths = {name: folder / f"{name}.json" for name in job.config.evaluate.splits}
        return cls(
            job,
            [row for row in rows if "loss/total" in row],
            {n: workdir.read_json(path) for n, path in paths.items() if path.exists()},
        )

    @property
    def steps(self) -> int:
        """How many steps are trained."""
        return self.logged[-1]["step"] if self.logged else 0

    @property
    def finished(self) -> bool:
        """Whether all splits are evaluated; of a fold, whether it is trained."""
        if self.job.is_fold:
            return bool(self.logged) and self.steps == self.job.config.train.steps
        return len(self.evaluations) == len(self.job.config.evaluate.splits)

    @property
    def training_seconds(self) -> float:
        """How long it was trained."""
        return sum(row["seconds"] for row in self.logged)

    @property
    def evaluation_seconds(self) -> float:
        """How long it was evaluated."""
        return sum(each.get("seconds", 0) for each in self.evaluations.values())

    @property
    def text(self) -> str:
        """All of this in words."""
        planned = self.job.config.train.steps
        text = f"{self.steps} of {planned} steps trained"
        if not planned:
            epochs = self.job.config.train.epochs
            text = f"{self.steps} steps of {epochs} epochs trained"
        if self.logged:
            text += f" in {duration(self.training_seconds)}"
        if self.evaluations:
            splits, took = ", ".join(self.evaluations), self.evaluation_seconds
            text += f"; {splits} evaluated in {duration(took)}"
        elif self.job.is_fold:
            text += "; only predicts contours"
        else:
            text += "; not evaluated"
        return text


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
