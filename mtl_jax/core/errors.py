"""Exceptions of this project, and how their messages are printed.

A message says what was found, what is expected and what to do. An entry point prints
the message of an `MtlError` and exits with status 1; any other exception is a bug in
this package and keeps its traceback.
"""

import difflib
import sys
from collections.abc import Iterable


class MtlError(ValueError):
    """Bad input or data; the message tells the user what to do."""


class ConfigError(MtlError):
    """A configuration key or value that cannot be used."""


class SourceError(MtlError):
    """A raw file, folder or archive that cannot be read as a patient."""


class RecordError(MtlError):
    """A patient, example or batch that breaks its contract (core/records)."""


class GeometryError(MtlError):
    """Grids that do not fit together."""


class DatasetError(MtlError):
    """A prepared data set that is missing, damaged, or built from another source."""


class WeightsError(MtlError):
    """Pretrained weights that are missing, damaged, or of another network."""


class CheckpointError(MtlError):
    """A checkpoint that is missing, damaged, or of another run."""


class WorkdirError(MtlError):
    """A working directory that holds another run."""


class LockedError(MtlError):
    """A folder that another process uses, or that cannot be written to."""


class DivergedError(MtlError):
    """Training with NaN or infinite values."""


class ProcessError(MtlError):
    """Other processes of the same training that did not start, or have ended."""


class OutputError(MtlError):
    """Results that cannot be written, for example because the disk is full."""


def nearest_multiples(value: int, of: int) -> str:
    """The multiples of `of` around `value`, above 0, in words.

    >>> nearest_multiples(6, 4)
    '4 or 8'
    """
    below = value // of * of
    return " or ".join(str(near) for near in (below, below + of) if near)


def printable(text: str, *, keep: str = "") -> str:
    """`text` with control characters as escapes, except those in `keep`."""
    return "".join(
        character
        if character.isprintable() or character in keep
        else character.encode("unicode_escape").decode()
        for character in text
    )


def print_error(message: object, status: int) -> int:
    """Print the error that ended a command to stderr; returns its exit `status`."""
    # Names of files and patients can contain anything.
    text = printable(str(message), keep="\n")
    print(f"error: {text}", file=sys.stderr)
    return status


def nearest(name: str, known: Iterable[str]) -> str:
    """'; did you mean X?' if a known name is similar to `name`, else ''."""
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
