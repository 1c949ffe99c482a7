"""A folder of clinical patients, one folder each, to patients by split.

Input: the manual_dir. Beside the patients' folders it may hold `mapping.yaml` (which
ROI is which structure, see roi_names) and `splits.csv` (see split_assignment). Output:
a Cohort. Patient ids are salted hashes (pseudonyms), and patients are in the order of
these: no folder's name leaves this module.
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
INSTRUCTIONS = (
    "put a folder for each patient there, with the CT series, the RTSTRUCT and the "
    "RTDOSE as DICOM files (docs/how-to/bring-your-own-data.md)"
)
# Bytes at the start and at the end of each file that the fingerprint covers.
_PART = 32 << 10


STRICT = reader.Options()


@dataclasses.dataclass(frozen=True)
class Rules:
    """How patients are read and divided into splits.

    Fingerprints of data sets cover this class's repr: a renamed field changes them.
    """

    options: reader.Options = STRICT
    # These replace mapping.yaml and splits.csv in the cohort's folder.
    mapping_file: Path | None = None
    splits_file: Path | None = None
    # Train, validation and test, where no splits.csv says it: the paper's. For commands
    # without a configuration; a test holds all of these to those of configs/prostate.
    split_ratio: tuple[float, float, float] = (95, 5, 10)
    split_seed: int = 0
    # For generated patients: the same ids on every machine.
    salt: str | None = None


DEFAULT_RULES = Rules()


@dataclasses.dataclass(frozen=True)
class Location:
    """The path of a folder of patients; its files are not read yet."""

    folder: Path
    site: sites.Site
    rules: Rules

    @property
    def is_folder(self) -> bool:
        """Always: other processes can read its patients from their paths."""
        return True

    @property
    def folders(self) -> tuple[str, ...]:
        """Names of the patients' folders: foreign text, not for messages."""
        paths = (path for path in self.folder.iterdir() if path.is_dir())
        return tuple(sorted(path.name for path in paths if path.name[0] != "."))

    @property
    def loose(self) -> int:
        """The number of DICOM files beside the patients' folders; they are ignored."""
        files = (path for path in self.folder.iterdir() if path.is_file())
        return sum(headers.may_be_dicom(path) for path in files)

    @property
    def description(self) -> str:
        """For messages; without the folder's name."""
        return f"DICOM of {len(self.folders)} patients, read for site {self.site.name}"

    @functools.cached_property
    def mapping(self) -> dict[str, str | None]:
        """The structure of each mapped ROI name; empty without a mapping file."""
        path = self.rules.mapping_file or self._find_file(MAPPINGS)
        return load_mapping(path, self.site) if path else {}

    @property
    def splits_file(self) -> Path | None:
        """The CSV that divides the patients, None without one."""
        return self.rules.splits_file or self._find_file((SPLITS_CSV,))

    def _find_file(self, names: tuple[str, ...]) -> Path | None:
        """The file beside the patients with one of `names`, in upper or lower case."""
        entries = sorted(self.folder.iterdir())
        matches = [path for path in entries if path.name.lower() in names]
        if len(matches) > 1:
            listing = ", ".join(path.name for path in matches)
            raise errors.ConfigError(f"there are {listing}: keep one of them")
        return matches[0] if matches else None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the options and of each file's path, size, start and end."""
        structures = [
            (s.name, s.tg263, s.aliases, s.target_gy) for s in self.site.structures
        ]
        rules = dataclasses.replace(self.rules, mapping_file=None, splits_file=None)
        settings = (structures, self.site.contoured, self.site.ct_offset_hu, rules)
        total = hashlib.sha256(repr((settings, sorted(self.mapping.items()))).encode())
        if self.splits_file is not None:
            total.update(split_assignment.load(self.splits_file).encode())
        for name in self.folders:
            for path in self.files(name):
                size, start, end = _ends(path)
                relative_path = path.relative_to(self.folder).as_posix()
                # "surrogateescape": names need not be text.
                total.update(
                    f"{relative_path} {size}\n".encode(errors="surrogateescape")
                )
                total.update(hashlib.sha256(start + end).digest())
        return total.hexdigest()

    def files(self, name: str) -> Iterator[Path]:
        """The files of the patient in the folder `name`, in order."""
        yield from _files(self.folder / name)

    def raw(self, name: str, patient_id: str) -> Any:
        """The input of the builder's READ, for the patient in the folder `name`."""
        return dicom_patient.Raw(
            self.folder / name, patient_id, self.site, self.mapping, self.rules.options
        )

    def draw(self, folders: Mapping[str, str]) -> dict[str, str]:
        """A split for each of the ids in `folders`, where no file says it."""
        rules = self.rules
        return split_assignment.draw(folders, rules.split_ratio, rules.split_seed)

    def open(self) -> "Cohort":
        """Give the patients ids, and divide them into splits."""
        return Cohort(self)


class Cohort:
    """Patients by split, each with its id."""

    def __init__(self, location: Location) -> None:
        self.location = location
        key_file = pseudonyms.key_file(location.folder)
        ids = pseudonyms.ids(key_file, location.folders, location.rules.salt)
        self._folders = {ids[folder]: folder for folder in location.folders}
        if location.splits_file is not None:
            by_folder = split_assignment.read(location.splits_file, ids)
            by_id = {ids[folder]: split for folder, split in by_folder.items()}
        else:
            by_id = location.draw(self._folders)
        self.split_of = dict(sorted(by_id.items()))
        # Patients that splits.csv does not name.
        self.left_out = tuple(sorted(set(self._folders) - set(by_id)))

    @property
    def patients(self) -> Mapping[str, tuple[str, ...]]:
        """Ids by split, in their order."""
        return {
            split: tuple(p for p, of in self.split_of.items() if of == split)
            for split in split_assignment.SPLITS
        }

    @property
    def description(self) -> str:
        """For messages: the source and the number of patients of each split."""
        counts = ", ".join(
            f"{len(ids)} {split}" for split, ids in self.patients.items()
        )
        return f"{self.location.description} ({counts})"

    def contoured(self, split: str, patient_id: str) -> tuple[str, ...]:
        """Nothing: a patient's structures are known only after it was read."""
        del split, patient_id
        return ()

    def raw(self, split: str, patient_id: str) -> Any:
        """The input of the builder's READ."""
        del split
        return self.location.raw(self._folders[patient_id], patient_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: Any) -> None:
        pass


def locate(
    folder: Path, site: sites.Site, rules: Rules = DEFAULT_RULES
) -> Location | None:
    """The cohort in `folder`; None if that is missing or empty.

    Raises:
        SourceError: none of the folders in it holds a DICOM file.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        return None
    location = Location(folder.absolute(), site, rules)
    files = (path for name in location.folders for path in _files(folder / name))
    if not any(headers.may_be_dicom(path) for path in files):
        raise errors.SourceError(
            f"the manual_dir holds {len(location.folders)} folders, and no DICOM file "
            f"is in them; {INSTRUCTIONS}"
        )
    return location


def check_apart(path: Path, manual_dir: Path, name: str) -> None:
    """Raise SourceError if `path`, called `name`, is in the manual_dir."""
    if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(manual_dir)):
        raise errors.SourceError(
            f"the {name} lies in the manual_dir, whose folders are patients; give a "
            "folder outside it"
        )


def load_mapping(path: Path, site: sites.Site) -> dict[str, str | None]:
    """A mapping file (see roi_names); errors name the file without its folder."""
    try:
        return roi_names.load_mapping(path, site)
    except errors.ConfigError as error:
        raise errors.ConfigError(str(error).replace(str(path), path.name)) from None


def _files(folder: Path) -> Iterator[Path]:
    """All files below `folder`, sorted, without hidden ones."""
    paths = [
        Path(root) / name
        for root, _, names in os.walk(folder)
        for name in names
        if not any(p[0] == "." for p in (Path(root) / name).relative_to(folder).parts)
    ]
    # Opening a pipe would block.
    yield from sorted(path for path in paths if path.is_file())


def _ends(path: Path) -> tuple[int, bytes, bytes]:
    """Size, start and end of a file; -1 and nothing if it cannot be read.

    Reading its patient then reports the error.
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
