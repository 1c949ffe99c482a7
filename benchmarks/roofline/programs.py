"""Compiles the steps of a run for devices that this machine does not have.

Input: the name of a topology and a checked configuration. Output: XLA's analysis of the
programs. The functions are those that `run.wiring.Run` gives the training loop and the
prediction, with the same donation. Their arguments are shapes; nothing is computed.
"""

import contextlib
import dataclasses
import functools
import math
import re
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

from benchmarks import collectives
from benchmarks.roofline import chips, gpus, hlo, parts, resident_batch
from benchmarks.throughput import jax_workloads, workload
from mtl_jax.core import errors
from mtl_jax.train import parallel, resident

# The training step, that of a prediction, and what makes a batch with data.on_device.
PARTS = ("train", "inference", "batch")
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
SIZE = r"([\d.]+)([KMGT])"
# XLA's messages on the memory that a program needs and that a device has.
TOO_LARGE = (
    re.compile(rf"{SIZE}\)? exceeds available HBM \({SIZE}\)"),
    re.compile(rf"Used {SIZE} of {SIZE} hbm"),
)


@dataclasses.dataclass(frozen=True)
class Target:
    """The devices of a topology; a v4 chip is two devices, all others are one."""

    topology: str
    devices: Sequence[Any]
    chip: chips.Chip
    chips: int
    available: float  # bytes of a device that a program may use

    @property
    def cores(self) -> int:
        """Devices per chip."""
        return len(self.devices) // self.chips


@dataclasses.dataclass(frozen=True)
class TargetRun(jax_workloads.RunWithoutData):
    """A run on the devices of a target."""

    devices: Sequence[Any] = ()

    @functools.cached_property
    def backend(self) -> parallel.Backend:
        train = self.config.train
        tuned = train.compiler_options == "tuned"
        return parallel.BACKENDS[train.backend](self.devices, tuned=tuned)


def find_target(topology: str) -> Target:
    """The target called `topology`: such as v5e:4x4, h200, or cpu (this one).

    cpu:8 is eight virtual devices of this machine, of which JAX must have been told.

    Raises:
        ConfigError: the chip or the topology is unknown.
    """
    chip = chips.of(topology)
    if chip.platform == "cpu":
        devices, count = jax.devices("cpu"), int(topology.partition(":")[2] or 1)
        if count > len(devices):
            raise errors.ConfigError(
                f"--topology={topology}, but JAX has {len(devices)}: set "
                f"XLA_FLAGS=--xla_force_host_platform_device_count={count}"
            )
        return Target(topology, devices[:count], chip, 1, chip.memory)
    if chip.platform == "cuda":
        devices = gpus.devices(topology)
        return Target(topology, devices, chip, len(devices), chip.memory)
    sizes = re.findall(r"\d+", topology.partition(":")[2])
    # A host usually has 2 x 2 chips; the topology of one chip needs a host with one.
    single = math.prod(map(int, sizes)) == 1
    options = {"chips_per_host_bounds": (1, 1, 1)} if single else {}
    try:
        description = topologies.get_topology_desc(topology, platform="tpu", **options)
    except Exception as error:  # JAX raises several kinds of error
        first = (str(error).splitlines() or [""])[0]
        raise errors.ConfigError(
            f"--topology={topology}: {first}; examples: v5e:1x1, v5e:2x4, v5e:16x16, "
            "v4:2x2x1, v5p:2x2x2, v6e:4x4"
        ) from error
    devices = description.devices
    count = len({tuple(device.coords) for device in devices})
    available = _usable_bytes(devices[0]) or chip.memory * count / len(devices)
    return Target(topology, devices, chip, count, available)


def _usable_bytes(device: Any) -> float | None:
    """Bytes of `device` that a program may use, from the error of one too large."""
    sharding = SingleDeviceSharding(device)
    huge = jax.ShapeDtypeStruct((2**20, 2**20), np.float32)
    square = jax.jit(lambda x: x @ x, in_shardings=sharding, out_shardings=sharding)
    try:
        square.lower(huge).compile()
    except jax.errors.JaxRuntimeError as error:
        return read_sizes(str(error))[1]
    return None


def read_sizes(message: str) -> tuple[float, float] | tuple[None, None]:
    """Bytes needed and bytes available from XLA's error; (None, None) if not stated."""
    for pattern in TOO_LARGE:
        if match := pattern.search(message):
            needed, needed_unit, available, available_unit = match.groups()
            return (
                float(needed) * UNITS[needed_unit],
                float(available) * UNITS[available_unit],
            )
    return None, None


@contextlib.contextmanager
def make_run(target: Target, config: ml_collections.ConfigDict) -> Iterator[TargetRun]:
    """The run of `config` on the devices of `target`, in a temporary folder."""
    no_data: Any = None
    with tempfile.TemporaryDirectory(prefix="roofline-") as folder:
        yield TargetRun(config, no_data, Path(folder), devices=target.devices)


def compile_part(
    target: Target, config: ml_collections.ConfigDict, part: str
) -> dict[str, Any]:
    """XLA's analysis of a program of `config`, which is one of `PARTS`.

    Memory, operations and bytes are those of one device. A program that does not fit
    has only `asked`, the bytes it needs. The compiler accepts some programs that need
    more memory than the device has; they count as too large.
    """
    with make_run(target, config) as run:
        lowered = lower(run, part)
    sizes = config.evaluate if part == "inference" else config.train
    row: dict[str, Any] = {
        "backend": config.train.backend,
        "part": part,
        "batch_size": sizes.batch_size,
    }
    start = time.perf_counter()
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        message = " ".join(str(error).split())[:400]
        needed = read_sizes(message)[0]
        return row | {"fits": False, "asked": needed, "said": message}
    seconds, analysis = time.perf_counter() - start, describe(compiled, target.chip)
    needed = analysis["memory"]["sum"]
    if needed > target.available:
        message = "arguments, results, temporaries and code together"
        return row | {"fits": False, "asked": needed, "said": message}
    row |= {"fits": True, "seconds": seconds}
    return row | analysis | {"host_bytes": _host_bytes()}


def lower(run: TargetRun, part: str) -> Any:
    """The program `part` of `run`, lowered for its devices."""
    config, devices = run.config, len(run.devices)
    train, evaluate = config.train, config.evaluate
    if part != "inference":
        parallel.check_divides(
            "train.batch_size", train.batch_size, devices, train.accumulate
        )
    if part == "batch":
        unpack: Any = run.backend.predictions(resident.unpacked)
        table, rows = resident_batch.shapes(run, train.batch_size)
        return unpack.lower(*_on_devices(run, table, rows))
    state = run.abstract_state()
    if part == "train":
        batch = batch_shapes(run, train.batch_size)
        if train.steps_per_call > 1:
            several: Any = run.backend.stacked().update(run.step.train_several)
            return several.lower(state, _stacked(batch, train.steps_per_call))
        update: Any = run.backend.update(run.step.train)
        return update.lower(*_on_devices(run, state, batch))
    size = evaluate.batch_size
    parallel.check_divides("evaluate.batch_size", size, devices, 1)
    predictions: Any = run.backend.predictions(run.step.predict)
    images = batch_shapes(run, size)["image"]
    return predictions.lower(*_on_devices(run, state, images))


def batch_shapes(run: TargetRun, size: int) -> dict[str, jax.ShapeDtypeStruct]:
    """The shapes of a batch of `size` slices."""
    config = run.config.copy_and_resolve_references()
    with config.unlocked():
        config.train.batch_size = 1
    rows = workload.noise_batch(config, run.preprocess.channels)
    return {
        name: jax.ShapeDtypeStruct((size, *row.shape[1:]), row.dtype)
        for name, row in rows.items()
    }


def _stacked(batch: dict[str, Any], count: int) -> dict[str, jax.ShapeDtypeStruct]:
    """The shapes of `count` batches."""
    return {
        name: jax.ShapeDtypeStruct((count, *rows.shape), rows.dtype)
        for name, rows in batch.items()
    }


def _on_devices(run: TargetRun, state: Any, rows: Any) -> tuple[Any, Any]:
    """Shapes as the backend takes them: for pmap, the first axis is the device."""
    if run.config.train.backend == "jit":
        return state, rows
    count = len(run.devices)

    def reshaped(x: Any, *shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((count, *shape), x.dtype)

    return (
        jax.tree.map(lambda x: reshaped(x, *x.shape), state),
        jax.tree.map(lambda x: reshaped(x, x.shape[0] // count, *x.shape[1:]), rows),
    )


def describe(compiled: Any, chip: chips.Chip) -> dict[str, Any]:
    """Memory, operations, bytes and collectives of a program on one device.

    Without a GPU, XLA counts nothing for one: operations are then those of products.
    """
    sizes, costs = compiled.memory_analysis(), compiled.cost_analysis()
    text = compiled.as_text()
    counted = (costs[0] if isinstance(costs, list) else costs) or {}
    summary = parts.summary(hlo.passes(text), chip)
    memory = {
        "arguments": sizes.argument_size_in_bytes,
        "results": sizes.output_size_in_bytes - sizes.alias_size_in_bytes,
        "temporaries": sizes.temp_size_in_bytes,
        "code": sizes.generated_code_size_in_bytes,
    }
    return {
        "memory": memory | {"sum": sum(memory.values())},
        "aliased": sizes.alias_size_in_bytes,
        "operations": counted.get("flops") or summary["operations"],
        # What operations read and write, in a core's own memory or not.
        "bytes": counted.get("bytes accessed"),
        "summary": summary,
        "collectives": collectives.count(text),
        "with_kernels": collectives.with_rank(text, 4),
    }


def count_batch_norms(target: Target, config: ml_collections.ConfigDict) -> int:
    """The number of batch normalisations of the network."""
    with make_run(target, config) as run:
        return len(jax.tree.leaves(run.abstract_state().batch_stats)) // 2


def _host_bytes() -> int:
    """Peak memory of this process so far, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
