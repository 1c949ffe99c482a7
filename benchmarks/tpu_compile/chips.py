"""Public peak rates of TPU chips, and the roofline estimate of a step.

Input: operations, bytes and collectives of a compiled step. Output: seconds of the step
and images per second, if only the peak rates limited it.
"""

import dataclasses
from typing import Any

from mtl_jax.core import errors


@dataclasses.dataclass(frozen=True)
class Chip:
    """Peak rates of a chip as its maker states them."""

    operations: float  # per second, bfloat16
    memory: float  # bytes of HBM
    memory_rate: float  # bytes per second
    link_rate: float  # bytes per second that a chip sends to its neighbours


# docs.cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e}, November 2026. Links: half of a
# chip's bidirectional bandwidth; for v4, a pod's all-reduce bandwidth over its chips.
CHIPS = {
    "v4": Chip(275e12, 32 * 2**30, 1200e9, 1.1e15 / 4096),
    "v5e": Chip(197e12, 16 * 2**30, 819e9, 200e9),
    "v5p": Chip(459e12, 95 * 2**30, 2765e9, 600e9),
    "v6e": Chip(918e12, 32 * 2**30, 1638e9, 400e9),
}


def of(topology: str) -> Chip:
    """The chip of a topology such as v5e:4x4.

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
    the links that a small slice of a pod lacks, and the host. It counts bytes that stay
    in a core's own memory as if they came from HBM.

    Args:
        chip: the peak rates.
        program: operations, bytes and collectives of one device, and `batch_size`.
        chips: the number of chips.
        cores: devices per chip.
    """
    sent = sum(
        _sent(kind, row["bytes"], chips * cores)
        for kind, row in program["collectives"].items()
    )
    seconds = {
        "arithmetic": cores * program["operations"] / chip.operations,
        "memory": cores * program["bytes"] / chip.memory_rate,
        "links": cores * sent / chip.link_rate,
    }
    longest = max(seconds, key=seconds.__getitem__)
    images = program["batch_size"] / chips
    return {
        "seconds": seconds,
        "bound": longest,
        "images_per_second_per_chip": images / seconds[longest],
    }


def _sent(kind: str, size: int, devices: int) -> float:
    """Bytes that a device sends for a collective whose result has `size` bytes."""
    rounds = {"all-reduce": 2, "collective-permute": devices / max(devices - 1, 1)}
    return rounds.get(kind, 1) * size * (devices - 1) / devices
