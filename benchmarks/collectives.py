"""What a compiled program sends between devices.

In: the text of a program that XLA has compiled (HLO). Out: how many collectives of each
kind it has, and the bytes that each device puts in or gets, once through the program:
those in the body of a loop count once.
"""

import re

KINDS = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute"
# `name = shape kind(`, or kind-start( where it goes on in the background.
_CALL = re.compile(rf"= (\(.*?\)|\S+) ({KINDS})(?:-start)?\(")
_SHAPE = re.compile(r"([a-z]+\d*)\[([\d,]*)\]")
_BITS = {"pred": 8, "bf16": 16}


def count(text: str) -> dict[str, dict[str, int]]:
    """Count and bytes of each kind of collective in `text`, by its name in HLO."""
    found: dict[str, dict[str, int]] = {}
    for shape, kind in _CALL.findall(text):
        row = found.setdefault(kind, {"count": 0, "bytes": 0})
        row["count"] += 1
        row["bytes"] += sum(_bytes(*each) for each in _SHAPE.findall(shape))
    return found


def with_rank(text: str, rank: int) -> int:
    """How many collectives in `text` have an array of `rank` dimensions in the result.

    With 4, those that carry gradients of kernels.
    """
    ranks = [
        {dims.count(",") + bool(dims) for _, dims in _SHAPE.findall(shape)}
        for shape, _ in _CALL.findall(text)
    ]
    return sum(rank in found for found in ranks)


def _bytes(dtype: str, dimensions: str) -> int:
    """Of an array; `dtype` is HLO's name, such as f32 or u8."""
    size = 1
    for length in dimensions.split(","):
        size *= int(length or 1)
    return size * _bits(dtype) // 8


def _bits(dtype: str) -> int:
    return _BITS.get(dtype) or int(re.sub(r"\D", "", dtype))
