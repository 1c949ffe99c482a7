"""Statistics of measured turns: medians, ranges, and ratios of the two frameworks.

Input: rows of `measure.measure`. Output: the numbers of the tables.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.throughput import cases

Row = Mapping[str, Any]
ARITHMETICS = ("float32", "tf32", "bfloat16")


def has_turns(row: Row) -> bool:
    """Whether the measurement of `row` was completed."""
    return row["failed"] is None and bool(row["turns"])


def seconds_per_image(row: Row) -> list[float]:
    """Seconds per image of each turn."""
    return [turn["seconds"] / turn["images"] for turn in row["turns"]]


def seconds_per_step(row: Row) -> list[float]:
    """Seconds per step of each turn."""
    return [turn["seconds"] / turn["steps"] for turn in row["turns"]]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, minimum ("least") and maximum ("most")."""
    return {
        "median": statistics.median(values),
        "least": min(values),
        "most": max(values),
    }


def fastest(
    rows: Sequence[Row], framework: str, arithmetic: str | None = None
) -> Row | None:
    """The row of `framework` with the shortest median time, or None.

    If `arithmetic` is given, only rows that compute in it count.
    """
    candidates = [
        row
        for row in rows
        if row["framework"] == framework
        and row["compared"]
        and has_turns(row)
        and arithmetic in (None, row["arithmetic"])
    ]
    return min(
        candidates,
        key=lambda row: statistics.median(seconds_per_image(row)),
        default=None,
    )


def ratio(torch_row: Row, jax_row: Row) -> dict[str, float]:
    """PyTorch's time over ours, turn by turn: above 1, ours is faster.

    Consecutive turns are compared, not the medians, so that the ratio stays valid when
    the machine's speed drifts.
    """
    pairs = zip(seconds_per_image(torch_row), seconds_per_image(jax_row), strict=False)
    return spread([torch_time / jax_time for torch_time, jax_time in pairs])


def ratios(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """The fastest modes of both frameworks compared: per arithmetic, and "fastest"."""
    by_arithmetic = {}
    for name in (*ARITHMETICS, "fastest"):
        arithmetic = None if name == "fastest" else name
        jax_row = fastest(rows, cases.OURS, arithmetic)
        torch_row = fastest(rows, cases.PYTORCH, arithmetic)
        if jax_row is not None and torch_row is not None:
            by_arithmetic[name] = {
                "ours": jax_row["mode"],
                "pytorch": torch_row["mode"],
                **ratio(torch_row, jax_row),
            }
    return by_arithmetic


def rates(row: Row, operations: float) -> list[float]:
    """Operations per second of each turn; an image takes `operations`."""
    return [operations / seconds for seconds in seconds_per_image(row)]


def peaks(entries: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The highest rate of a matrix product in operations per second, by arithmetic."""
    best: dict[str, dict[str, Any]] = {}
    for entry in entries:
        if entry["case"]["part"] != cases.PRODUCTS:
            continue
        for row in filter(has_turns, entry["rows"]):
            rate = max(rates(row, row["compiler_operations"]))
            name = f"{entry['case']['platform']}/{row['arithmetic']}"
            if rate > best.get(name, {"rate": 0.0})["rate"]:
                best[name] = {
                    "rate": rate,
                    "framework": row["framework"],
                    "allocator": entry["case"]["allocator"],
                }
    return best
