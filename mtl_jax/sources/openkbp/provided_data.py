"""The OpenKBP challenge's patients: a folder, or archives, to Patients.

Goes in: a manual_dir that holds the challenge's `provided-data`, unpacked or as the
archives that were downloaded. Comes out: a Source, which lists patients by split in
natural order and reads each one.
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

SITE = patient_csv.SITE
parse = patient_csv.parse
write_patient = patient_csv.write_patient


@dataclasses.dataclass(frozen=True)
class Location:
    """The folder or the archives of a source, not yet looked into."""

    folder: Path | None
    label: str  # of the folder, inside the manual_dir
    archives: tuple[Path, ...]
    description: str  # for messages: what the patients come from

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the CSVs' paths and contents, or of the archives; reads it all."""
        total = hashlib.sha256()
        if self.folder is not None:
            for part in storage.Folder(self.folder, "").everything():
                total.update(part)
        else:
            for digest in sorted(_file_digest(path) for path in self.archives):
                total.update(digest)
        return total.hexdigest()

    @property
    def is_folder(self) -> bool:
        """Its patients can be read from paths alone."""
        return self.folder is not None

    def open(self) -> "Source":
        """Look into the folder or the archives."""
        if self.folder is not None:
            return Source(self, [storage.Folder(self.folder, self.label)])
        return Source(self, [storage.open_archive(p) for p in self.archives])


class Source:
    """Patients by split; a context manager, which lets go of archives at its end."""

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
                sorted((p for s, p in self._files if s == split), key=_natural)
            )
            for split in SPLITS
        }

    def _add(self, container: storage.Container) -> None:
        patients = container.patients()
        if not patients:
            raise errors.SourceError(
                f"{container.label} holds no patients ({self.location.description}): "
                "it has no train-pats/<patient>/*.csv and its like; move it away, and "
                f"{WHAT_TO_PUT}"
            )
        where = {patient: files[0] for (_, patient), (_, files) in self._files.items()}
        for (split, patient), files in patients.items():
            if patient in where:
                raise errors.SourceError(
                    f"patient {patient} is there twice: {where[patient]} and "
                    f"{files[0]}; a patient belongs to one split: remove one of them"
                )
            where[patient] = files[0]
            patient_csv.check_names(files[1], files[0])
            self._files[split, patient] = (container, files)

    @property
    def description(self) -> str:
        """For messages: what the patients come from, and how many there are."""
        counts = ", ".join(
            f"{len(ids)} {split}" for split, ids in self.patients.items()
        )
        return f"{self.location.description} ({counts} patients)"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what the source holds."""
        return self.location.fingerprint

    def contoured(self, split: str, patient_id: str) -> tuple[str, ...]:
        """Names of the structures that have a file, without reading any."""
        _, (_, handles) = self._files[split, patient_id]
        return tuple(name for name in patient_csv.SITE.names if name in handles)

    def raw(self, split: str, patient_id: str) -> patient_csv.RawPatient:
        """What `parse` takes, in this or another process.

        Of an archive it holds the bytes; of a folder the paths.
        """
        container, (folder, handles) = self._files[split, patient_id]
        return patient_csv.RawPatient(
            patient_id=patient_id,
            folder=folder,
            files=container.contents(handles),
        )

    def read(self, split: str, patient_id: str) -> records.Patient:
        """One patient in canonical axes; a SourceError names the file at fault."""
        return parse(self.raw(split, patient_id))

    def close(self) -> None:
        """Let go of archives and temporary files."""
        for container in self._containers:
            container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def locate(manual_dir: Path) -> Location | None:
    """Where the patients in `manual_dir` are; None if it is missing or empty.

    SourceError if it holds something, but no patients, or more than one source.
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
        found = ", ".join(str(path) for path in (*folders, *archives))
        raise errors.SourceError(
            f"{manual_dir} holds more than one source of patients: {found}; keep one "
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
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    raise errors.SourceError(
        f"{manual_dir} holds no patients (found: {shown}); {WHAT_TO_PUT}"
    )


def open_source(manual_dir: Path) -> Source:
    """The patients in `manual_dir`; with none, a SourceError says what to put there."""
    location = locate(Path(manual_dir))
    if location is None:
        state = "is empty" if Path(manual_dir).is_dir() else "is not a folder"
        raise errors.SourceError(f"{manual_dir} {state}; {WHAT_TO_PUT}")
    return location.open()


def archive(path: Path, *, origin: str) -> Location:
    """The one archive at `path`, downloaded from `origin`."""
    return Location(None, "", (path,), f"the archive {origin}")


def _file_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _natural(patient_id: str) -> tuple[tuple[int, str, int], ...]:
    """Sort key that puts pt_2 before pt_10."""
    parts = re.split(r"(\d+)", patient_id)
    return tuple(
        (1, "", int(part)) if part.isdigit() else (0, part, 0) for part in parts
    )
