"""Whether DICOM files are of one patient.

Input: headers. Output: a field in which two of them contradict each other, and notes on
fields that only some of them state. Values are compared and never shown.
"""

import fnmatch
import itertools
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar


class File(Protocol):
    """What is needed of a file's header."""

    @property
    def name(self) -> str: ...

    def text(self, keyword: str) -> str: ...


F = TypeVar("F", bound=File)
Value = frozenset[str]  # the words of a value; empty: not stated


def _as_it_is(text: str) -> Value:
    return frozenset({text} - {""})


def _words(name: str) -> Value:
    """The words of a name, as all ways to write it have them.

    Umlauts may be transcribed, or spoilt by a missing character set: what is not ASCII
    stands for anything.
    """
    plain = unicodedata.normalize("NFC", name).casefold().replace("?", "*")
    spoilt = re.sub(r"[^\x00-\x7f]+", "*", re.sub("([aou])e", r"\1", plain))
    return frozenset(word for word in re.split(r"[^a-z0-9*]+", spoilt) if word)


def _date(text: str) -> Value:
    digits = re.sub(r"\D", "", text)
    return frozenset({digits} if len(digits) == 8 else ())


def _sex(text: str) -> Value:
    # O is "other", and what some systems write if they do not know.
    return frozenset({text.upper()} & {"M", "F"})


FIELDS: Mapping[str, Callable[[str], Value]] = {
    "PatientID": _as_it_is,
    "PatientName": _words,
    "PatientBirthDate": _date,
    "PatientSex": _sex,
}


def contradiction(files: Iterable[F]) -> tuple[str, F, F] | None:
    """A field of FIELDS and two files whose values of it exclude each other."""
    all_files = tuple(files)
    for field, read in FIELDS.items():
        first: dict[Value, F] = {}
        for file in all_files:
            first.setdefault(read(file.text(field)), file)
        for (one, file), (two, other) in itertools.combinations(first.items(), 2):
            if one and two and not (_within(one, two) or _within(two, one)):
                return field, file, other
    return None


def _within(part: Value, whole: Value) -> bool:
    """Whether each word of `part` is in `whole`: one may lack a second name."""
    return all(any(_alike(word, other) for other in whole) for word in part)


def _alike(one: str, two: str) -> bool:
    return fnmatch.fnmatchcase(one, two) or fnmatch.fnmatchcase(two, one)


def unstated(
    files: Iterable[File], listed: Callable[[Sequence[str]], str]
) -> list[str]:
    """A sentence for each field that some of `files` state, and others do not."""
    all_files = tuple(files)
    sentences = []
    for field, read in FIELDS.items():
        without = [file.name for file in all_files if not read(file.text(field))]
        if 0 < len(without) < len(all_files):
            names = listed(without)
            sentences.append(f"the {field}, which other files state, is not in {names}")
    return sentences
