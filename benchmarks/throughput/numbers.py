"""From turns to numbers: medians, spread, ratios of turns that followed each other."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.throughput import cases

Row = Mapping[str, Any]
ARITHMETICS = ("float32", "tf32", "bfloat16")


def has_turns(row: Row) -> bool:
    """Whether `row` was measured to the end."""
    return row["failed"] is None and bool(row["turns"])


def seconds_per_image(row: Row) -> list[float]:
    """Of each turn."""
    return [turn["seconds"] / turn["images"] for turn in row["turns"]]


def seconds_per_step(row: Row) -> list[float]:
    """Of each turn."""
    return [turn["seconds"] / turn["steps"] for turn in row["turns"]]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and most."""
    return {
        "median": statistics.median(values),
        "least": min(values),
        "most": max(values),
    }


def fastest(
    rows: Sequence[Row], framework: str, arithmetic: str | None = None
) -> Row | None:
    """The row of `framework` with the least median time; None if there is none.

    With `arithmetic`, of those that compute in it.
    """
    found = [
        row
        for row in rows
        if row["framework"] == framework
        and row["compared"]
        and has_turns(row)
        and arithmetic in (None, row["arithmetic"])
    ]
    return min(
        found, key=lambda row: statistics.median(seconds_per_image(row)), default=None
    )


def ratio(theirs: Row, ours: Row) -> dict[str, float]:
    """Their time over ours, turn by turn: above 1, ours is faster.

    Turns that followed each other are compared, not the medians, so that the ratio
    holds where the machine's speed drifts.
    """
    pairs = zip(seconds_per_image(theirs), seconds_per_image(ours), strict=False)
    return spread([their / our for their, our in pairs])


def ratios(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """The fastest of each framework compared, by arithmetic, and of all ("fastest")."""
    found = {}
    for name in (*ARITHMETICS, "fastest"):
        arithmetic = None if name == "fastest" else name
        ours = fastest(rows, cases.OURS, arithmetic)
        theirs = fastest(rows, cases.PYTORCH, arithmetic)
        if ours is not None and theirs is not None:
            found[name] = {
                "ours": ours["mode"], "pytorch": theirs["mode"], **ratio(theirs, ours)
            }  # fmt: skip
    return found


def rates(row: Row, operations: float) -> list[float]:
    """Operations per second of each turn, where an image takes so many."""
    return [operations / seconds for seconds in seconds_per_image(row)]


def peaks(measured: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The best rate of any matrix product, in operations a second, by arithmetic."""
    best: dict[str, dict[str, Any]] = {}
    for entry in measured:
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
