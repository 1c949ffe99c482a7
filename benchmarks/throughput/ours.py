"""Our training step, inference and matrix products, as Jobs.

The step is the one that `study.runs.Run` wires for `mtl_jax.main`; only its batches are
noise that lies on the device.
"""

import functools
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.throughput import cases, job
from mtl_jax.core import config as configs
from mtl_jax.study import runs

EPOCH = 1000  # steps after which the tasks' weights change


class WithoutData(runs.Run):
    """A run of which everything but the batches is there."""

    @functools.cached_property
    def schedule(self) -> configs.Schedule:
        return configs.Schedule.of(self.config, EPOCH)


def make_run(spec: job.Spec, folder: str) -> WithoutData:
    """The run of `spec` in an empty `folder`."""
    config = configs.check(cases.config(spec.case, spec.mode))
    no_data: Any = None
    return WithoutData(config, no_data, Path(folder))


def train(spec: job.Spec) -> job.Job:
    """Updates of the state, which is donated each time, as in the training loop."""
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(spec, folder)
        state = run.backend.put_state(run.initial_state()[0])
        channels = run.preprocess.channels
    batch = run.backend.put_batch(job.noise_batch(run.config, channels))
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
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(spec, folder)
        state = run.backend.put_state(run.initial_state()[0])
        channels = run.preprocess.channels
    batch = run.backend.put_batch(job.noise_batch(run.config, channels))
    compiled, seconds = compile_it(jax.jit(run.step.predict), state, batch["image"])
    held: list[Any] = [None]

    def step() -> None:
        held[0] = compiled(state, batch["image"])

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
    best = None
    for side in job.product_sizes(spec.case):
        left = jax.random.normal(jax.random.key(0), (side, side)).astype(dtype)
        held = [left]

        def step(left: Any = left, held: list[Any] = held) -> None:
            held[0] = multiply(left, left)

        def wait(held: list[Any] = held) -> None:
            jax.block_until_ready(held)

        turn, count = job.repeated(step, wait, 1), 2.0 * side**3
        rate = count * 2 / turn(2).seconds
        if best is None or rate > best[0]:
            best = rate, turn, count
    assert best is not None
    return job.Job(
        turn=best[1],
        first_step=time.time(),
        compile_seconds=None,
        operations=best[2],
        device_bytes=device_bytes,
    )
