"""Search for the largest batch that fits in memory, in few compilations.

Input: a function that measures the memory of a batch. Output: bounds of the largest
batch.
"""

from collections.abc import Callable
from typing import NamedTuple


class Need(NamedTuple):
    """The memory that a batch needs on a device."""

    bytes: float
    fits: bool


class Bounds(NamedTuple):
    """The largest batch known to fit (0: none), and the smallest known not to."""

    fits: int
    too_large: int | None
    compilations: int


def largest(
    measure: Callable[[int], Need], first: int, available: float, most: int
) -> Bounds:
    """Search from `first` slices per device with at most `most` measurements.

    Memory grows roughly in proportion to the batch, so the next guess is proportional,
    but at least half larger, because near the limit the compiler saves memory by
    recomputing values. Between a batch that fits and one that does not, the next guess
    is halfway. The search ends when the bounds are within an eighth.

    Args:
        measure: returns the need of a batch of so many slices per device.
        first: the first guess, in slices per device.
        available: bytes of a device that a program may use.
        most: the largest number of measurements.
    """
    low, high, tried, guess = 0, None, 0, first
    while tried < most:
        need = measure(guess)
        tried += 1
        if need.fits:
            low = max(low, guess)
        else:
            high = guess if high is None else min(high, guess)
        if high is not None and high - low <= max(1, low // 8):
            break
        guess = _next(low, high, int(guess * available / need.bytes))
    return Bounds(low, high, tried)


def _next(low: int, high: int | None, proportional: int) -> int:
    step_up = low + max(1, low // 2)
    if high is None:
        return max(proportional, step_up)
    if low == 0:
        return max(1, min(proportional, high - 1))
    return min((low + high) // 2, step_up)
