"""Predictions of a trained run for the patients of a split.

Input: a Run with checkpoints, and further ones to average with it. Output: predictions,
patient by patient, on the patients' own grids; the step and the digest of the
checkpoint that makes them.
"""

import functools
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from mtl_jax.inference import volumes
from mtl_jax.models import parameters
from mtl_jax.run import wiring
from mtl_jax.train import checkpoint, distributed, parallel
from mtl_jax.train import step as steps


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
    also: Sequence[wiring.Run] = (),
) -> Iterator[tuple[int, volumes.Prediction]]:
    """Yield (position, prediction) of the patients of split `name`, with progress.

    Args:
        run: a trained run.
        name: the split.
        only: positions of patients to predict; None: all.
        step: the checkpoint's step; None: the one that the configuration evaluates.
        mirror: whether to average with the mirror image; None: as configured.
        also: trained runs on the same data whose predictions are averaged with these.
    """
    patients = run.split(name).patients
    wanted = set(range(len(patients)) if only is None else only)
    if not wanted:
        return
    mirror = run.config.evaluate.mirror if mirror is None else mirror
    leave_out = set(range(len(patients))) - wanted
    feeds = []
    for each in (run, *also):
        at = step if each is run and step is not None else evaluated_step(each)
        network = _network(each, at, run.backend)
        if mirror:
            network = volumes.with_mirror(network, each.preprocess)
        batches = distributed.with_all_rows(each.evaluation_batches(name, leave_out))
        feeds.append(volumes.Feed(batches, network, each.preprocess))
    with tqdm(
        total=len(wanted),
        desc=f"{run.role.name}, {name}",
        unit="pt",
        disable=not distributed.shows_progress(),
    ) as bar:
        grids = {index: entry.grid for index, entry in enumerate(patients)}
        for prediction in volumes.predict(feeds, grids):
            yield prediction
            bar.update()


def _network(run: wiring.Run, step: int, backend: parallel.Backend) -> volumes.Network:
    """The network of `run` after `step`, on the devices of `backend`."""
    folder = _folder(run, step)
    network = wiring.make_network(run.config, backend.axis_name, backend.platform)
    like = parameters.shapes(network, run.image_shape)
    weights = backend.put_state(
        distributed.from_first(lambda: checkpoint.load_weights(folder, like), like)
    )
    head = run.config.model.contour_head
    predict = backend.by_slice(functools.partial(steps.predict, network, head))
    return functools.partial(predict, weights)
