"""A folder of clinical patients: one folder each goes in, patients by split come out.

Beside the patients' folders there may be `mapping.yaml` (which ROI is which structure,
see roi_names) and `splits.csv` (who is in which split, see cohort_splits). Patients are
called by salted hashes, and stand in the order of these (cohort_keys): nothing that
leaves here tells a folder's name.
"""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from mtl_jax.core import errors, sites
from mtl_jax.sources.clinical import dicom_patient, pseudonyms, split_assignment
from mtl_jax.sources.dicom import headers, reader, roi_names

MAPPINGS = ("mapping.yaml", "mapping.yml", "mapping.json")
SPLITS_CSV = "splits.csv"
WHAT_TO_PUT = (
    "put a folder for each patient there, with the CT series, the RTSTRUCT and the "
    "RTDOSE as DICOM files (docs/how-to/bring-your-own-data.md)"
)
# Of each file so much is taken into the fingerprint, at its start and at its end.
_PART = 32 << 10


STRICT = reader.Options()


@dataclasses.dataclass(frozen=True)
class Rules:
    """How patients are read and divided."""

    options: reader.Options = STRICT
    # Instead of those in the cohort's folder.
    mapping_file: Path | None = None
    splits_file: Path | None = None
    # Train, validation and test, where no splits.csv says it: the paper's. For commands
    # without a configuration; a test holds all of these to those of configs/prostate.
    split_ratio: tuple[float, float, float] = (95, 5, 10)
    split_seed: int = 0
    # Of generated patients: ids that are the same on every machine.
    salt: str | None = None


USUAL = Rules()


@dataclasses.dataclass(frozen=True)
class Location:
    """A folder with patients in it, not yet looked into."""

    folder: Path
    site: sites.Site
    rules: Rules

    @property
    def is_folder(self) -> bool:
        """Its patients can be read from paths alone."""
        return True

    @property
    def folders(self) -> tuple[str, ...]:
        """Names of the patients' folders: foreign text, not for messages."""
        found = (path for path in self.folder.iterdir() if path.is_dir())
        return tuple(sorted(path.name for path in found if path.name[0] != "."))

    @property
    def loose(self) -> int:
        """How many DICOM files lie beside the patients' folders, and are not read."""
        files = (path for path in self.folder.iterdir() if path.is_file())
        return sum(headers.may_be_dicom(path) for path in files)

    @property
    def description(self) -> str:
        """For messages; without the folder's name."""
        return f"DICOM of {len(self.folders)} patients, read for site {self.site.name}"

    @functools.cached_property
    def mapping(self) -> dict[str, str | None]:
        """What the mapping file says, empty without one; a ConfigError names it."""
        if given := self.rules.mapping_file:
            return load_mapping(given, self.site)
        found = self._beside(MAPPINGS)
        return load_mapping(found, self.site) if found else {}

    @property
    def splits_file(self) -> Path | None:
        """The CSV that divides the patients, None without one."""
        return self.rules.splits_file or self._beside((SPLITS_CSV,))

    def _beside(self, names: tuple[str, ...]) -> Path | None:
        """The file beside the patients with one of `names`, whatever its case."""
        there = sorted(self.folder.iterdir())
        found = [path for path in there if path.name.lower() in names]
        if len(found) > 1:
            shown = ", ".join(path.name for path in found)
            raise errors.ConfigError(f"there are {shown}: keep one of them")
        return found[0] if found else None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what is read and how: of files the path, size, start and end."""
        structures = [
            (s.name, s.tg263, s.aliases, s.target_gy) for s in self.site.structures
        ]
        rules = dataclasses.replace(self.rules, mapping_file=None, splits_file=None)
        settings = (structures, self.site.contoured, self.site.ct_offset_hu, rules)
        total = hashlib.sha256(repr((settings, sorted(self.mapping.items()))).encode())
        if self.splits_file is not None:
            total.update(split_assignment.load(self.splits_file).encode())
        for name in self.folders:
            for path in _files(self.folder / name):
                size, start, end = _ends(path)
                inside = path.relative_to(self.folder).as_posix()
                # "surrogateescape": names need not be text.
                total.update(f"{inside} {size}\n".encode(errors="surrogateescape"))
                total.update(hashlib.sha256(start + end).digest())
        return total.hexdigest()

    def open(self) -> "Cohort":
        """Name the patients, and divide them."""
        return Cohort(self)


class Cohort:
    """Patients by split, called by their ids; each can be read by itself."""

    def __init__(self, location: Location) -> None:
        self.location = location
        path = pseudonyms.place(location.folder)
        known = pseudonyms.ids(path, location.folders, location.rules.salt)
        self._folders = {known[folder]: folder for folder in location.folders}
        if location.splits_file is not None:
            given = split_assignment.read(location.splits_file, known)
            chosen = {known[folder]: split for folder, split in given.items()}
        else:
            rules = location.rules
            chosen = split_assignment.draw(
                self._folders, rules.split_ratio, rules.split_seed
            )
        self.split_of = dict(sorted(chosen.items()))
        # Patients whom splits.csv leaves out.
        self.left_out = tuple(sorted(set(self._folders) - set(chosen)))

    @property
    def patients(self) -> Mapping[str, tuple[str, ...]]:
        """Ids by split, in their order."""
        return {
            split: tuple(p for p, of in self.split_of.items() if of == split)
            for split in split_assignment.SPLITS
        }

    @property
    def description(self) -> str:
        """For messages: what the patients come from, and how many there are."""
        counts = ", ".join(
            f"{len(ids)} {split}" for split, ids in self.patients.items()
        )
        return f"{self.location.description} ({counts})"

    def contoured(self, split: str, patient_id: str) -> tuple[str, ...]:
        """Nothing: what a patient has is known when it was read."""
        del split, patient_id
        return ()

    def raw(self, split: str, patient_id: str) -> dicom_patient.Raw:
        """What `cohort_patient.read` takes."""
        del split
        location = self.location
        return dicom_patient.Raw(
            location.folder / self._folders[patient_id],
            patient_id,
            location.site,
            location.mapping,
            location.rules.options,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: Any) -> None:
        pass


def locate(folder: Path, site: sites.Site, rules: Rules = USUAL) -> Location | None:
    """The cohort in `folder`; None if nothing is there.

    Raises:
        SourceError: something is there, but no DICOM in folders of patients.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        return None
    location = Location(folder.absolute(), site, rules)
    files = (path for name in location.folders for path in _files(folder / name))
    if not any(headers.may_be_dicom(path) for path in files):
        raise errors.SourceError(
            f"the manual_dir holds {len(location.folders)} folders, and no DICOM file "
            f"in them; {WHAT_TO_PUT}"
        )
    return location


def check_apart(path: Path, manual_dir: Path, what: str) -> None:
    """SourceError if `path` lies in the manual_dir: a folder there is a patient."""
    if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(manual_dir)):
        raise errors.SourceError(
            f"the {what} lies in the manual_dir, whose folders are patients; give one "
            "that is somewhere else"
        )


def load_mapping(path: Path, site: sites.Site) -> dict[str, str | None]:
    """A mapping file (see roi_names), whose errors call it by its name alone."""
    try:
        return roi_names.load_mapping(path, site)
    except errors.ConfigError as error:
        raise errors.ConfigError(str(error).replace(str(path), path.name)) from None


def _files(folder: Path) -> Iterator[Path]:
    """All files below `folder`, in order, but for hidden ones."""
    paths = [
        Path(root) / name
        for root, _, names in os.walk(folder)
        for name in names
        if not any(p[0] == "." for p in (Path(root) / name).relative_to(folder).parts)
    ]
    # What is no file, a pipe say, would be waited for when it is opened.
    yield from sorted(path for path in paths if path.is_file())


def _ends(path: Path) -> tuple[int, bytes, bytes]:
    """Size, start and end of a file; nothing of one that cannot be read.

    What is wrong with it is told when its patient is read.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            start = file.read(_PART)
            file.seek(max(size - _PART, 0))
            return size, start, file.read()
    except OSError:
        return -1, b"", b""
