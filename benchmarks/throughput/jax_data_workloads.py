"""Our input pipeline, training loop and volume prediction: a Spec in, a Workload out.

Unlike those of `jax_workloads`, these read generated patients from disk.
"""

import functools
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks import input_pipeline
from benchmarks.throughput import data_workloads, jax_workloads, workload
from mtl_jax.core import config as configs
from mtl_jax.run import wiring
from mtl_jax.train import loop, parallel, writers


def pipeline(spec: workload.Spec) -> workload.Workload:
    """Batches of `benchmarks.input_pipeline`, without a network."""
    config, data = data_workloads.prepare(spec)
    measurements = input_pipeline.list_measurements(
        data.splits["train"], config, spec.case.batch_size
    )
    chosen = measurements[spec.mode.options["measurement"]]
    return data_workloads.make_reading(spec, chosen.start)


class TimedBackend(parallel.Jit):
    """The loop's backend; notes the time at which two chosen updates have ended."""

    def __init__(self) -> None:
        super().__init__(jax.devices()[:1])
        self._compiled: Any = None
        self.watch(0, 0)

    def watch(self, first: int, last: int) -> None:
        """Count updates from now on; note the end of the `first` and `last` one."""
        self._watched, self._updates = (first, last), 0
        self.ended: dict[int, float] = {}

    def update(self, function: Any) -> Any:
        self._compiled = self._compiled or super().update(function)

        def run(state: Any, batch: Any) -> Any:
            state = self._compiled(state, batch)
            self._updates += 1
            if self._updates in self._watched:
                jax.block_until_ready(state)
                self.ended[self._updates] = time.perf_counter()
            return state

        return run


class TimedRun(wiring.Run):
    """A run with a `TimedBackend`."""

    @functools.cached_property
    def backend(self) -> TimedBackend:
        return TimedBackend()


class NoCheckpoints:
    """Discards what the loop saves when it is stopped, after the timed steps."""

    def best_score(self) -> float:
        return float("inf")

    def save(self, *_: Any) -> None:
        pass

    def wait(self) -> None:
        pass


def make_run(spec: workload.Spec, folder: str) -> TimedRun:
    """The run of `spec` on the patients, with an empty `folder` as its workdir."""
    config, data = data_workloads.prepare(spec)
    return TimedRun(configs.check(config), data, Path(folder))


def end_to_end(spec: workload.Spec) -> workload.Workload:
    """The training loop: reads, transfers, updates and logs.

    Each turn starts the loop anew, so that no batch was read ahead during the turns of
    other modes.
    """
    folder = tempfile.TemporaryDirectory()
    run = make_run(spec, folder.name)
    state, _ = run.initial_state()
    writer = writers.open_writers(Path(folder.name), resume_step=0)
    untimed = data_workloads.untimed_steps(spec.case)
    batch_size = run.config.train.batch_size
    no_checkpoints: Any = NoCheckpoints()

    def turn(steps: int) -> workload.Turn:
        last = untimed + steps
        run.backend.watch(untimed, last)
        training_loop = run.loop(no_checkpoints, lambda: last in run.backend.ended)
        loop.train(training_loop, state, writer)
        ended = run.backend.ended
        return workload.Turn(ended[last] - ended[untimed], steps, steps * batch_size)

    turn(1)
    return workload.Workload(
        turn=turn,
        first_step=time.time(),
        compile_seconds=None,
        device_bytes=jax_workloads.device_bytes,
        release=lambda: folder.name,  # keeps the folder as long as the workload
    )


def evaluation(spec: workload.Spec) -> workload.Workload:
    """Whole patients: read, predicted, and resampled onto their own grids."""
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(spec, folder)
        state = run.backend.put_state(run.initial_state()[0])
    predict = run.backend.by_slice(run.step.predict)

    def network(image: np.ndarray) -> Mapping[str, Any]:
        return predict(state, image)

    return data_workloads.make_prediction(
        spec, network, device_bytes=jax_workloads.device_bytes
    )
