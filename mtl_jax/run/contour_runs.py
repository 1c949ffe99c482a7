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

# Where a run records which checkpoint and settings made its contours, by contour run.
BASES = "contours.json"
# The keys of `evaluate` that a network's contours depend on.
SETTINGS = ("contour_threshold", "largest_component", "mirror")


def fold_workdir(whole: Path, fold: int, folds: int) -> Path:
    """The working directory of the run trained without fold `fold` of `folds`."""
    return whole.with_name(f"{whole.name}-fold{fold}of{folds}")


def workdirs(config: ml_collections.ConfigDict, home: Path) -> list[Path]:
    """Working directories of the contour runs of a run in `home`: whole, then folds."""
    contoured_by = roles.get(config.role).input.contoured_by
    if contoured_by is None:
        return []
    given = config.data.contours_from
    whole = Path(given).expanduser() if given else home.with_name(contoured_by)
    folds = config.data.contour_folds
    return [whole, *(fold_workdir(whole, k, folds) for k in range(folds))]


def checkpoint_of(
    config: ml_collections.ConfigDict, home: Path
) -> tuple[Path, dict[str, Any]] | None:
    """The contour checkpoint for patients that the run in `home` was not trained on.

    Its folder, and its JSON item with the settings that the contours were made with. It
    is the whole run's, as folds serve training patients only. None if the role takes in
    no predicted contours.
    """
    folders = workdirs(config, home)
    if not folders:
        return None
    basis = workdir.read_json(home / BASES)[0]
    folder = folders[0] / "checkpoints" / str(basis["step"])
    run = checkpoint.read_run(folder)
    settings = {f"evaluate.{name}": basis[name] for name in SETTINGS}
    return folder, run | {"config": run["config"] | settings}
