"""The contours that `seq_auto` takes in: drawn by trained `contour` runs, once.

In: the working directories of those runs. Out: a file for each patient of each split,
kept in the run that drew it under a key of its checkpoint and of what was done after
the network. A run keeps to the contours that it began with. Whatever the split, what
comes out was drawn from the CT alone.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections

from mtl_jax.core import config as configs
from mtl_jax.core import errors, roles
from mtl_jax.datasets import prepared
from mtl_jax.pipeline import predicted
from mtl_jax.study import evaluate, runs, trained, workdir

# Files by split and patient.
Files = Mapping[str, Mapping[str, Path]]


def fold_workdir(whole: Path, fold: int, folds: int) -> Path:
    """Where the run lives that was trained without fold `fold` of `folds`."""
    return whole.with_name(f"{whole.name}-fold{fold}of{folds}")


def sources(config: ml_collections.ConfigDict, home: Path) -> list[Path]:
    """Working directories that draw for a run in `home`: the whole run, then folds."""
    if roles.get(config.role).beside_ct != "predicted":
        return []
    given = config.data.contours_from
    whole = Path(given).expanduser() if given else home.with_name("contour")
    folds = config.data.contour_folds
    return [whole, *(fold_workdir(whole, k, folds) for k in range(folds))]


def provide(
    config: ml_collections.ConfigDict, data: prepared.Prepared, home: Path
) -> Files:
    """The contours that a run of `config` in `home` takes in, drawn if need be.

    Raises:
        WorkdirError: a run that should draw is not there, not finished, of other data
            or structures, or no longer the one that the run in `home` began with.
    """
    if not (folders := sources(config, home)):
        return {}
    drawing = [_finished(folder, config, data) for folder in folders]
    bases = _bases(home, drawing)
    (whole, basis), *folds = zip(drawing, bases, strict=True)
    files = {
        name: _draw(whole, basis, name, only=() if folds and name == "train" else None)
        for name in data.splits
    }
    for number, (run, basis) in enumerate(folds):
        if tuple(run.config.data.left_out_fold) != (number, len(folds)):
            raise errors.WorkdirError(
                f"{run.workdir} was trained with data.left_out_fold = "
                f"{tuple(run.config.data.left_out_fold)}, expected "
                f"({number}, {len(folds)}): delete it and train it again"
            )
        files["train"] |= _draw(run, basis, "train", only=run.left_out)
    workdir.write_json(bases, home / "contours.json")
    return files


def _finished(
    folder: Path, config: ml_collections.ConfigDict, data: prepared.Prepared
) -> runs.Run:
    """The trained `contour` run in `folder`."""
    if not (folder / "config.json").exists():
        raise errors.WorkdirError(
            f"role {config.role} takes in the contours of a trained `contour` run, and "
            f"{folder} holds none: train it first (--config=FILE:contour "
            f"--workdir={folder}), or name another in data.contours_from"
        )
    own = configs.unflatten(workdir.read_json(folder / "config.json"))
    own.update({"evaluate": {"metrics": ""}})  # nothing is reported here
    run = runs.Run(configs.check(own), data, folder)
    fingerprint = workdir.read_json(folder / "provenance.json")["data_fingerprint"]
    if "contours" not in run.role.tasks or run.role.beside_ct != "none":
        what = f"is of role {run.role.name}"
    elif fingerprint != data.fingerprint:
        what = f"was trained on other data (fingerprint {fingerprint[:12]})"
    elif tuple(run.config.data.structures) != tuple(config.data.structures):
        what = f"contours {', '.join(run.config.data.structures)}"
    elif not run.finished:
        what = "is not finished"
    else:
        return run
    raise errors.WorkdirError(
        f"the run in {folder} {what}: {config.role} needs a finished `contour` run on "
        "the same data and structures; train that first"
    )


def _bases(home: Path, drawing: list[runs.Run]) -> list[dict[str, Any]]:
    """What each run draws with: what `home` began with, or else what is set now.

    Raises:
        WorkdirError: a checkpoint that `home` began with is there no more.
    """
    path = home / "contours.json"
    if not path.exists():
        return [_basis(run) for run in drawing]
    bases = workdir.read_json(path)
    for run, basis in zip(drawing, bases, strict=True):
        try:
            found = trained.digest(run, basis["step"])
        except errors.CheckpointError:
            found = ""
        if found != basis["checkpoint"]:
            raise errors.WorkdirError(
                f"{home} began with contours of checkpoint {basis['step']} of "
                f"{run.workdir}, which is gone or was trained again: delete {home}, or "
                "bring the earlier run back"
            )
    return bases


def _basis(run: runs.Run) -> dict[str, Any]:
    """What contours depend on: network, data, and what is done after."""
    settings, at_step = run.config.evaluate, trained.step(run)
    return {
        "step": at_step,
        "checkpoint": trained.digest(run, at_step),
        "data": run.data.fingerprint,
        "contour_threshold": settings.contour_threshold,
        "largest_component": settings.largest_component,
        "mirror": settings.mirror,
    }


def _draw(
    run: runs.Run, basis: dict[str, Any], name: str, only: Sequence[int] | None
) -> dict[str, Path]:
    """A file for each patient of split `name`, or for those at the positions `only`."""
    key = hashlib.sha256(json.dumps(basis, sort_keys=True).encode()).hexdigest()[:16]
    folder = run.workdir / "contours" / key / name
    patients = run.split(name).patients
    wanted = range(len(patients)) if only is None else only
    files = {i: folder / f"{patients[i].patient_id}.npy" for i in wanted}
    missing = [i for i, path in files.items() if not path.exists()]
    rules = dataclasses.replace(
        evaluate.Rules.of(run.config),
        contour_threshold=basis["contour_threshold"],
        largest_component=basis["largest_component"],
    )
    for index, prediction in trained.predictions(
        run, name, missing, at_step=basis["step"], mirror=basis["mirror"]
    ):
        predicted.save(rules.drawn(prediction), run.site, files[index])
    return {patients[i].patient_id: path for i, path in files.items()}
