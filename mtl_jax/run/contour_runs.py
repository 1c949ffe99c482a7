"""The `contour` runs that predict input contours for `seq_auto`.

Input: a run's configuration and working directory. Output: the working directories of
its contour runs, and the checkpoint that predicts the contours of new patients.
"""

from pathlib import Path
from typing import Any

import ml_collections

from mtl_jax.core import roles
from mtl_jax.run import workdir
from mtl_jax.train import checkpoint

# File in which a run records the checkpoint and settings of each of its contour runs.
BASES = "contours.json"
# The keys of `evaluate` that a network's contours depend on.
SETTINGS = ("contour_threshold", "largest_component", "mirror")


def settings(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """What a network's contours depend on besides its weights and its input."""
    values = {name: config.evaluate[name] for name in SETTINGS}
    if config.model.contour_head != "softmax":
        return values
    # Without the key, they are an older version's, which cut them at the threshold.
    return values | {"contour_head": "softmax"}


def fold_workdir(full_workdir: Path, fold: int, folds: int) -> Path:
    """Working directory of the run without fold `fold` of `folds`.

    `full_workdir` is that of the run on all training patients.
    """
    return full_workdir.with_name(f"{full_workdir.name}-fold{fold}of{folds}")


def workdirs(config: ml_collections.ConfigDict, run_workdir: Path) -> list[Path]:
    """Working directories of the contour runs of the run in `run_workdir`.

    First that of the run on all training patients, then those of the folds.
    """
    contoured_by = roles.get(config.role).input.contoured_by
    if contoured_by is None:
        return []
    full_workdir = run_workdir.with_name(contoured_by)
    if config.data.contours_from:
        full_workdir = Path(config.data.contours_from).expanduser()
    folds = config.data.contour_folds
    return [
        full_workdir,
        *(fold_workdir(full_workdir, fold, folds) for fold in range(folds)),
    ]


def checkpoint_of(
    config: ml_collections.ConfigDict, run_workdir: Path
) -> tuple[Path, dict[str, Any]] | None:
    """The contour checkpoint for new patients of the run in `run_workdir`.

    Returns its folder, and its JSON item with the settings that the contours were made
    with. It belongs to the run on all training patients: folds serve these only. None
    if the role takes no predicted contours.
    """
    folders = workdirs(config, run_workdir)
    if not folders:
        return None
    basis = workdir.read_json(run_workdir / BASES)[0]
    folder = folders[0] / "checkpoints" / str(basis["step"])
    run = checkpoint.read_run(folder)
    evaluate = {f"evaluate.{name}": basis[name] for name in SETTINGS}
    return folder, run | {"config": run["config"] | evaluate}
