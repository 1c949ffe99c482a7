"""The patients of the OpenKBP challenge, in a folder or in archives.

Input: a manual_dir with the challenge's `provided-data`, unpacked or as the downloaded
archives. Output: a Source, which lists the patients of each split in natural order and
reads each one.
"""

import dataclasses
import hashlib
import re
from pathlib import Path
from typing import Self

from mtl_jax.core import errors, records
from mtl_jax.sources.openkbp import patient_csv, storage

SPLITS = records.SPLITS
PUBLIC_ARCHIVE = (
    "https://github.com/ababier/open-kbp/archive/"
    "ce625e62f3b04203f22bd9d1634f3e8fb0245e46.zip"
)
WHAT_TO_PUT = (
    "put the challenge's data there: the folder `provided-data` with train-pats, "
    "validation-pats and test-pats, or archives of it (*.tar.xz, *.tar.gz, *.zip), "
    f"such as {PUBLIC_ARCHIVE}"
)


@dataclasses.dataclass(frozen=True)
class Location:
    """The folder or the archives that hold the patients, not yet opened."""

    folder: Path | None
    label: str  # path of the folder inside the manual_dir
    archives: tuple[Path, ...]
    description: str  # of the folder or the archives, for messages

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the CSVs' paths and contents, or of the archives. Reads all."""
        total = hashlib.sha256()
        if self.folder is not None:
            for part in storage.Folder(self.folder, "").fingerprint_parts():
                total.update(part)
        else:
            for digest in sorted(_file_digest(path) for path in self.archives):
                total.update(digest)
        return total.hexdigest()

    @property
    def is_folder(self) -> bool:
        """Whether patients are in a folder, so that workers need only paths."""
        return self.folder is not None

    def open(self) -> "Source":
        """Open the folder or the archives, and list their patients."""
        if self.folder is not None:
            return Source(self, [storage.Folder(self.folder, self.label)])
        return Source(self, [storage.open_archive(p) for p in self.archives])


class Source:
    """Patients by split; a context manager, which closes the archives at its end."""

    def __init__(self, location: Location, containers: list[storage.Container]) -> None:
        self.location = location
        self._containers = containers
        self._files: dict[tuple[str, str], tuple[storage.Container, storage.Files]] = {}
        try:
            for container in containers:
                self._add(container)
        except BaseException:
            self.close()
            raise
        self.patients = {
            split: tuple(
                sorted((p for s, p in self._files if s == split), key=_natural_order)
            )
            for split in SPLITS
        }

    def _add(self, container: storage.Container) -> None:
        patients = container.patients()
        if not patients:
            raise errors.SourceError(
                f"{container.label} holds no patients ({self.location.description}): "
                "it has no files such as train-pats/<patient>/*.csv; move it away, and "
                f"{WHAT_TO_PUT}"
            )
        folders = {
            patient: folder for (_, patient), (_, (folder, _)) in self._files.items()
        }
        for (split, patient), (folder, handles) in patients.items():
            if patient in folders:
                raise errors.SourceError(
                    f"patient {patient} appears twice: {folders[patient]} and "
                    f"{folder}; a patient belongs to one split: remove one of them"
                )
            folders[patient] = folder
            patient_csv.check_names(handles, folder)
            self._files[split, patient] = (container, (folder, handles))

    @property
    def description(self) -> str:
        """The folder or the archives, and how many patients they hold, for messages."""
        counts = ", ".join(
            f"{len(ids)} {split}" for split, ids in self.patients.items()
        )
        return f"{self.location.description} ({counts} patients)"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the content of the source."""
        return self.location.fingerprint

    def contoured(self, split: str, patient_id: str) -> tuple[str, ...]:
        """Names of the structures that have a file; no file is read."""
        _, (_, handles) = self._files[split, patient_id]
        return tuple(name for name in patient_csv.SITE.names if name in handles)

    def raw(self, split: str, patient_id: str) -> patient_csv.RawPatient:
        """The input of `patient_csv.parse`, in this or another process.

        From an archive it holds the bytes of the files, from a folder their paths.
        """
        container, (folder, handles) = self._files[split, patient_id]
        return patient_csv.RawPatient(
            patient_id=patient_id,
            folder=folder,
            files=container.contents(handles),
        )

    def read(self, split: str, patient_id: str) -> records.Patient:
        """One patient in canonical axes; a SourceError names the damaged file."""
        return patient_csv.parse(self.raw(split, patient_id))

    def close(self) -> None:
        """Close the archives and delete temporary files."""
        for container in self._containers:
            container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def locate(manual_dir: Path) -> Location | None:
    """The location of the patients in `manual_dir`; None if it is missing or empty.

    Raises:
        SourceError: it holds other files but no patients, or more than one source.
    """
    manual_dir = Path(manual_dir).absolute()
    if not manual_dir.is_dir():
        return None
    candidates = [manual_dir, manual_dir / "provided-data"]
    candidates += sorted(manual_dir.glob("*/provided-data"))
    folders = [
        folder
        for folder in candidates
        if any((folder / split).is_dir() for split in storage.SPLIT_FOLDERS)
    ]
    archives = tuple(
        sorted(
            path
            for path in manual_dir.iterdir()
            if path.name.endswith(storage.ARCHIVES) and path.is_file()
        )
    )
    if len(folders) > 1 or (folders and archives):
        sources = ", ".join(str(path) for path in (*folders, *archives))
        raise errors.SourceError(
            f"{manual_dir} holds more than one source of patients: {sources}; keep one "
            "folder, or archives that together make one data set"
        )
    if folders:
        label = folders[0].relative_to(manual_dir).as_posix()
        return Location(folders[0], label, (), f"the folder {folders[0]}")
    if archives:
        packed = ", ".join(path.name for path in archives)
        return Location(None, "", archives, f"{packed} in {manual_dir}")
    names = sorted(path.name for path in manual_dir.iterdir())
    if not names:
        return None
    listing = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    raise errors.SourceError(
        f"{manual_dir} holds no patients (found: {listing}); {WHAT_TO_PUT}"
    )


def open_source(manual_dir: Path) -> Source:
    """The patients in `manual_dir`.

    Raises:
        SourceError: there are none, or they cannot be read.
    """
    location = locate(Path(manual_dir))
    if location is None:
        state = "is empty" if Path(manual_dir).is_dir() else "is not a folder"
        raise errors.SourceError(f"{manual_dir} {state}; {WHAT_TO_PUT}")
    return location.open()


def archive(path: Path, *, origin: str) -> Location:
    """The location of a single archive at `path`, downloaded from `origin`."""
    return Location(None, "", (path,), f"the archive {origin}")


def _file_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _natural_order(patient_id: str) -> tuple[tuple[int, str, int], ...]:
    """Sort key that puts pt_2 before pt_10."""
    parts = re.split(r"(\d+)", patient_id)
    return tuple(
        (1, "", int(part)) if part.isdigit() else (0, part, 0) for part in parts
    )
