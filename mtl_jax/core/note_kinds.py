"""Notes on how a patient was read, and which of them refuse the patient.

A Note is a sentence with a kind. The table of kinds is in the order of their weight:
the first make a patient unusable and refuse it, unless its reader accepts them by name;
the last only say which files were skipped.
"""

import collections
from collections.abc import Collection, Iterable, Mapping
from typing import Self

from mtl_jax.core import errors

# What refuses a patient, by the name that accepts it (--accept, data.accept).
REFUSING: Mapping[str, str] = {
    "high_dose": "a dose far beyond the prescription",
    "ct_jump": "a CT slice whose values jump against both neighbours",
    "unread_organ": "contours of an organ that could not be read",
    "other_plan": "a dose that was planned on a structure set that is not there",
}
# What may be wrong, and should be looked at.
DOUBTFUL: Mapping[str, str] = {
    "ct_values": "CT values that may be no Hounsfield units",
    "dose_values": "a dose with unusual units, kind or height",
    "unread_contours": "contours that could not be read",
    "gaps": "slices without a contour between others",
    "outside": "a structure that is partly outside the CT or the dose grid",
    "rejected": "a plan or a structure set that is marked as rejected",
    "no_dose": "no dose",
}
# What was decided.
DECISIONS: Mapping[str, str] = {
    "unstated": "files that do not say whose they are, or what they belong to",
    "missing": "a structure without an ROI, or with an empty one",
    "contours": "contours that were moved, united, closed or left out",
    "changed_values": "CT values or doses that were clipped or resampled",
    "body": "a body that was taken from the CT",
    "files": "files that were skipped or left out",
}
KINDS: Mapping[str, str] = {**REFUSING, **DOUBTFUL, **DECISIONS}
_WEIGHTS = {kind: weight for weight, kind in enumerate(KINDS)}


class Note(str):
    """A sentence on how a patient was read. It may name files and ROIs."""

    kind: str  # in KINDS
    structure: str  # of the site; '' if it is about no structure

    def __new__(cls, kind: str, sentence: str, structure: str = "") -> Self:
        """A `sentence` of a kind."""
        assert kind in KINDS, kind
        note = super().__new__(cls, sentence)
        note.kind, note.structure = kind, structure
        return note

    def __getnewargs__(self) -> tuple[str, str, str]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.kind, str(self), self.structure

    @property
    def is_doubtful(self) -> bool:
        """Whether one should look at the patient before using it."""
        return self.kind not in DECISIONS


def of(kind: str, sentences: Iterable[str], structure: str = "") -> tuple[Note, ...]:
    """A note of `kind` for each of the sentences."""
    return tuple(Note(kind, sentence, structure) for sentence in sentences)


def by_weight(notes: Iterable[Note]) -> list[Note]:
    """The notes, those that weigh most first."""
    return sorted(notes, key=lambda note: _WEIGHTS[note.kind])


def counted(patients: Iterable[Iterable[str]]) -> dict[str, int]:
    """The number of patients with notes of each kind, those that weigh most first.

    `patients` holds the kinds of each one's notes.

    >>> counted([["files", "gaps", "gaps"], ["files"]])
    {'gaps': 1, 'files': 2}
    """
    counts = collections.Counter(kind for kinds in patients for kind in set(kinds))
    return {kind: counts[kind] for kind in KINDS if kind in counts}


def refuse(
    kind: str, sentence: str, accept: Collection[str], structure: str = ""
) -> Note:
    """The note on something that refuses a patient, if its kind is in `accept`.

    Raises:
        SourceError: it is not.
    """
    assert kind in REFUSING, kind
    if kind in accept:
        return Note(kind, sentence, structure)
    raise errors.SourceError(
        f"{sentence}; or accept it by its name {kind} (--accept={kind}, in a "
        "configuration data.accept)"
    ) from None


def check_names(names: Iterable[str]) -> tuple[str, ...]:
    """Names for `accept`, each once, in the order of the table.

    Raises:
        ConfigError: one is unknown.
    """
    chosen = set(names)
    if unknown := sorted(chosen - set(REFUSING)):
        raise errors.ConfigError(
            f"unknown reason {unknown[0]!r} to accept"
            f"{errors.nearest(unknown[0], REFUSING)}; "
            f"there are {', '.join(REFUSING)}"
        )
    return tuple(name for name in REFUSING if name in chosen)
