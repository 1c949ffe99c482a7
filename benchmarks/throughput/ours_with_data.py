"""Our input pipeline, training loop and volume prediction on patients, as Jobs."""

import functools
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks import input_pipeline
from benchmarks.throughput import data, job, ours
from mtl_jax.core import config as configs
from mtl_jax.run import wiring
from mtl_jax.train import loop, parallel, writers


def pipeline(spec: job.Spec) -> job.Job:
    """Batches of `benchmarks.input_pipeline`, without a network."""
    config, found = data.config_and_data(spec)
    measurements = input_pipeline.list_measurements(
        found.splits["train"], config, spec.case.batch_size
    )
    return data.reading(spec, measurements[spec.mode.options["measurement"]].start)


class Watched(parallel.Jit):
    """The backend of the loop; says when the n-th updates since `watch` had ended."""

    def __init__(self) -> None:
        super().__init__(jax.devices()[:1])
        self._compiled: Any = None
        self.watch(0, 0)

    def watch(self, first: int, last: int) -> None:
        """Note when update `first` and update `last` from here on have ended."""
        self._marks, self._updates = (first, last), 0
        self.ended: dict[int, float] = {}

    def update(self, function: Any) -> Any:
        self._compiled = self._compiled or super().update(function)

        def run(state: Any, batch: Any) -> Any:
            state = self._compiled(state, batch)
            self._updates += 1
            if self._updates in self._marks:
                jax.block_until_ready(state)
                self.ended[self._updates] = time.perf_counter()
            return state

        return run


class Run(wiring.Run):
    """A run whose loop is watched."""

    @functools.cached_property
    def backend(self) -> Watched:
        return Watched()


class NoCheckpoints:
    """Takes what the loop saves when it is stopped, after the clock."""

    def best_score(self) -> float:
        return float("inf")

    def save(self, *_: Any) -> None:
        pass

    def wait(self) -> None:
        pass


def make_run(spec: job.Spec, folder: str) -> Run:
    """The run of `spec` on the patients, in an empty `folder`."""
    config, found = data.config_and_data(spec)
    return Run(configs.check(config), found, Path(folder))


def end_to_end(spec: job.Spec) -> job.Job:
    """The training loop: reads, places, updates, logs.

    Each turn starts the loop anew, so that nothing was read ahead in others' turns.
    """
    folder = tempfile.TemporaryDirectory()
    run = make_run(spec, folder.name)
    state, _ = run.initial_state()
    writer = writers.open_writers(Path(folder.name), resume_step=0)
    untimed, size = data.untimed_steps(spec.case), run.config.train.batch_size
    no_checkpoints: Any = NoCheckpoints()

    def turn(steps: int) -> job.Turn:
        last = untimed + steps
        run.backend.watch(untimed, last)
        whole = run.loop(no_checkpoints, lambda: last in run.backend.ended)
        loop.train(whole, state, writer)
        ended = run.backend.ended
        return job.Turn(ended[last] - ended[untimed], steps, steps * size)

    turn(1)
    return job.Job(
        turn=turn,
        first_step=time.time(),
        compile_seconds=None,
        device_bytes=ours.device_bytes,
        rest=lambda: folder.name,  # the folder lives as long as the job
    )


def evaluation(spec: job.Spec) -> job.Job:
    """Whole patients: read, predicted, and brought back onto their own grids."""
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(spec, folder)
        state = run.backend.put_state(run.initial_state()[0])
    predict = run.backend.by_slice(run.step.predict)

    def network(image: np.ndarray) -> dict[str, np.ndarray]:
        return predict(state, image)

    return data.predicting(spec, network, device_bytes=ours.device_bytes)
