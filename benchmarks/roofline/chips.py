"""Public peak rates of chips, and the least time that a step can take on them.

Input: operations, bytes, cycles and collectives of a compiled step. Output: seconds of
the step by each bound, and images per second, if only the slowest bound limited it.
"""

import dataclasses
import functools
from typing import Any

from mtl_jax.core import errors


@dataclasses.dataclass(frozen=True)
class Chip:
    """Peak rates of a chip as its maker states them; infinite where none is known."""

    operations: float  # per second, bfloat16, without sparsity
    memory: float  # bytes of HBM
    memory_rate: float  # bytes per second
    link_rate: float  # bytes per second that a chip sends to its neighbours
    platform: str = "tpu"
    clock: float = 0.0  # cycles per second; 0: the compiler gives no cycles
    tf32: float | None = None  # operations per second of float32 operands; None: same
    launch: float = 0.0  # seconds at least from one kernel to the next

    @property
    def float32_operations(self) -> float:
        """Operations per second of products with float32 operands, by JAX's default."""
        return self.tf32 or self.operations


INFINITE = float("inf")
LAUNCH = 2e-6  # an assumption; NVIDIA states none
_gpu = functools.partial(Chip, platform="cuda", launch=LAUNCH)

# docs.cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e}, November 2026. Links: half of a
# chip's bidirectional bandwidth; for v4, a pod's all-reduce bandwidth over its chips.
# Clocks: the peak over two operations of each of 8, 4, 8 units of 128 x 128 and 4 units
# of 256 x 256. GPUs: NVIDIA's data sheets of the SXM cards, dense; NVLink one way.
CHIPS = {
    "v4": Chip(275e12, 32 * 2**30, 1200e9, 1.1e15 / 4096, clock=1.05e9),
    "v5e": Chip(197e12, 16 * 2**30, 819e9, 200e9, clock=1.5e9),
    "v5p": Chip(459e12, 95 * 2**30, 2765e9, 600e9, clock=1.75e9),
    "v6e": Chip(918e12, 32 * 2**30, 1638e9, 400e9, clock=1.75e9),
    "h200": _gpu(989e12, 141e9, 4800e9, 450e9, tf32=494e12),
    "h100": _gpu(989e12, 80e9, 3350e9, 450e9, tf32=494e12),
    "a100": _gpu(312e12, 80e9, 2039e9, 300e9, tf32=156e12),
    # This machine: operations and bytes alone, its peaks are not known.
    "cpu": Chip(INFINITE, INFINITE, INFINITE, INFINITE, platform="cpu"),
}


def of(topology: str) -> Chip:
    """The chip of a topology such as v5e:4x4, h200 or cpu.

    Raises:
        ConfigError: the chip is not in the table.
    """
    generation = topology.partition(":")[0]
    if generation not in CHIPS:
        raise errors.ConfigError(
            f"unknown chip {generation!r}{errors.nearest(generation, CHIPS)}; "
            f"known: {', '.join(CHIPS)}, as in --topology=v5e:4x4"
        )
    return CHIPS[generation]


def roofline(chip: Chip, program: dict[str, Any], chips: int, cores: int) -> dict:
    """The limit on the speed of `program` on `chips` chips of `cores` devices each.

    This estimate is an upper bound of the speed: it assumes that arithmetic, memory and
    links all run at their peak at the same time. It ignores the latency of collectives,
    the links that a small slice of a pod lacks, and the host. Memory's bound counts the
    bytes to and from HBM, with the padding of tiles; not those that stay in a TPU's own
    memory. Where the compiler estimates cycles, they are a bound too: its own; of a
    GPU, the sum over the kernels of each one's least time.

    Args:
        chip: the peak rates.
        program: `summary` (parts.summary), operations and collectives of one device,
            and `batch_size`.
        chips: the number of chips.
        cores: devices per chip.
    """
    sent = sum(
        _sent(kind, row["bytes"], chips * cores)
        for kind, row in program["collectives"].items()
    )
    found = program["summary"]
    seconds = {
        "arithmetic": cores * program["operations"] / chip.operations,
        "memory": cores * found["padded_bytes"] / chip.memory_rate,
        "links": cores * sent / chip.link_rate,
    }
    if chip.clock and found["cycles"]:  # each device of a chip has its own clock
        seconds["cycles"] = found["cycles"] / chip.clock
    if chip.launch:
        seconds["kernels"] = found["seconds_by_pass"]
    longest = max(seconds, key=seconds.__getitem__)
    images = program["batch_size"] / chips
    return {
        "seconds": seconds,
        "bound": longest if seconds[longest] else None,
        "images_per_second_per_chip": (
            images / seconds[longest] if seconds[longest] else None
        ),
    }


def _sent(kind: str, size: int, devices: int) -> float:
    """Bytes that a device sends for a collective whose result has `size` bytes."""
    rounds = {"all-reduce": 2, "collective-permute": devices / max(devices - 1, 1)}
    return rounds.get(kind, 1) * size * (devices - 1) / devices
