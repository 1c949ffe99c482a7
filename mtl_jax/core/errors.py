"""Exceptions of this project: each says what was found, what is expected, what to do.

An entry point prints the message of an `MtlError` and exits with status 1; any other
exception is a mistake of ours and keeps its traceback.
"""

import difflib
import sys
from collections.abc import Iterable


class MtlError(ValueError):
    """Bad input or data; the message alone tells a user what to do."""


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
    """A folder in which another process is at work, or that cannot be written to."""


class DivergedError(MtlError):
    """Training whose numbers are no longer finite."""


class ProcessError(MtlError):
    """Other processes of the same training that do not come, or are gone."""


class OutputError(MtlError):
    """Results that cannot be written: the disk is full, say."""


def nearest_multiples(value: int, of: int) -> str:
    """The multiples of `of` next to `value`, above 0, in words: '4 or 8'."""
    below = value // of * of
    return " or ".join(str(near) for near in (below, below + of) if near)


def printable(text: str, *, keep: str = "") -> str:
    """`text` with what a terminal obeys, or cannot encode, as an escape; but `keep`."""
    return "".join(
        sign
        if sign.isprintable() or sign in keep
        else sign.encode("unicode_escape").decode()
        for sign in text
    )


def tell(message: object, status: int) -> int:
    """Say on standard error what ended a command; returns its exit `status`."""
    # Names in it are not ours.
    shown = printable(str(message), keep="\n")
    print(f"error: {shown}", file=sys.stderr)
    return status


def nearest(name: str, known: Iterable[str]) -> str:
    """'; did you mean X?' where a known name is near `name`, else nothing."""
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
