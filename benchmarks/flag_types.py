"""Types of a benchmark's flags: text in, a value out.

argparse reports text that is not valid as a usage error.
"""

import argparse
from collections.abc import Callable

from mtl_jax.core import errors


def positive_integer(text: str) -> int:
    """A whole number above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not above 0")
    return value


def positive_integers(text: str) -> list[int]:
    """Whole numbers above 0, separated by commas."""
    return [positive_integer(part) for part in text.split(",")]


def names(*known: str) -> Callable[[str], list[str]]:
    """The type of a flag that takes some of the `known` names, separated by commas."""

    def parse(text: str) -> list[str]:
        values = text.split(",")
        for value in values:
            if value not in known:
                raise argparse.ArgumentTypeError(
                    f"unknown {value!r}{errors.nearest(value, known)}; "
                    f"known: {', '.join(known)}"
                )
        return values

    return parse
