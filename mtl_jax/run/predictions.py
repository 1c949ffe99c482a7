"""Predictions of a trained run for the patients of a split.

Input: a Run with checkpoints. Output: predictions, patient by patient, on the patients'
own grids; the step and the digest of the checkpoint that makes them.
"""

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mtl_jax.inference import volumes
from mtl_jax.run import wiring
from mtl_jax.train import checkpoint, distributed


def evaluated_step(run: wiring.Run) -> int:
    """The step whose checkpoint the configuration evaluates."""
    folder = run.workdir / "checkpoints"
    which = run.config.evaluate.checkpoint
    return distributed.once(lambda: checkpoint.evaluated_step(folder, which))


def checkpoint_digest(run: wiring.Run, step: int) -> str:
    """The digest of a step's checkpoint; a CheckpointError if it is not there."""
    folder = _folder(run, step)
    return distributed.once(lambda: checkpoint.read_run(folder)["digest"])


def _folder(run: wiring.Run, step: int) -> Path:
    return run.workdir / "checkpoints" / str(step)


def predict_split(
    run: wiring.Run,
    name: str,
    only: Collection[int] | None = None,
    *,
    step: int | None = None,
    mirror: bool | None = None,
) -> Iterator[tuple[int, volumes.Prediction]]:
    """Yield (position, prediction) of the patients of split `name`, with progress.

    Args:
        run: a trained run.
        name: the split.
        only: positions of patients to predict; None: all.
        step: the checkpoint's step; None: the one that the configuration evaluates.
        mirror: whether to average with the mirror image; None: as configured.
    """
    patients = run.split(name).patients
    wanted = set(range(len(patients)) if only is None else only)
    if not wanted:
        return
    folder = _folder(run, evaluated_step(run) if step is None else step)
    like = run.abstract_state()
    host = distributed.from_first(lambda: checkpoint.load(folder, like)[0], like)
    state = run.backend.put_state(host)
    predict = run.backend.by_slice(run.step.predict)

    def plain(image: np.ndarray) -> dict[str, np.ndarray]:
        return predict(state, image)

    mirror = run.config.evaluate.mirror if mirror is None else mirror
    network = volumes.with_mirror(plain, run.preprocess) if mirror else plain
    batches = run.evaluation_batches(name, set(range(len(patients))) - wanted)
    with tqdm(
        total=len(wanted),
        desc=f"{run.role.name}, {name}",
        unit="pt",
        disable=not distributed.is_first(),
    ) as bar:
        for prediction in volumes.predict(
            distributed.with_all_rows(batches),
            {index: entry.grid for index, entry in enumerate(patients)},
            network,
            run.preprocess,
        ):
            yield prediction
            bar.update()
