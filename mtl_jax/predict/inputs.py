"""Folders of patients to the patients in them, under names that tell nothing.

Goes in: what a user gives, each one patient's folder or a folder of several. Comes out:
an Input for each patient. Of OpenKBP a patient is a folder with `ct.csv`; of DICOM the
folder itself, or each folder in it where CTs of several studies lie below it.
"""

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from mtl_jax.sources.clinical import pseudonyms
from mtl_jax.sources.dicom import headers
from mtl_jax.sources.openkbp import patient_csv

Kind = Literal["dicom", "openkbp"]
CT_CSV = f"{patient_csv.CT}.csv"


@dataclasses.dataclass(frozen=True)
class Input:
    """A patient's folder, and what the patient is called."""

    folder: Path
    kind: Kind
    patient_id: str


def find(given: Sequence[Path], out: Path) -> list[Input]:
    """The patients in the folders `given`, each once, in their order.

    Ids are salted hashes of where the folders are. The key file that leads back is
    beside `out`, or where cohort_keys says, for its owner's eyes only.

    Raises:
        SourceError: the key file cannot be used.
    """
    folders: dict[Path, Kind] = {}
    for folder in given:
        # A folder is one patient, by whatever links and `..` it is reached.
        folders |= _patients(Path(os.path.realpath(folder)))
    ids = pseudonyms.ids(pseudonyms.key_file(out), map(str, folders))
    return [Input(path, kind, ids[str(path)]) for path, kind in folders.items()]


def _patients(folder: Path) -> Iterator[tuple[Path, Kind]]:
    try:
        csv = sorted({path.parent for path in folder.rglob(CT_CSV)}, key=_natural)
    except OSError:  # said when its patient is read
        csv = []
    for path in csv:
        yield path, "openkbp"
    for path in [] if csv else _dicom_patients(folder):
        yield path, "dicom"


def _natural(path: Path) -> tuple[object, ...]:
    """pt_9 before pt_10."""
    digits = "".join(filter(str.isdigit, path.name))
    return path.parent.as_posix(), int(digits or 0), path.name


def _dicom_patients(folder: Path) -> list[Path]:
    try:
        inside = sorted(path for path in folder.iterdir() if path.name[0] != ".")
    except OSError:  # said when its patient is read
        return [folder]
    below = [path for path in inside if path.is_dir()]
    if len(below) == len(inside) == 1:
        return _dicom_patients(below[0])
    studies = {headers.study_of_ct(path) for path in below} - {None}
    return below if len(studies) > 1 else [folder]


def fingerprint(one: Input, beside: Iterable[Path]) -> str:
    """SHA-256 of all files in the patient's folder and in the files and folders beside.

    What cannot be read counts as there; the reader says what is wrong with it.
    """
    total = hashlib.sha256()
    for place in (one.folder, *beside):
        for path in _files(place):
            name = path.relative_to(place).as_posix() if path != place else ""
            # Names of files need not be text.
            total.update(f"{name}\n".encode(errors="surrogateescape"))
            try:
                with path.open("rb") as file:
                    total.update(hashlib.file_digest(file, "sha256").digest())
            except OSError:
                total.update(b"unreadable")
    return total.hexdigest()


def _files(place: Path) -> list[Path]:
    """The file `place`, or all files below it in order, but for hidden ones."""
    if os.path.isfile(place):  # where it cannot be looked at, Path.is_file raises
        return [place]
    found = []
    for root, folders, names in os.walk(place):
        folders[:] = [name for name in folders if name[0] != "."]
        found += [Path(root) / name for name in names if name[0] != "."]
    # What is no file, a pipe say, would be waited for when it is opened.
    return sorted(path for path in found if os.path.isfile(path))
