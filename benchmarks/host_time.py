"""Host work of a training step, with the device's time taken away.

    python -m benchmarks.host_time [--role=multi] [--batch_size=8] [--steps_per_call=1]

The training loop runs with the arrays of the role's network, as many as at full width
but narrow, and with a step that computes nothing. Batches are in memory, as reading
them is the work of other threads. Output: a Markdown table of the main thread's time on
its core, in microseconds a step; a log line is shared by the steps since the last one,
validation and checkpoints are left out. Beside other processes a core is slower, which
the lowest tenth of the log windows shows least. An accelerator waits for the host only
if its own step takes less.
"""

import argparse
import dataclasses
import itertools
import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import flag_types
from mtl_jax.configs import openkbp
from mtl_jax.core import config as configs
from mtl_jax.core import roles
from mtl_jax.losses import objective
from mtl_jax.models import parameters
from mtl_jax.run import learning_rate, wiring
from mtl_jax.train import checkpoint, loop, parallel, step, writers
from mtl_jax.train import state as states

# Calls before the measurement: the program is compiled, the queue is full.
UNTIMED = 20
PARTS = {
    "put_batch": "transfer of the batch",
    "update": "call of the compiled step",
    "replicated": "copies of what is read later",
}
WHOLE = "the loop, together"


class IdleStep(step.Step):
    """A step that reads its batch's first numbers and changes next to nothing."""

    def train(self, state: states.TrainState, batch: step.Batch) -> states.TrainState:
        """As `Step.train`, with parameters and moments passed on."""
        seen = sum(jnp.ravel(array)[0].astype(jnp.float32) for array in batch.values())
        window = {name: value + seen for name, value in state.window.items()}
        return dataclasses.replace(state, step=state.step + 1, window=window)


class TimedBackend(parallel.Jit):
    """Adds up the time that this thread spends in its parts."""

    def __init__(self, devices: list[jax.Device], **options: Any):
        super().__init__(devices, **options)
        self.seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)

    def stacked(self) -> "TimedBackend":
        made = TimedBackend(self._devices, stacked=True)
        made.seconds = self.seconds
        return made

    def put_batch(self, batch: Mapping[str, Any]) -> Any:
        return self._timed("put_batch", super().put_batch)(batch)

    def update(self, function: Callable) -> Callable:
        return self._timed("update", super().update(function))

    def replicated(self, function: Callable) -> Callable:
        return self._timed("replicated", super().replicated(function))

    def _timed(self, part: str, function: Callable) -> Callable:
        def call(*arguments: Any) -> Any:
            start = time.thread_time()
            result = function(*arguments)
            self.seconds[part] += time.thread_time() - start
            return result

        return call


def main(arguments: list[str] | None = None) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.host_time",
        description="Host work of a training step, without the device's time.",
    )
    number = flag_types.positive_integer
    parser.add_argument("--role", default="multi", help="role (multi)")
    parser.add_argument("--batch_size", type=number, default=8, help="slices (8)")
    parser.add_argument("--steps", type=number, default=1000, help="steps (1000)")
    parser.add_argument(
        "--steps_per_call", type=number, default=1, help="a divisor of 10 (1)"
    )
    flags = parser.parse_args(arguments)
    made, state = make(flags.role, flags.batch_size, flags.steps_per_call)
    windows = measure(made, state, flags.steps)
    print(
        f"{flags.role}, batch {flags.batch_size}, {flags.steps_per_call} steps a call, "
        f"{len(jax.tree.leaves(state))} arrays "
        f"in a state; {platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, jax {jax.__version__}, "
        f"{jax.devices()[0].device_kind}; {len(windows[WHOLE])} log windows\n\n"
        "| us a step | lowest tenth | median |\n|---|---:|---:|"
    )
    for name, values in windows.items():
        low, middle = np.percentile(values, (10, 50))
        print(f"| {name} | {low:.0f} | {middle:.0f} |")


def make(
    role: str, batch_size: int, steps_per_call: int = 1
) -> tuple[loop.Loop, states.TrainState]:
    """The loop of `role` with an idle step and a batch in memory, and its state."""
    config = openkbp.get_config(role)
    config.model.width = 4  # as many arrays as at full width
    config = configs.check(config)
    network, tasks = wiring.make_network(config, None), roles.get(role).tasks
    preprocess = wiring.make_preprocess(config, config.data)
    schedule = dataclasses.replace(
        configs.Schedule.of(config, 10**6), steps=10**9, validate_every=10**9,
        checkpoint_every=10**9, images_every=10**9, steps_per_call=steps_per_call,
    )  # fmt: skip
    idle = IdleStep(
        network=network,
        objective=objective.Objective(
            tasks, {**config.loss, "contour_head": config.model.contour_head}
        ),
        transform=learning_rate.optimizer(config.optimizer, schedule),
        dwa_temperature=config.dwa.temperature,
        dwa_interval=schedule.dwa_interval,
        accumulate=1,
        log_every=schedule.log_every,
        axis_name=None,
    )
    shape = (*preprocess.image_size, preprocess.channels)
    state = states.create(
        parameters.initialise(network, 0, shape),
        idle.transform,
        tasks=len(tasks),
        metrics=idle.metrics,
    )
    batch: Any = jax.tree.map(np.zeros_like, dict(preprocess.empty(batch_size)))
    nothing: Any = None
    backend = TimedBackend(jax.local_devices()[:1])
    return loop.Loop(
        step=idle,
        backend=backend,
        schedule=schedule,
        batches_from=lambda first: itertools.repeat(batch),
        put_batch=backend.put_batch,
        put_batches=backend.stacked().put_batch,
        validation=lambda: [],
        checkpoints=checkpoint.NoCheckpoints(),
        run={},
        initial_rms={},
        score=nothing,
        picture=nothing,
        stop=lambda: False,
    ), jax.device_get(state)


def measure(
    made: loop.Loop, state: states.TrainState, steps: int
) -> dict[str, np.ndarray]:
    """Microseconds a step by part, of each log window."""
    backend: Any = made.backend
    ends: list[list[float]] = []  # by call, of each part and of all
    calls = steps // made.schedule.steps_per_call

    def stop() -> bool:
        ends.append([*backend.seconds.values(), time.thread_time()])
        return len(ends) == UNTIMED + calls

    with tempfile.TemporaryDirectory() as folder:
        writer = writers.open_writers(Path(folder), resume_step=0)
        loop.train(dataclasses.replace(made, stop=stop), state, writer)
        writer.close()
    every = made.schedule.log_every
    in_window = every // made.schedule.steps_per_call
    windows = np.diff(np.array(ends)[UNTIMED - 1 :: in_window], axis=0) / every * 1e6
    *parts, whole = windows.T
    found = dict(zip(PARTS.values(), parts, strict=True))
    return found | {"all else": whole - np.sum(parts, axis=0), WHOLE: whole}


if __name__ == "__main__":
    main()
