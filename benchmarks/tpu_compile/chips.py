"""Public peak figures of TPU chips, and the time of a step if nothing but they counted.

In: what a compiled step does on a chip. Out: the roofline's seconds and images.
"""

import dataclasses
from typing import Any

from mtl_jax.core import errors


@dataclasses.dataclass(frozen=True)
class Chip:
    """A chip's peaks, as its maker gives them."""

    operations: float  # a second, bfloat16
    memory: float  # bytes of HBM
    memory_rate: float  # bytes a second
    link_rate: float  # bytes a second that a chip sends to its neighbours


# docs.cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e}, November 2026. Links: half of the
# bidirectional bandwidth of a chip; of v4 a pod's all-reduce bandwidth over its chips.
CHIPS = {
    "v4": Chip(275e12, 32 * 2**30, 1200e9, 1.1e15 / 4096),
    "v5e": Chip(197e12, 16 * 2**30, 819e9, 200e9),
    "v5p": Chip(459e12, 95 * 2**30, 2765e9, 600e9),
    "v6e": Chip(918e12, 32 * 2**30, 1638e9, 400e9),
}


def of(topology: str) -> Chip:
    """The chip of a topology such as v5e:4x4.

    Raises:
        ConfigError: a chip that is not in the table.
    """
    generation = topology.partition(":")[0]
    if generation not in CHIPS:
        raise errors.ConfigError(
            f"unknown chip {generation!r}{errors.nearest(generation, CHIPS)}; "
            f"known: {', '.join(CHIPS)}, as in --topology=v5e:4x4"
        )
    return CHIPS[generation]


def roofline(chip: Chip, program: dict[str, Any], chips: int, cores: int) -> dict:
    """What bounds a step of `program` on `chips` chips of `cores` devices each.

    An estimate, and an upper bound of the speed: each of the three goes at its peak and
    at the same time as the others. Left out are the latency of collectives, links that
    a small slice of a pod has not, bytes that stay in the cores' own memory, and the
    host.
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
    """Bytes that a device sends for a collective with a result of `size` bytes."""
    rounds = {"all-reduce": 2, "collective-permute": devices / max(devices - 1, 1)}
    return rounds.get(kind, 1) * size * (devices - 1) / devices
