"""What is expected of the reader: right, noted or refused.

A Case is a change of the plain patient, with what must come of it.
"""

import dataclasses
from collections.abc import Callable, Mapping

from tests.odd_cases import writer

RIGHT, NOTED, REFUSED = "right", "noted", "refused"


@dataclasses.dataclass(frozen=True)
class Case:
    """A change of the plain patient, and what the standard and our rules expect."""

    about: str  # the traps by number, or a word
    expected: str  # RIGHT, NOTED or REFUSED
    change: Callable[[writer.Made], None]
    words: tuple[str, ...] = ()  # in the error, or in one of the notes
    options: Mapping[str, object] = dataclasses.field(default_factory=dict)
    mapping: Mapping[str, str | None] | None = None
    needs: str = ""  # a module that the writer needs


def right(about: str, change: Callable[[writer.Made], None], **settings) -> Case:
    return Case(about, RIGHT, change, **settings)


def noted(
    about: str, change: Callable[[writer.Made], None], *words: str, **settings
) -> Case:
    return Case(about, NOTED, change, words, **settings)


def refused(
    about: str, change: Callable[[writer.Made], None], *words: str, **settings
) -> Case:
    return Case(about, REFUSED, change, words, **settings)
