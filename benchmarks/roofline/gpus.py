"""NVIDIA's GPUs for the compiler, on a machine that has none.

Input: the name of a card, such as h200. Output: JAX's devices, for which programs can
be compiled but not run. JAX's plugin for CUDA and NVIDIA's assembler are needed (the
extra `gpu-compiler`), no driver and no other library of NVIDIA's.
"""

import dataclasses
import importlib.util
from collections.abc import Sequence
from typing import Any

import jax
from jax.experimental import topologies

from mtl_jax.core import errors

PLUGINS = ("jax_plugins.xla_cuda12", "jax_plugins.xla_cuda13")


@dataclasses.dataclass(frozen=True)
class Card:
    """What the compiler is told of a card; XLA has such descriptions in its sources."""

    name: str
    capability: int  # major version of the compute capability
    cores: int  # streaming multiprocessors
    units: int  # float32 units of each
    shared_memory: int  # bytes of each
    shared_memory_block: int  # bytes that a block may ask for
    cache: int  # bytes of the L2 cache
    clock_ghz: float
    memory: int  # bytes
    memory_rate: int  # bytes per second


_HOPPER = {
    "capability": 9,
    "cores": 132,
    "units": 128,
    "shared_memory": 233472,
    "shared_memory_block": 232448,
    "cache": 52428800,
    "clock_ghz": 1.98,
}
CARDS = {
    "h200": Card(
        "NVIDIA H200 141GB HBM3e",
        memory=151397597184,
        memory_rate=4800000000000,
        **_HOPPER,
    ),
    "h100": Card(
        "NVIDIA H100 80GB HBM3",
        memory=84978434048,
        memory_rate=3352320000000,
        **_HOPPER,
    ),
    "a100": Card(
        "NVIDIA A100-SXM4-80GB",
        capability=8,
        cores=108,
        units=64,
        shared_memory=167936,
        shared_memory_block=166912,
        cache=41943040,
        clock_ghz=1.41,
        memory=84987740160,
        memory_rate=2039000000000,
    ),
}


def installed() -> bool:
    """Whether JAX has a compiler for NVIDIA's GPUs."""
    if importlib.util.find_spec("jax_plugins") is None:
        return False
    return any(importlib.util.find_spec(name) for name in PLUGINS)


def devices(topology: str) -> Sequence[Any]:
    """One device of the card called `topology`.

    Raises:
        ConfigError: no such card, or several.
    """
    if topology not in CARDS:
        raise errors.ConfigError(
            f"--topology={topology}: one card of {', '.join(CARDS)}"
        )
    jax.devices("cpu")  # finds the plugins
    description = topologies.get_topology_desc(
        topology,
        platform="cuda",
        target_config=description_of(CARDS[topology]),
        topology="1x1x1",
    )
    return description.devices


def description_of(card: Card) -> str:
    """XLA's description of a card, GpuTargetConfigProto as text."""
    return f"""
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: {card.shared_memory_block}
  shared_memory_per_core: {card.shared_memory}
  threads_per_core_limit: 2048
  core_count: {card.cores}
  fpus_per_core: {card.units}
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {card.memory_rate}
  l2_cache_size: {card.cache}
  clock_rate_ghz: {card.clock_ghz}
  device_memory_size: {card.memory}
  cuda_compute_capability {{ major: {card.capability} }}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
device_description_str: "{card.name}"
"""
