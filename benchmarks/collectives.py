"""Communication between devices in a compiled program.

Input: the text of a program that XLA has compiled (HLO). Output: the number of
collectives of each kind, and the bytes of their results on each device, for one run of
the program. A collective in the body of a loop counts once.
"""

import re

KINDS = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute"
# `name = shape kind(`; an asynchronous collective is written `kind-start(`.
_CALL = re.compile(rf"= (\(.*?\)|\S+) ({KINDS})(?:-start)?\(")
_SHAPE = re.compile(r"([a-z]+\d*)\[([\d,]*)\]")
_BITS = {"pred": 8, "bf16": 16}


def count(text: str) -> dict[str, dict[str, int]]:
    """Count and bytes of the collectives in `text`, by kind (the name in HLO)."""
    totals: dict[str, dict[str, int]] = {}
    for shape, kind in _CALL.findall(text):
        row = totals.setdefault(kind, {"count": 0, "bytes": 0})
        row["count"] += 1
        row["bytes"] += sum(_bytes(*each) for each in _SHAPE.findall(shape))
    return totals


def with_rank(text: str, rank: int) -> int:
    """Number of collectives in `text` whose result contains an array of `rank` axes.

    Rank 4 counts those that carry gradients of convolution kernels.
    """
    ranks = [
        {dims.count(",") + bool(dims) for _, dims in _SHAPE.findall(shape)}
        for shape, _ in _CALL.findall(text)
    ]
    return sum(rank in each for each in ranks)


def _bytes(dtype: str, dimensions: str) -> int:
    """Bytes of an array; `dtype` is HLO's name, such as f32 or u8."""
    size = 1
    for length in dimensions.split(","):
        size *= int(length or 1)
    return size * _bits(dtype) // 8


def _bits(dtype: str) -> int:
    return _BITS.get(dtype) or int(re.sub(r"\D", "", dtype))
