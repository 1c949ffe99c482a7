"""The node's limits on size, number and time, each with its default.

Input: none. Output: `Limits`, of which each field is a flag of the command.
"""

import argparse
import dataclasses


def _limit(default: float, text: str) -> float:
    return dataclasses.field(default=default, metadata={"help": text})


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the node accepts, waits for and keeps."""

    quiet_s: float = _limit(30.0, "a series is whole after so long without an object")
    incomplete_s: float = _limit(
        600.0, "a series that is not whole is refused after so long without an object"
    )
    keep_hours: float = _limit(
        24.0, "results, and series that were refused, are deleted after so long"
    )
    predict_minutes: float = _limit(
        30.0,
        "a prediction that takes longer ends the node, for its supervisor to start",
    )
    attempts: float = _limit(
        3, "a series is refused that the node did not survive so often"
    )
    object_mb: float = _limit(16.0, "the largest object")
    objects: float = _limit(2000, "the most objects of a series")
    series: float = _limit(500, "the most series that arrive or wait at one time")
    free_gb: float = _limit(2.0, "nothing is accepted with less free space on the disk")
    associations: float = _limit(10, "the most associations at one time")
    idle_s: float = _limit(
        60.0, "an association that says nothing for so long is ended"
    )
    association_minutes: float = _limit(60.0, "the longest association")

    @property
    def keep_s(self) -> float:
        return 3600 * self.keep_hours

    @property
    def object_bytes(self) -> float:
        return 1e6 * self.object_mb


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each limit."""
    group = parser.add_argument_group("limits")
    for field in dataclasses.fields(Limits):
        group.add_argument(
            f"--{field.name}",
            type=_positive,
            default=field.default,
            metavar="N",
            help=f"{field.metadata['help']} (default: %(default)s)",
        )


def of_flags(flags: argparse.Namespace) -> Limits:
    """The limits that the flags name."""
    names = (field.name for field in dataclasses.fields(Limits))
    return Limits(**{name: getattr(flags, name) for name in names})


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return value
