"""The `contour` runs that draw for `seq_auto`: where they are, and which checkpoint.

In: a run's configuration and working directory. Out: folders, and what the run's own
checkpoints say of the network that drew for it.
"""

from pathlib import Path
from typing import Any

import ml_collections

from mtl_jax.core import roles
from mtl_jax.run import workdir
from mtl_jax.train import checkpoint

# Where a run notes what each of its `sources` drew with, in their order.
BASES = "contours.json"
# What of `evaluate` a network's contours depend on.
SETTINGS = ("contour_threshold", "largest_component", "mirror")


def fold_workdir(whole: Path, fold: int, folds: int) -> Path:
    """Where the run lives that was trained without fold `fold` of `folds`."""
    return whole.with_name(f"{whole.name}-fold{fold}of{folds}")


def sources(config: ml_collections.ConfigDict, home: Path) -> list[Path]:
    """Working directories that draw for a run in `home`: the whole run, then folds."""
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
    """The checkpoint that draws for patients the run in `home` was not trained on.

    Its folder, and its JSON item, in whose configuration stands what it drew with. It
    is the whole run's: folds draw for training patients only. None of a role that takes
    in no drawn contours.
    """
    folders = sources(config, home)
    if not folders:
        return None
    basis = workdir.read_json(home / BASES)[0]
    folder = folders[0] / "checkpoints" / str(basis["step"])
    run = checkpoint.read_run(folder)
    drew_with = {f"evaluate.{name}": basis[name] for name in SETTINGS}
    return folder, run | {"config": run["config"] | drew_with}
