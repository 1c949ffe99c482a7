"""Host work of a training step, with the device's time taken away.

    python -m benchmarks.host_time [--role=multi] [--batch_size=8] [--steps=200]

The training loop runs with the arrays of the role's network, as many as at full width
but narrow, and with a step that computes nothing. Batches are in memory, as reading
them is the work of other threads. Output: a Markdown table of the main thread's time on
its core for a step, in microseconds; log lines are included, validation and checkpoints
are not. An accelerator waits for the host if its own step takes less.
"""

import argparse
import dataclasses
import itertools
import os
import platform
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import flag_types
from configs import openkbp
from mtl_jax.core import config as configs
from mtl_jax.core import roles
from mtl_jax.losses import objective
from mtl_jax.models import parameters
from mtl_jax.run import learning_rate, wiring
from mtl_jax.train import checkpoint, loop, parallel, step, writers
from mtl_jax.train import state as states

# Steps before the measurement: the program is compiled, the device's queue is full.
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

    def __init__(self, devices: list[jax.Device]):
        super().__init__(devices)
        self.seconds: dict[str, float] = defaultdict(float)

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
    whole = flag_types.positive_integer
    parser.add_argument("--role", default="multi", help="role (multi)")
    parser.add_argument("--batch_size", type=whole, default=8, help="slices (8)")
    parser.add_argument("--steps", type=whole, default=200, help="steps a turn (200)")
    parser.add_argument("--turns", type=whole, default=5, help="turns (5)")
    flags = parser.parse_args(arguments)
    made, state = make(flags.role, flags.batch_size)
    turns = [measure(made, state, flags.steps) for _ in range(flags.turns)]
    print(
        f"{flags.role}, batch {flags.batch_size}: {len(jax.tree.leaves(state))} arrays "
        f"in a state; {platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, jax {jax.__version__}, "
        f"{jax.devices()[0].device_kind}; medians of {flags.turns} turns of "
        f"{flags.steps} steps\n\n| | us a step | least | most |\n|---|---:|---:|---:|"
    )
    for name in turns[0]:
        values = [turn[name] for turn in turns]
        middle = statistics.median(values)
        print(f"| {name} | {middle:.0f} | {min(values):.0f} | {max(values):.0f} |")


def make(role: str, batch_size: int) -> tuple[loop.Loop, states.TrainState]:
    """The loop of `role` with an idle step and a batch in memory, and its state."""
    config = openkbp.get_config(role)
    config.model.width = 4  # as many arrays as at full width
    config = configs.check(config)
    network, tasks = wiring.make_network(config, None), roles.get(role).tasks
    preprocess = wiring.make_preprocess(config, config.data)
    schedule = dataclasses.replace(
        configs.Schedule.of(config, 10**6), steps=10**9, validate_every=10**9,
        checkpoint_every=10**9, images_every=10**9,
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
        validation=lambda: [],
        checkpoints=checkpoint.NoCheckpoints(),
        run={},
        initial_rms={},
        score=nothing,
        picture=nothing,
        stop=lambda: False,
    ), jax.device_get(state)


def measure(made: loop.Loop, state: states.TrainState, steps: int) -> dict[str, float]:
    """Microseconds of a step by part, over `steps` steps."""
    backend: Any = made.backend
    ends: list[float] = []
    found: dict[str, float] = {}

    def stop() -> bool:
        ends.append(time.thread_time())
        if len(ends) == UNTIMED:
            backend.seconds.clear()
        if len(ends) < UNTIMED + steps:
            return False
        found.update(backend.seconds)
        return True

    with tempfile.TemporaryDirectory() as folder:
        writer = writers.open_writers(Path(folder), resume_step=0)
        loop.train(dataclasses.replace(made, stop=stop), state, writer)
        writer.close()
    whole = ends[-1] - ends[UNTIMED - 1]
    parts = {label: found[name] for name, label in PARTS.items()}
    parts |= {"all else": whole - sum(parts.values()), WHOLE: whole}
    return {name: 1e6 * seconds / steps for name, seconds in parts.items()}


if __name__ == "__main__":
    main()
