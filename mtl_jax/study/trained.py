"""What a trained run says of the patients of a split.

In: a Run with checkpoints. Out: predictions, patient by patient, on their own grids.
"""

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mtl_jax.core import errors
from mtl_jax.inference import volumes
from mtl_jax.study import runs
from mtl_jax.train import checkpoint


def step(run: runs.Run) -> int:
    """The step whose checkpoint the configuration evaluates."""
    with checkpoint.Checkpoints(run.workdir / "checkpoints") as checkpoints:
        if not checkpoints.steps:
            raise errors.CheckpointError(
                f"{run.workdir} has no checkpoint to evaluate: train first"
            )
        chosen = checkpoints.steps[-1]
        if run.config.evaluate.checkpoint == "best":
            chosen = checkpoints.best_step() or chosen
    return chosen


def digest(run: runs.Run, at_step: int) -> str:
    """The digest of a step's checkpoint; a CheckpointError if it is not there."""
    return checkpoint.read_run(_folder(run, at_step))["digest"]


def _folder(run: runs.Run, at_step: int) -> Path:
    return run.workdir / "checkpoints" / str(at_step)


def predictions(
    run: runs.Run,
    name: str,
    only: Collection[int] | None = None,
    *,
    at_step: int | None = None,
    mirror: bool | None = None,
) -> Iterator[tuple[int, volumes.Prediction]]:
    """Yield (position, prediction) of the patients of split `name`, with progress.

    Args:
        run: a trained run.
        name: the split.
        only: the positions that are wanted; the network is loaded if there are any.
        at_step: the checkpoint's step; None: the one that the configuration evaluates.
        mirror: whether to average with the mirror image; None: as configured.
    """
    patients = run.split(name).patients
    wanted = set(range(len(patients)) if only is None else only)
    if not wanted:
        return
    where = _folder(run, step(run) if at_step is None else at_step)
    state = run.backend.put_state(checkpoint.load(where, run.abstract_state())[0])
    predict = run.backend.by_slice(run.step.predict)

    def straight(image: np.ndarray) -> dict[str, np.ndarray]:
        return predict(state, image)

    mirror = run.config.evaluate.mirror if mirror is None else mirror
    network = volumes.with_mirror(straight, run.preprocess) if mirror else straight
    with tqdm(total=len(wanted), desc=f"{run.role.name}, {name}", unit="pt") as bar:
        for found in volumes.predict(
            run.evaluation_batches(name, set(range(len(patients))) - wanted),
            {index: entry.grid for index, entry in enumerate(patients)},
            network,
            run.preprocess,
        ):
            yield found
            bar.update()
