"""The split of each patient, from a user's CSV or at random.

Input: patients' folders and ids. Output: the split of each patient.
"""

import csv
import hashlib
import io
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from mtl_jax.core import errors, records

SPLITS = records.SPLITS
HEADER = ("patient", "split")


def load(path: Path) -> str:
    """The text of the CSV at `path`; SourceError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError):
        raise errors.SourceError(
            f"{path.name} cannot be read as text in UTF-8"
        ) from None


def read(path: Path, folders: Collection[str]) -> dict[str, str]:
    """The split of each of `folders` that the CSV at `path` names, by folder.

    Its first line is `patient,split`; each further line is a folder and train,
    validation or test. Folders that it does not name are excluded.

    Raises:
        SourceError: it cannot be read, or a line is something else. The message has the
            number of the line, not its content.
    """
    # Systems differ in the Unicode form of a folder's name.
    by_name = {unicodedata.normalize("NFC", folder): folder for folder in folders}
    assigned: dict[str, str] = {}
    for number, cells in _rows(path):
        if number == 1:
            if tuple(cell.lower() for cell in cells) != HEADER:
                raise _wrong(path, 1, f"is not the header {','.join(HEADER)}")
            continue
        if not any(cells):
            continue
        if len(cells) != 2 or cells[1].lower() not in SPLITS:
            raise _wrong(path, number, f"is not a folder and one of {SPLITS}")
        folder = by_name.get(unicodedata.normalize("NFC", cells[0].rstrip("/")))
        if folder is None:
            raise _wrong(path, number, "names a folder that is not in the manual_dir")
        if folder in assigned:
            raise _wrong(path, number, "names a folder for the second time")
        assigned[folder] = cells[1].lower()
    return assigned


def _rows(path: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The line number and cells of each row; the first row is there in any file."""
    text = load(path)
    first = text.partition("\n")[0]
    delimiter = next((sign for sign in ";\t" if sign in first), ",")
    rows = csv.reader(io.StringIO(text), delimiter=delimiter)
    number = 1
    try:
        for row in rows:
            yield number, tuple(cell.strip() for cell in row)
            number = rows.line_num + 1
    except csv.Error:
        raise _wrong(path, number, "cannot be read as CSV") from None
    if number == 1:
        yield 1, ()


def _wrong(path: Path, number: int, problem: str) -> errors.SourceError:
    return errors.SourceError(f"{path.name}, line {number} {problem}")


def draw(ids: Collection[str], ratio: Sequence[float], seed: int) -> dict[str, str]:
    """A random split for each of `ids`, in about the `ratio` train, validation, test.

    Patients are ordered by the hash of seed and id, so the order of `ids` does not
    matter. Every split with a share above 0 gets a patient.

    Raises:
        SourceError: fewer patients than splits.
    """
    order = sorted(ids, key=lambda i: hashlib.sha256(f"{seed}/{i}".encode()).digest())
    counts = _counts(len(order), ratio)
    names = np.repeat(SPLITS, list(counts.values()))
    return dict(zip(order, names.tolist(), strict=True))


def _counts(patients: int, ratio: Sequence[float]) -> Mapping[str, int]:
    """Patients of each split by largest remainders, at least one."""
    shares = dict(zip(SPLITS, ratio, strict=True))
    used = [split for split, share in shares.items() if share > 0]
    if patients < len(used):
        raise errors.SourceError(
            f"{patients} patients cannot be divided into {', '.join(used)}: "
            "add patients"
        )
    parts = {s: patients * share / sum(ratio) for s, share in shares.items()}
    counts = {s: max(int(part), int(s in used)) for s, part in parts.items()}
    while (remaining := patients - sum(counts.values())) != 0:
        gap = {s: parts[s] - counts[s] for s in used if remaining > 0 or counts[s] > 1}
        most = max(gap, key=lambda s: gap[s] if remaining > 0 else -gap[s])
        counts[most] += 1 if remaining > 0 else -1
    return counts
