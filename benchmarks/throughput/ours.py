"""Our training step, inference and matrix products, as Jobs.

The step is the one that `run.wiring.Run` wires for `mtl_jax.main`; only its batches are
noise that lies on the device.
"""

import functools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.throughput import cases, job
from mtl_jax.core import config as configs
from mtl_jax.run import wiring


class WithoutData(wiring.Run):
    """A run of which everything but the batches is there."""

    @functools.cached_property
    def schedule(self) -> configs.Schedule:
        return configs.Schedule.of(self.config, cases.EPOCH)


def place(spec: job.Spec) -> tuple[WithoutData, Any, Any]:
    """The run of `spec`, its first state and a batch, both on the device."""
    config = configs.check(cases.config(spec.case, spec.mode))
    no_data: Any = None
    with tempfile.TemporaryDirectory() as folder:
        run = WithoutData(config, no_data, Path(folder))
        state = run.backend.put_state(run.initial_state()[0])
        channels = run.preprocess.channels
    batch = run.backend.put_batch(job.noise_batch(config, channels))
    return run, state, batch


def train(spec: job.Spec) -> job.Job:
    """Updates of the state, which is donated each time, as in the training loop."""
    run, state, batch = place(spec)
    compiled, seconds = compile_it(run.backend.update(run.step.train), state, batch)
    held = [state]
    del state

    def step() -> None:
        held[0] = compiled(held[0], batch)

    return make_job(
        step, lambda: held[0], compiled, seconds, run.config.train.batch_size
    )


def inference(spec: job.Spec) -> job.Job:
    """Dose and probabilities of a batch that lies on the device."""
    run, state, batch = place(spec)
    predict, arguments = run.step.predict, (state, batch["image"])
    if spec.mode.frozen:
        predict, arguments = functools.partial(predict, state), (batch["image"],)
    compiled, seconds = compile_it(jax.jit(predict), *arguments)
    held: list[Any] = [None]

    def step() -> None:
        held[0] = compiled(*arguments)

    return make_job(
        step, lambda: held[0], compiled, seconds, run.config.train.batch_size
    )


def compile_it(function: Any, *arguments: Any) -> tuple[Any, float]:
    """`function` (jitted) compiled for `arguments`, and the seconds that it took."""
    start = time.perf_counter()
    compiled = function.lower(*arguments).compile()
    return compiled, time.perf_counter() - start


def make_job(
    step: Any, results: Any, compiled: Any, compile_seconds: float, images: int
) -> job.Job:
    """A Job of `step`, whose `results()` are awaited."""

    def wait() -> None:
        jax.block_until_ready(results())

    step()
    wait()
    return job.Job(
        turn=job.repeated(step, wait, images),
        first_step=time.time(),
        compile_seconds=compile_seconds,
        operations=operations(compiled, images),
        device_bytes=device_bytes,
    )


def operations(compiled: Any, images: int) -> float | None:
    """Operations of one image as XLA counts them, where it does."""
    analysis = compiled.cost_analysis()
    if isinstance(analysis, list):
        analysis = analysis[0] if analysis else None
    count = (analysis or {}).get("flops")
    return count / images if count else None


def device_bytes() -> int | None:
    """Most memory of the device that was in use; None on CPUs."""
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def products(spec: job.Spec) -> job.Job:
    """The matrix product with the highest rate; an image is a product here."""
    dtype = jnp.bfloat16 if spec.mode.arithmetic == "bfloat16" else jnp.float32
    multiply = jax.jit(jnp.dot)

    def square(side: int) -> Callable[[int], job.Turn]:
        left = jax.random.normal(jax.random.key(0), (side, side)).astype(dtype)
        held = [left]

        def step() -> None:
            held[0] = multiply(left, left)

        return job.repeated(step, lambda: jax.block_until_ready(held), 1)

    return job.fastest_product(spec.case, square, device_bytes)
