"""Our training step, inference and matrix products: a Spec in, a Workload out.

The step is the one that `run.wiring.Run` builds for `mtl_jax.main`. Only its batches
differ: they are noise that already lies on the device.
"""

import functools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.throughput import cases, workload
from mtl_jax.core import config as configs
from mtl_jax.run import wiring


class RunWithoutData(wiring.Run):
    """A run that has everything but patients."""

    @functools.cached_property
    def schedule(self) -> configs.Schedule:
        return configs.Schedule.of(self.config, cases.EPOCH)


def prepare_run(spec: workload.Spec) -> tuple[RunWithoutData, Any, Any]:
    """The run of `spec`, its initial state and a batch, both on the device."""
    config = configs.check(cases.make_config(spec.case, spec.mode))
    no_data: Any = None
    with tempfile.TemporaryDirectory() as folder:
        run = RunWithoutData(config, no_data, Path(folder))
        state = run.backend.put_state(run.initial_state()[0])
        channels = run.preprocess.channels
    batch = run.backend.put_batch(workload.noise_batch(config, channels))
    return run, state, batch


def train(spec: workload.Spec) -> workload.Workload:
    """Updates of the state, which each update donates, as in the training loop."""
    run, state, batch = prepare_run(spec)
    compiled, seconds = compile_for(run.backend.update(run.step.train), state, batch)
    latest = [state]
    del state

    def step() -> None:
        latest[0] = compiled(latest[0], batch)

    return make_workload(
        step, lambda: latest[0], compiled, seconds, run.config.train.batch_size
    )


def inference(spec: workload.Spec) -> workload.Workload:
    """Dose and contour probabilities of a batch on the device."""
    run, state, batch = prepare_run(spec)
    predict, arguments = run.step.predict, (state, batch["image"])
    if spec.mode.frozen:
        predict, arguments = functools.partial(predict, state), (batch["image"],)
    compiled, seconds = compile_for(jax.jit(predict), *arguments)
    latest: list[Any] = [None]

    def step() -> None:
        latest[0] = compiled(*arguments)

    return make_workload(
        step, lambda: latest[0], compiled, seconds, run.config.train.batch_size
    )


def compile_for(function: Any, *arguments: Any) -> tuple[Any, float]:
    """The jitted `function` compiled for `arguments`, and the seconds it took."""
    start = time.perf_counter()
    compiled = function.lower(*arguments).compile()
    return compiled, time.perf_counter() - start


def make_workload(
    step: Any, results: Any, compiled: Any, compile_seconds: float, images: int
) -> workload.Workload:
    """A Workload of `step`; `results()` returns the arrays to wait for."""

    def wait() -> None:
        jax.block_until_ready(results())

    step()
    wait()
    return workload.Workload(
        turn=workload.repeat(step, wait, images),
        first_step=time.time(),
        compile_seconds=compile_seconds,
        operations=operations(compiled, images),
        device_bytes=device_bytes,
    )


def operations(compiled: Any, images: int) -> float | None:
    """Operations of one image as XLA counts them; None if it does not."""
    analysis = compiled.cost_analysis()
    if isinstance(analysis, list):
        analysis = analysis[0] if analysis else None
    count = (analysis or {}).get("flops")
    return count / images if count else None


def device_bytes() -> int | None:
    """Peak memory of the device in bytes; None on CPUs."""
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def products(spec: workload.Spec) -> workload.Workload:
    """The matrix product with the highest rate; each product counts as one image."""
    dtype = jnp.bfloat16 if spec.mode.arithmetic == "bfloat16" else jnp.float32
    multiply = jax.jit(jnp.dot)

    def square(side: int) -> Callable[[int], workload.Turn]:
        matrix = jax.random.normal(jax.random.key(0), (side, side)).astype(dtype)
        latest = [matrix]

        def step() -> None:
            latest[0] = multiply(matrix, matrix)

        return workload.repeat(step, lambda: jax.block_until_ready(latest), 1)

    return workload.fastest_product(spec.case, square, device_bytes)
