"""The contours that `seq_auto` takes in: drawn by trained `contour` runs, once.

In: the working directories of those runs. Out: a file for each patient of each split,
kept in the run that drew it under the digest of its checkpoint. Whatever the split,
what comes out was drawn from the CT alone.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

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
    whole = Path(config.data.contours_from or home.with_name("contour"))
    folds = config.data.contour_folds
    return [whole, *(fold_workdir(whole, k, folds) for k in range(folds))]


def provide(
    config: ml_collections.ConfigDict, data: prepared.Prepared, home: Path
) -> Files:
    """The contours that a run of `config` in `home` takes in, drawn if need be.

    Raises:
        WorkdirError: a run that should draw is not there, not finished, of other data
            or structures, or no longer the one that this run began with.
    """
    if not (folders := sources(config, home)):
        return {}
    whole, *folds = [_finished(folder, config, data) for folder in folders]
    files = {name: _draw(whole, name) for name in data.splits}
    for number, run in enumerate(folds):
        if tuple(run.config.data.left_out_fold) != (number, len(folds)):
            raise errors.WorkdirError(
                f"{run.workdir} was trained with data.left_out_fold = "
                f"{tuple(run.config.data.left_out_fold)}, expected "
                f"({number}, {len(folds)}): delete it and train it again"
            )
        files["train"] |= _draw(run, "train", only=run.left_out)
    _same_as_before(home, [_key(run) for run in (whole, *folds)])
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
    run = runs.Run(
        configs.check(configs.unflatten(workdir.read_json(folder / "config.json"))),
        data,
        folder,
    )
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


def _key(run: runs.Run) -> str:
    """What the contours depend on, in short: network, data, and what is done after."""
    settings = run.config.evaluate
    what = {
        "checkpoint": trained.digest(run),
        "data": run.data.fingerprint,
        "threshold": settings.contour_threshold,
        "largest_component": settings.largest_component,
        "mirror": settings.mirror,
    }
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]


def _draw(
    run: runs.Run, name: str, only: tuple[int, ...] | None = None
) -> dict[str, Path]:
    """A file for each patient of split `name`, or for those at the positions `only`."""
    folder = run.workdir / "contours" / _key(run) / name
    patients = run.split(name).patients
    wanted = range(len(patients)) if only is None else only
    files = {i: folder / f"{patients[i].patient_id}.npy" for i in wanted}
    rules = evaluate.Rules.of(run.config)
    missing = [i for i, path in files.items() if not path.exists()]
    for index, prediction in trained.predictions(run, name, missing):
        predicted.save(rules.contours(prediction)[""], run.site, files[index])
    return {patients[i].patient_id: path for i, path in files.items()}


def _same_as_before(home: Path, keys: list[str]) -> None:
    """Note in `home` whose contours its run takes in; an error if others were noted."""
    path = home / "contours.json"
    if path.exists() and (before := workdir.read_json(path)) != keys:
        raise errors.WorkdirError(
            f"{home} began with contours {', '.join(before)}, and now the `contour` "
            f"runs give {', '.join(keys)}: they were trained again, or are evaluated "
            "differently; delete the directory, or bring the earlier runs back"
        )
    workdir.write_json(keys, path)
