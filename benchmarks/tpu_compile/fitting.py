"""The largest batch that fits, in few compilations. In: a measurement; out: bounds."""

from collections.abc import Callable
from typing import NamedTuple


class Need(NamedTuple):
    """What a batch needs of a device."""

    bytes: float
    fits: bool


class Bounds(NamedTuple):
    """The largest that was seen to fit (0: none), and the least that was not."""

    fits: int
    too_large: int | None
    compilations: int


def largest(
    measure: Callable[[int], Need], first: int, available: float, most: int
) -> Bounds:
    """Search from `first` slices a device with at most `most` measurements.

    Memory grows about as the batch does, so that the next guess is in proportion, but
    half as much again at least: near the end the compiler saves memory by computing
    things twice. Between one that fitted and one that did not, it is halfway. An eighth
    is near enough.
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


def _next(low: int, high: int | None, in_proportion: int) -> int:
    a_step_up = low + max(1, low // 2)
    if high is None:
        return max(in_proportion, a_step_up)
    if low == 0:
        return max(1, min(in_proportion, high - 1))
    return min((low + high) // 2, a_step_up)
