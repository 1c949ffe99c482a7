"""Which runs a study is made of, what each of them still lacks, and doing it.

A study's home holds a working directory for each role (`multi`; `multi-seed1` for other
seeds than the configuration's own), so that runs of `mtl_jax.main` are taken over.
"""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import ml_collections

from mtl_jax.core import config as configs
from mtl_jax.core import errors, locks, roles
from mtl_jax.datasets import prepared
from mtl_jax.run import (
    contour_network,
    input_contours,
    model_card,
    results,
    stopping,
    wiring,
    workdir,
)
from mtl_jax.train import writers

logger = logging.getLogger(__name__)

PAPER = ("contour", "baseline", "seq_human", "seq_auto", "multi")


@dataclasses.dataclass(frozen=True)
class Job:
    """One run of a study."""

    config: ml_collections.ConfigDict
    workdir: Path

    @property
    def role(self) -> roles.Role:
        return roles.get(self.config.role)

    @property
    def is_fold(self) -> bool:
        """Whether it only draws contours for another run."""
        return self.config.data.left_out_fold[1] > 0

    def run(self, data: prepared.Prepared) -> wiring.Run:
        """The run on `data`; contours that it takes in are drawn if need be."""
        drawn = input_contours.provide(self.config, data, self.workdir)
        workdir.claim(self.workdir, self.config, data.fingerprint)
        return wiring.Run(self.config, data, self.workdir, drawn)


def jobs(
    config: ml_collections.ConfigDict,
    wanted: Sequence[str],
    seeds: Sequence[int],
    home: Path,
) -> list[Job]:
    """The runs of the roles `wanted`, each after those that it needs.

    Contours come from the study's own runs, or from data.contours_from if that is set.

    Raises:
        ConfigError: a role that does not exist, none, or a fold that is left out.
    """
    chosen = {roles.get(name).name for name in wanted}
    if not chosen:
        raise errors.ConfigError(f"no roles; there are {', '.join(roles.ROLES)}")
    if any(config.data.left_out_fold):
        raise errors.ConfigError(
            "data.left_out_fold is for single runs; a study has data.contour_folds"
        )
    takes_drawn = {n for n in chosen if roles.get(n).beside_ct == "predicted"}
    given, folds = config.data.contours_from, config.data.contour_folds
    if takes_drawn and not given:
        chosen.add("contour")
    found = []
    for seed in seeds:
        suffix = "" if seed == config.seed else f"-seed{seed}"
        whole = home / f"contour{suffix}"
        for name in roles.ROLES:  # `contour` comes first
            if name not in chosen:
                continue
            own = _changed(config, role=name, seed=seed)
            where = home / f"{name}{suffix}"
            if name in takes_drawn:
                own.data.contours_from = given or str(whole)
                if folds:
                    where = home / f"{name}-folds{folds}{suffix}"
            else:
                own.data.contours_from, own.data.contour_folds = "", 0
            found.append(Job(wiring.check(own), where))
            if name == "contour" and takes_drawn and not given:
                found += _folds(own, folds, whole)
    return found


def _folds(config: ml_collections.ConfigDict, folds: int, whole: Path) -> list[Job]:
    """Contour runs that each leave a fold of the training patients out."""
    found = []
    for fold in range(folds):
        own = _changed(config)
        own.data.left_out_fold = (fold, folds)
        where = contour_network.fold_workdir(whole, fold, folds)
        found.append(Job(wiring.check(own), where))
    return found


def _changed(
    config: ml_collections.ConfigDict, **values: object
) -> ml_collections.ConfigDict:
    copy = configs.unflatten(configs.flatten(config))
    copy.update(values)
    return copy


def finish(
    job: Job, data: prepared.Prepared, beside: Mapping[str, results.Yardsticks]
) -> None:
    """Train and evaluate what `job` still lacks, alone in its working directory.

    `beside` has the yardsticks' rows of each split.
    """
    with locks.held(job.workdir, "give the study another --workdir"):
        _finish(job, data, beside)


def _finish(
    job: Job, data: prepared.Prepared, beside: Mapping[str, results.Yardsticks]
) -> None:
    run = job.run(data)
    with stopping.noted() as asked:
        run.train(asked)
    model_card.write(run)
    splits = () if job.is_fold else job.config.evaluate.splits
    for split in splits:
        if not results.is_current(run, split):
            fitting = results.for_tasks(beside[split], run.role.tasks)
            results.evaluate_split(run, split, fitting)
    folder = run.workdir / "evaluation"
    undrawn = [split for split in splits if not (folder / f"{split}.png").exists()]
    if undrawn:
        results.curves(run)
    for split in undrawn:
        results.picture(run, split)
    model_card.write(run)  # with the results


def state(job: Job) -> str:
    """What there is of `job`, what would be done, and how long it took last time."""
    rows = writers.read_json_lines(job.workdir / "metrics.jsonl")
    logged = [row for row in rows if "loss/total" in row]
    steps = logged[-1]["step"] if logged else 0
    seconds = sum(row["seconds"] for row in logged)
    wanted = job.config.train.steps
    text = f"{steps} of {wanted} steps trained"
    if not wanted:
        text = f"{steps} steps of {job.config.train.epochs} epochs trained"
    if logged:
        text += f" in {duration(seconds)}"
    evaluations = {
        split: path
        for split in job.config.evaluate.splits
        if (path := job.workdir / "evaluation" / f"{split}.json").exists()
    }
    if evaluations:
        found = [workdir.read_json(path) for path in evaluations.values()]
        taken = duration(sum(each.get("seconds", 0) for each in found))
        text += f"; {', '.join(evaluations)} evaluated in {taken}"
    elif job.is_fold:
        text += "; draws contours only"
    else:
        text += "; not evaluated"
    return text


def duration(seconds: float) -> str:
    """Hours and minutes, or minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def parse_seeds(text: str) -> tuple[int, ...]:
    """The seeds in `text`, such as "0,1,2"; a ConfigError if it holds anything else."""
    try:
        seeds = tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        seeds = ()
    if not seeds or min(seeds) < 0:
        raise errors.ConfigError(f"--seeds is {text!r}: give numbers such as 0,1,2")
    return seeds
