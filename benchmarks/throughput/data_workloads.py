"""Parts of both frameworks' workloads on patients: the data, reading and prediction.

Nothing here starts JAX or PyTorch.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.throughput import cases, workload
from mtl_jax.datasets import prepared
from mtl_jax.inference import volumes
from mtl_jax.pipeline import batches
from mtl_jax.run import command, wiring

UNTIMED_BATCHES = 32  # by then the batches that were read ahead at the start are used
BATCHES_PER_STEP = 50  # in the part `pipeline`


def prepare_patients(config: Any, data_dir: Path | str | None) -> prepared.Prepared:
    """The generated patients of `config`; generates them if they are missing."""
    assert data_dir is not None
    return command.prepare_in(config, data_dir=Path(data_dir), manual_dir=None)


def prepare(spec: workload.Spec) -> tuple[Any, prepared.Prepared]:
    """The configuration of a worker and its patients."""
    config = cases.make_config(spec.case, spec.mode)
    return config, prepare_patients(config, spec.data_dir)


def reader_count(spec: workload.Spec) -> int:
    """Threads or processes that read ahead in training; equal for both frameworks."""
    return min(batches.THREADS, max(2, spec.threads))


def untimed_steps(case: cases.Case) -> int:
    """Training steps before the clock starts; more where the input may be slower."""
    return 2 if case.platform == "cpu" else 2 * batches.READ_AHEAD


def make_reading(
    spec: workload.Spec, start: Callable[[], Iterator[int]]
) -> workload.Workload:
    """Turns that read batches; `start()` yields the number of images of each batch."""
    batch_size, tiny = spec.case.batch_size, spec.case.size == "tiny"

    def turn(steps: int) -> workload.Turn:
        steps = steps if tiny else BATCHES_PER_STEP * steps
        images, count = start(), 0
        for _ in range(2 if tiny else UNTIMED_BATCHES):
            next(images)
        begin = time.perf_counter()
        while count < steps * batch_size:
            count += next(images)
        seconds = time.perf_counter() - begin
        images.close()  # pyright: ignore[reportAttributeAccessIssue] - generators all
        return workload.Turn(seconds, steps, count)

    turn(1)
    return workload.Workload(turn=turn, first_step=time.time(), compile_seconds=None)


def make_prediction(
    spec: workload.Spec,
    network: volumes.Network,
    **fields: Any,
) -> workload.Workload:
    """Turns that predict whole patients of the test split; a step is a patient.

    Args:
        spec: the task of the worker.
        network: maps images [B, H, W, C] to dose / prescription and probabilities.
        fields: further fields of the Workload.
    """
    config, data = prepare(spec)
    split = data.splits["test"]
    preprocess = wiring.make_preprocess(config, config.data)
    patients = range(len(split.patients))
    grids = {index: entry.grid for index, entry in enumerate(split.patients)}
    order = itertools.cycle(patients)

    def predict_next() -> int:
        chosen = next(order)
        slices = batches.evaluation(
            split,
            preprocess=preprocess,
            batch_size=config.evaluate.batch_size,
            leave_out=set(patients) - {chosen},
        )
        feed = volumes.Feed(slices, network, preprocess)
        for _ in volumes.predict([feed], grids):
            pass
        return split.patients[chosen].slices

    def turn(steps: int) -> workload.Turn:
        count = max(1, steps // 10)
        begin = time.perf_counter()
        images = sum(predict_next() for _ in range(count))
        return workload.Turn(time.perf_counter() - begin, count, images)

    turn(1)
    return workload.Workload(
        turn=turn, first_step=time.time(), compile_seconds=None, **fields
    )
