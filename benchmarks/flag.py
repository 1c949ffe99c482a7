"""What a benchmark's flag takes, from text. Wrong text is argparse's own error."""

import argparse
from typing import Any

from mtl_jax.core import errors


def positive(text: str) -> int:
    """A whole number above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not above 0")
    return value


def whole_numbers(text: str) -> list[int]:
    """Whole numbers above 0, separated by commas."""
    return [positive(part) for part in text.split(",")]


def one_of(*known: str) -> Any:
    """A parser of names separated by commas, which are all `known`."""

    def parse(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(
                    f"unknown {name!r}{errors.nearest(name, known)}; "
                    f"known: {', '.join(known)}"
                )
        return names

    return parse
