"""A run's steps, compiled for devices that are not here.

In: a topology's name and a checked configuration. Out: what XLA says of the programs.
The functions are those that `run.wiring.Run` gives the training loop and predictions,
with the same donation; their arguments are shapes, and nothing is computed.
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
from benchmarks.throughput import job, ours
from benchmarks.tpu_compile import chips
from mtl_jax.core import errors
from mtl_jax.train import parallel

UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
SIZE = r"([\d.]+)([KMGT])"
# XLA's ways to say how much was asked for, and how much there is.
TOO_LARGE = (
    re.compile(rf"{SIZE}\)? exceeds available HBM \({SIZE}\)"),
    re.compile(rf"Used {SIZE} of {SIZE} hbm"),
)


@dataclasses.dataclass(frozen=True)
class Target:
    """The devices of a topology; a chip of v4 is two of them."""

    topology: str
    devices: Sequence[Any]
    chip: chips.Chip
    chips: int
    available: float  # bytes of a device that a program may use

    @property
    def cores(self) -> int:
        """Devices of a chip."""
        return len(self.devices) // self.chips


@dataclasses.dataclass(frozen=True)
class Elsewhere(ours.WithoutData):
    """A run on the devices of a target."""

    devices: Sequence[Any] = ()

    @functools.cached_property
    def backend(self) -> parallel.Backend:
        return parallel.BACKENDS[self.config.train.backend](self.devices)


def find(topology: str) -> Target:
    """The target called `topology`, as v5e:4x4.

    Raises:
        ConfigError: there is no such topology.
    """
    chip = chips.of(topology)
    sizes = re.findall(r"\d+", topology.partition(":")[2])
    # Usually a host has 2 x 2 chips; there is a host with a single one, too.
    alone = math.prod(map(int, sizes)) == 1
    options = {"chips_per_host_bounds": (1, 1, 1)} if alone else {}
    try:
        found = topologies.get_topology_desc(topology, platform="tpu", **options)
    except Exception as error:  # JAX's own errors are of several kinds
        first = (str(error).splitlines() or [""])[0]
        raise errors.ConfigError(
            f"--topology={topology}: {first}; examples: v5e:1x1, v5e:2x4, v5e:16x16, "
            "v4:2x2x1, v5p:2x2x2, v6e:4x4"
        ) from error
    devices = found.devices
    count = len({tuple(device.coords) for device in devices})
    available = _available(devices[0]) or chip.memory * count / len(devices)
    return Target(topology, devices, chip, count, available)


def _available(device: Any) -> float | None:
    """What the compiler gives a program of `device`, as it says when asked for more."""
    here = SingleDeviceSharding(device)
    huge = jax.ShapeDtypeStruct((2**20, 2**20), np.float32)
    square = jax.jit(lambda x: x @ x, in_shardings=here, out_shardings=here)
    try:
        square.lower(huge).compile()
    except jax.errors.JaxRuntimeError as error:
        return read_sizes(str(error))[1]
    return None


def read_sizes(message: str) -> tuple[float, float] | tuple[None, None]:
    """Bytes that were asked for and that there are, from XLA's error; or nothing."""
    for pattern in TOO_LARGE:
        if match := pattern.search(message):
            asked, unit, there, other = match.groups()
            return float(asked) * UNITS[unit], float(there) * UNITS[other]
    return None, None


@contextlib.contextmanager
def make_run(target: Target, config: ml_collections.ConfigDict) -> Iterator[Elsewhere]:
    """The run of `config` on the devices of `target`, in a folder for the while."""
    no_data: Any = None
    with tempfile.TemporaryDirectory(prefix="tpu-compile-") as folder:
        yield Elsewhere(config, no_data, Path(folder), devices=target.devices)


def compile_part(
    target: Target, config: ml_collections.ConfigDict, part: str
) -> dict[str, Any]:
    """What XLA says of the "train" or the "inference" step of `config`.

    Memory, operations and bytes are of one device. What does not fit has the bytes that
    it `asked` for, and nothing else. The compiler may accept a program whose parts add
    up to more than there is: that does not fit either.
    """
    with make_run(target, config) as run:
        lowered = lower(run, part)
    sizes = {"train": config.train, "inference": config.evaluate}
    row: dict[str, Any] = {
        "backend": config.train.backend,
        "part": part,
        "batch_size": sizes[part].batch_size,
    }
    start = time.perf_counter()
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        said = " ".join(str(error).split())[:400]
        return row | {"fits": False, "asked": read_sizes(said)[0], "said": said}
    seconds, found = time.perf_counter() - start, describe(compiled)
    asked = found["memory"]["sum"]
    if asked > target.available:
        said = "arguments, results, temporaries and code together"
        return row | {"fits": False, "asked": asked, "said": said}
    row |= {"fits": True, "seconds": seconds}
    return row | found | {"host_bytes": _host_bytes()}


def lower(run: Elsewhere, part: str) -> Any:
    """The part of `run`, lowered for its devices."""
    config, devices = run.config, len(run.devices)
    train, evaluate = config.train, config.evaluate
    state = run.abstract_state()
    if part == "train":
        accumulate = train.accumulate
        parallel.check_divides(
            "train.batch_size", train.batch_size, devices, accumulate
        )
        update: Any = run.backend.update(run.step.train)
        return update.lower(*_placed(run, state, batch(run, train.batch_size)))
    size = evaluate.batch_size
    parallel.check_divides("evaluate.batch_size", size, devices, 1)
    predictions: Any = run.backend.predictions(run.step.predict)
    return predictions.lower(*_placed(run, state, batch(run, size)["image"]))


def batch(run: Elsewhere, size: int) -> dict[str, jax.ShapeDtypeStruct]:
    """The shapes of a batch of `size` slices."""
    one = run.config.copy_and_resolve_references()
    with one.unlocked():
        one.train.batch_size = 1
    rows = job.noise_batch(one, run.preprocess.channels)
    return {
        name: jax.ShapeDtypeStruct((size, *row.shape[1:]), row.dtype)
        for name, row in rows.items()
    }


def _placed(run: Elsewhere, state: Any, rows: Any) -> tuple[Any, Any]:
    """Shapes as the backend takes them: pmap has an axis of devices before them."""
    if run.config.train.backend == "jit":
        return state, rows
    count = len(run.devices)

    def reshaped(x: Any, *shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((count, *shape), x.dtype)

    return (
        jax.tree.map(lambda x: reshaped(x, *x.shape), state),
        jax.tree.map(lambda x: reshaped(x, x.shape[0] // count, *x.shape[1:]), rows),
    )


def describe(compiled: Any) -> dict[str, Any]:
    """Memory, operations, bytes and collectives of a program, on one device."""
    sizes, costs = compiled.memory_analysis(), compiled.cost_analysis()
    text = compiled.as_text()
    costs = costs[0] if isinstance(costs, list) else costs
    memory = {
        "arguments": sizes.argument_size_in_bytes,
        "results": sizes.output_size_in_bytes - sizes.alias_size_in_bytes,
        "temporaries": sizes.temp_size_in_bytes,
        "code": sizes.generated_code_size_in_bytes,
    }
    return {
        "memory": memory | {"sum": sum(memory.values())},
        "aliased": sizes.alias_size_in_bytes,
        "operations": costs["flops"],
        "bytes": costs["bytes accessed"],
        "collectives": collectives.count(text),
        "with_kernels": collectives.with_rank(text, 4),
    }


def batch_norms(target: Target, config: ml_collections.ConfigDict) -> int:
    """How many batch normalisations the network has."""
    with make_run(target, config) as run:
        return len(jax.tree.leaves(run.abstract_state().batch_stats)) // 2


def _host_bytes() -> int:
    """Most memory of this process until now."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
