"""What both frameworks read: generated patients, and turns that read or predict them.

Nothing here starts JAX or PyTorch.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.throughput import cases, job
from mtl_jax.datasets import prepared
from mtl_jax.inference import volumes
from mtl_jax.pipeline import batches
from mtl_jax.run import command, wiring

UNTIMED = 32  # batches until what was read ahead at the start is used up
BATCHES = 50  # of a step of the pipeline alone


def prepare(config: Any, data_dir: Path | str | None) -> prepared.Prepared:
    """The generated patients of `config`, made first if they are not there."""
    assert data_dir is not None
    return command.prepare_in(config, data_dir=Path(data_dir), manual_dir=None)


def config_and_data(spec: job.Spec) -> tuple[Any, prepared.Prepared]:
    """What a worker reads, and how."""
    config = cases.config(spec.case, spec.mode)
    return config, prepare(config, spec.data_dir)


def readers(spec: job.Spec) -> int:
    """Threads or processes that read ahead of training; as many for both frameworks."""
    return min(batches.THREADS, max(2, spec.threads))


def untimed_steps(case: cases.Case) -> int:
    """Training steps before the clock starts; more where the input may be slower."""
    return 2 if case.platform == "cpu" else 2 * batches.READ_AHEAD


def reading(spec: job.Spec, start: Callable[[], Iterator[int]]) -> job.Job:
    """Turns that read what `start` yields: how many images there are, each time."""
    batch_size, few = spec.case.batch_size, spec.case.size == "tiny"

    def turn(steps: int) -> job.Turn:
        steps = steps if few else BATCHES * steps
        images, count = start(), 0
        for _ in range(2 if few else UNTIMED):
            next(images)
        begin = time.perf_counter()
        while count < steps * batch_size:
            count += next(images)
        seconds = time.perf_counter() - begin
        images.close()  # pyright: ignore[reportAttributeAccessIssue] - generators all
        return job.Turn(seconds, steps, count)

    turn(1)
    return job.Job(turn=turn, first_step=time.time(), compile_seconds=None)


def predicting(
    spec: job.Spec,
    network: Callable[[np.ndarray], dict[str, np.ndarray]],
    **described: Any,
) -> job.Job:
    """Turns that predict whole patients of the test split, a step being a patient.

    Args:
        spec: what the worker does.
        network: images [B, H, W, C] to dose / prescription and probabilities.
        described: what else is known of the Job.
    """
    config, found = config_and_data(spec)
    split = found.splits["test"]
    preprocess = wiring.make_preprocess(config, config.data)
    everyone = range(len(split.patients))
    grids = {index: entry.grid for index, entry in enumerate(split.patients)}
    order = itertools.cycle(everyone)

    def one_patient() -> int:
        chosen = next(order)
        read = batches.evaluation(
            split,
            preprocess=preprocess,
            batch_size=config.evaluate.batch_size,
            leave_out=set(everyone) - {chosen},
        )
        for _ in volumes.predict(read, grids, network, preprocess):
            pass
        return split.patients[chosen].slices

    def turn(steps: int) -> job.Turn:
        patients = max(1, steps // 10)
        begin = time.perf_counter()
        images = sum(one_patient() for _ in range(patients))
        return job.Turn(time.perf_counter() - begin, patients, images)

    turn(1)
    return job.Job(turn=turn, first_step=time.time(), compile_seconds=None, **described)
