"""The input contours of `seq_auto`, predicted once by trained `contour` runs.

Input: the working directories of those runs. Output: a file for each patient of each
split, kept in the contour run under a key of its checkpoint and of the settings after
the network. A run keeps the contours that it began with. In every split they were
predicted from the CT alone.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections

from mtl_jax.core import config as configs
from mtl_jax.core import errors, files, locks
from mtl_jax.datasets import prepared
from mtl_jax.evaluation import scoring
from mtl_jax.pipeline import predicted_contours
from mtl_jax.run import contour_runs, predictions, wiring, workdir
from mtl_jax.train import distributed

# Files by split and patient.
Files = Mapping[str, Mapping[str, Path]]


def prepare(
    config: ml_collections.ConfigDict, data: prepared.Prepared, home: Path
) -> Files:
    """The input contours of a run of `config` in `home`, predicted if missing.

    Raises:
        WorkdirError: a contour run is missing, not finished, has other data or
            structures, or is no longer the one that the run in `home` began with.
    """
    if not (folders := contour_runs.workdirs(config, home)):
        return {}
    finished = [_finished(folder, config, data) for folder in folders]
    bases = _bases(home, finished)
    (whole, basis), *folds = zip(finished, bases, strict=True)
    files = {
        name: _predict(
            whole, basis, name, only=() if folds and name == "train" else None
        )
        for name in data.splits
    }
    for number, (run, basis) in enumerate(folds):
        if tuple(run.config.data.left_out_fold) != (number, len(folds)):
            raise errors.WorkdirError(
                f"{run.workdir} was trained with data.left_out_fold = "
                f"{tuple(run.config.data.left_out_fold)}, expected "
                f"({number}, {len(folds)}): delete it and train it again"
            )
        files["train"] |= _predict(run, basis, "train", only=run.left_out)
    distributed.once(lambda: workdir.write_json(bases, home / contour_runs.BASES))
    _check_shared(files)
    return files


def _check_shared(files: Files) -> None:
    """Raise WorkdirError in all processes if one of them does not see the `files`."""
    absent = [p for split in files.values() for p in split.values() if not p.exists()]
    seen = distributed.exchange(str(absent[0]) if absent else "")
    for number, path in enumerate(seen):
        if path:
            raise errors.WorkdirError(
                f"process {number} cannot find {path}, but every process reads the "
                "predicted contours: put the working directories on a disk that all "
                "machines share"
            )


def _finished(
    folder: Path, config: ml_collections.ConfigDict, data: prepared.Prepared
) -> wiring.Run:
    """The trained `contour` run in `folder`."""
    if not (folder / "config.json").exists():
        raise errors.WorkdirError(
            f"role {config.role} needs the contours of a trained `contour` run, but "
            f"{folder} holds none: train it first (--config=FILE:contour "
            f"--workdir={folder}), or name another run in data.contours_from"
        )
    stored = workdir.read_json(folder / "config.json")
    own = configs.unflatten(stored)
    own.update({"evaluate": {"metrics": ""}})  # no metric is reported here
    run = wiring.Run(configs.check(own), data, folder)
    fingerprint = workdir.read_json(folder / "provenance.json")["data_fingerprint"]
    if not run.role.contours_ct_alone:
        reason = f"has the role {run.role.name}"
    elif fingerprint != data.fingerprint:
        reason = f"was trained on other data (fingerprint {fingerprint[:12]})"
    elif tuple(run.config.data.structures) != tuple(config.data.structures):
        reason = f"contours {', '.join(run.config.data.structures)}"
    elif not run.finished:
        reason = "is not finished"
    else:
        return run
    raise errors.WorkdirError(
        f"the run in {folder} {reason}, but {config.role} needs a finished `contour` "
        "run on the same data and structures: train that first"
    )


def _bases(home: Path, finished: list[wiring.Run]) -> list[dict[str, Any]]:
    """What each run's contours depend on: as `home` began, or else as set now.

    Raises:
        WorkdirError: a checkpoint that `home` began with is gone.
    """
    path = home / contour_runs.BASES
    if not distributed.once(path.exists):
        return [_basis(run) for run in finished]
    bases = workdir.read_json(path)
    for run, basis in zip(finished, bases, strict=True):
        try:
            digest = predictions.checkpoint_digest(run, basis["step"])
        except errors.CheckpointError:
            digest = ""
        if digest != basis["checkpoint"]:
            raise errors.WorkdirError(
                f"{home} started with contours of checkpoint {basis['step']} of "
                f"{run.workdir}, which is gone or was trained again: delete {home}, or "
                "restore the earlier run"
            )
    return bases


def _basis(run: wiring.Run) -> dict[str, Any]:
    """What a run's contours depend on: checkpoint, data, settings after the network."""
    step = predictions.evaluated_step(run)
    return {
        "step": step,
        "checkpoint": predictions.checkpoint_digest(run, step),
        "data": run.data.fingerprint,
        **contour_runs.settings(run.config),
    }


def _predict(
    run: wiring.Run, basis: dict[str, Any], name: str, only: Sequence[int] | None
) -> dict[str, Path]:
    """A file for each patient of split `name`, or for those at the positions `only`."""
    key = files.json_digest(basis)[:16]
    folder = run.workdir / "contours" / key / name
    patients = run.split(name).patients
    wanted = range(len(patients)) if only is None else only
    paths = {i: folder / f"{patients[i].patient_id}.npy" for i in wanted}
    if distributed.once(lambda: not all(path.exists() for path in paths.values())):
        advice = "name another run in data.contours_from"
        lock = locks.held(run.workdir / "contours", advice, wait=True)
        with distributed.in_first_process(lock):
            _predict_missing(run, basis, name, paths)
    return {patients[i].patient_id: path for i, path in paths.items()}


def _predict_missing(
    run: wiring.Run, basis: dict[str, Any], name: str, files: Mapping[int, Path]
) -> None:
    """Write the missing ones of `files`, by position in split `name`."""
    missing = distributed.once(lambda: [i for i, p in files.items() if not p.exists()])
    rules = dataclasses.replace(
        scoring.Rules.of(run.config),
        contour_threshold=basis["contour_threshold"],
        largest_component=basis["largest_component"],
    )
    for index, prediction in predictions.predict_split(
        run, name, missing, step=basis["step"], mirror=basis["mirror"]
    ):
        if not distributed.is_first():
            continue
        predicted_contours.save(rules.masks(prediction), run.site, files[index])
