"""What a trained run says of the patients of a split.

In: a Run with checkpoints. Out: predictions, patient by patient, on their own grids.
"""

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mtl_jax.core import records
from mtl_jax.inference import volumes
from mtl_jax.run import wiring
from mtl_jax.train import checkpoint, distributed


def step(run: wiring.Run) -> int:
    """The step whose checkpoint the configuration evaluates."""
    folder = run.workdir / "checkpoints"
    which = run.config.evaluate.checkpoint
    return distributed.once(lambda: checkpoint.evaluated_step(folder, which))


def digest(run: wiring.Run, at_step: int) -> str:
    """The digest of a step's checkpoint; a CheckpointError if it is not there."""
    folder = _folder(run, at_step)
    return distributed.once(lambda: checkpoint.read_run(folder)["digest"])


def _folder(run: wiring.Run, at_step: int) -> Path:
    return run.workdir / "checkpoints" / str(at_step)


def predictions(
    run: wiring.Run,
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
    like = run.abstract_state()
    host = distributed.from_first(lambda: checkpoint.load(where, like)[0], like)
    state = run.backend.put_state(host)
    predict = run.backend.by_slice(run.step.predict)

    def straight(image: np.ndarray) -> dict[str, np.ndarray]:
        return predict(state, image)

    mirror = run.config.evaluate.mirror if mirror is None else mirror
    network = volumes.with_mirror(straight, run.preprocess) if mirror else straight
    batches = run.evaluation_batches(name, set(range(len(patients))) - wanted)
    with tqdm(
        total=len(wanted),
        desc=f"{run.role.name}, {name}",
        unit="pt",
        disable=not distributed.is_first(),
    ) as bar:
        for found in volumes.predict(
            _with_all_rows(batches),
            {index: entry.grid for index, entry in enumerate(patients)},
            network,
            run.preprocess,
        ):
            yield found
            bar.update()


def _with_all_rows(batches: Iterable[records.Batch]) -> Iterator[records.Batch]:
    """`batches`, in which it is said of the rows of all processes whose they are.

    The images stay those of this process: the network's outputs are of all rows again.
    """
    for batch in batches:
        distributed.wait()  # for the first one, which does more with a prediction
        columns = {"patient": batch["patient"], "mask": batch["mask"]}
        yield batch | distributed.gather(columns)
