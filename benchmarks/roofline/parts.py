"""Where a compiled program spends its bytes and cycles: parts of the network, passes.

Input: the passes of a program (`hlo.passes`) and the chip. Output: plain values for
`result.json`: bounds of the time, a row for each part, and the largest passes without a
product.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.roofline import chips, hlo

# What JAX puts around the name of a scope: the transformation that made it.
_WRAPPED = re.compile(r"^(\w+)\((.*)\)$")
_NUMBERED_BLOCK = re.compile(r"^(layer\d+)_\d+$")
# Modules with parts of their own worth a row; of all others the first name is enough.
DIVIDED = ("encoder", "decoder", "attention")
REST = "losses and the rest"
# Scopes around a part of the program that say nothing of the network.
AROUND = ("checkpoint", "rematted_computation", "while", "body", "closed_call")
LARGEST = 10  # passes in the table


def summary(passes: list[hlo.Pass], chip: chips.Chip) -> dict[str, Any]:
    """Totals, bounds, parts and the largest passes without a product."""
    return {
        "passes": len(passes),
        "operations": sum(each.operations for each in passes),
        "float32_operations": sum(p.operations for p in passes if p.float32),
        "memory_bytes": sum(each.bytes for each in passes),
        "padded_bytes": sum(each.padded_bytes for each in passes),
        "cycles": _cycles(passes),
        "seconds_by_pass": sum(seconds(each, chip) for each in passes),
        "by_part": by_part(passes, chip),
        "largest_without_product": largest_without_product(passes, chip),
    }


def seconds(each: hlo.Pass, chip: chips.Chip) -> float:
    """The least time of a pass: arithmetic, memory, or the launch of a kernel."""
    rate = chip.float32_operations if each.float32 else chip.operations
    return max(
        each.operations / rate, each.padded_bytes / chip.memory_rate, chip.launch
    )


def by_part(passes: Iterable[hlo.Pass], chip: chips.Chip) -> list[dict[str, Any]]:
    """A row for each part of the network, the longest first.

    `share` is that of the compiler's cycles where it gives them, else that of the least
    time of each pass, or of the bytes if the chip's peaks are not known. `waste` is the
    share of the bytes that only fills up tiles.
    """
    groups: dict[str, list[hlo.Pass]] = {}
    for each in passes:
        groups.setdefault(part(each.scope), []).append(each)
    weight = _weight([each for group in groups.values() for each in group], chip)
    whole = sum(weight(each) for group in groups.values() for each in group)
    rows = [_row(name, group, weight, whole, chip) for name, group in groups.items()]
    return sorted(rows, key=lambda row: row["share"], reverse=True)


def _row(
    name: str,
    group: list[hlo.Pass],
    weight: Callable[[hlo.Pass], float],
    whole: float,
    chip: chips.Chip,
) -> dict[str, Any]:
    """The row of the part `name`, of which the passes are `group`."""
    time = sum(map(weight, group))
    back = sum(weight(each) for each in group if "transpose(" in each.scope)
    moved = sum(each.bytes for each in group)
    padded = sum(each.padded_bytes for each in group)
    return {
        "part": name,
        "passes": len(group),
        "operations": sum(each.operations for each in group),
        "memory_bytes": moved,
        "padded_bytes": padded,
        "cycles": _cycles(group),
        "seconds": sum(seconds(each, chip) for each in group),
        "share": time / whole if whole else 0.0,
        "backward": back / time if time else 0.0,
        "waste": 1 - moved / padded if padded else 0.0,
    }


def _weight(passes: list[hlo.Pass], chip: chips.Chip) -> Callable[[hlo.Pass], float]:
    """What stands for a pass's time: its cycles, its least time, or its bytes."""
    if any(each.cycles for each in passes):
        return lambda each: each.cycles or 0
    if any(seconds(each, chip) for each in passes):
        return lambda each: seconds(each, chip)
    return lambda each: each.padded_bytes


def part(scope: str) -> str:
    """The part of the network of a scope as JAX names it.

    >>> part("jit(train)/transpose(jvp(MultiTask))/decoder_dose/block5/conv1/add")
    'decoder_dose/block5'
    >>> part("jit(train)/jvp(MultiTask)/encoder/layer3_4/bn1/mul")
    'encoder/layer3'
    >>> part("jit(train)/optimizer/mul")
    'optimizer'
    """
    names = []
    for name in scope.split("/")[:-1]:  # the last one is the operation
        while match := _WRAPPED.match(name):
            name = "" if match.group(1) in ("jit", "pjit") else match.group(2)
        # A class is the whole network.
        if name and not name[0].isupper() and name not in AROUND:
            names.append(name)
    if not names:
        return REST
    if names[0].split("_")[0] not in DIVIDED or len(names) == 1:
        return names[0]
    block = _NUMBERED_BLOCK.match(names[1])
    return f"{names[0]}/{block.group(1) if block else names[1]}"


def largest_without_product(
    passes: Iterable[hlo.Pass], chip: chips.Chip
) -> list[dict[str, Any]]:
    """Passes that only move or add values, as batch-norm's and copies: the longest."""
    moving = [each for each in passes if not each.product]
    moving.sort(key=_weight(moving, chip), reverse=True)
    return [
        {
            "name": each.name,
            "kind": each.kind,
            "scope": each.scope,
            "memory_bytes": each.bytes,
            "padded_bytes": each.padded_bytes,
            "cycles": each.cycles,
            "seconds": seconds(each, chip),
        }
        for each in moving[:LARGEST]
    ]


def _cycles(passes: Iterable[hlo.Pass]) -> int | None:
    counts = [each.cycles for each in passes if each.cycles is not None]
    return sum(counts) if counts else None
