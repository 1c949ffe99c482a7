"""What a trained run says of the patients of a split.

In: a Run with checkpoints. Out: predictions, patient by patient, on their own grids.
"""

from collections.abc import Collection, Iterator

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


def digest(run: runs.Run) -> str:
    """The digest of the checkpoint that the configuration evaluates."""
    folder = run.workdir / "checkpoints" / str(step(run))
    return checkpoint.read_run(folder)["digest"]


def predictions(
    run: runs.Run, name: str, only: Collection[int] | None = None
) -> Iterator[tuple[int, volumes.Prediction]]:
    """Yield (position, prediction) of the patients of split `name`, with progress.

    `only` names the positions that are wanted; the network is loaded if there are any.
    """
    patients = run.split(name).patients
    wanted = set(range(len(patients)) if only is None else only)
    if not wanted:
        return
    folder = run.workdir / "checkpoints" / str(step(run))
    state = run.backend.put_state(checkpoint.load(folder, run.abstract_state())[0])
    predict = run.backend.by_slice(run.step.predict)

    def network(image):
        return predict(state, image)

    with tqdm(total=len(wanted), desc=f"{run.role.name}, {name}", unit="pt") as bar:
        for found in volumes.predict(
            run.evaluation_batches(name, set(range(len(patients))) - wanted),
            {index: entry.grid for index, entry in enumerate(patients)},
            (
                volumes.with_mirror(network, run.preprocess)
                if run.config.evaluate.mirror
                else network
            ),
            run.preprocess,
        ):
            yield found
            bar.update()
