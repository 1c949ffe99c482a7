"""The files of OpenKBP patients in a folder, or in archives that are read in place.

Input: a folder or an archive. Output: a Container, which lists the CSV files of its
patients and returns their bytes.

Nothing is ever written under a name from an archive: a zip is read member by member; a
compressed tar, which has no index, is decompressed once into an unnamed temporary file.
"""

import gzip
import lzma
import re
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Protocol

from mtl_jax.core import errors

SPLIT_FOLDERS = {
    "train-pats": "train",
    "valid-pats": "validation",
    "validation-pats": "validation",
    "test-pats": "test",
}
ARCHIVES = (".tar.xz", ".txz", ".tar.gz", ".tgz", ".zip")
# A CSV that lists all 128^3 voxels has 35 MB; the challenge has no larger file.
MAX_CSV_BYTES = 64 << 20
# The CSV files of all 340 patients have about 2 GB, and xz compresses them 7 times.
MAX_TAR_BYTES, MAX_PACKING, SMALL_TAR_BYTES = 8 << 30, 100, 256 << 20
_CHUNK = 1 << 20
_MEMBER = re.compile(
    rf"(?:(?P<root>.*)/)?(?P<split>{'|'.join(SPLIT_FOLDERS)})"
    r"/(?P<patient>[^/]+)/(?P<name>[^/]+)\.csv"
)

# The files of one patient: the folder, for messages, and a handle for each name.
Files = tuple[str, dict[str, Any]]


class Container(Protocol):
    """A folder or an archive that holds patients."""

    label: str  # its name in messages

    def patients(self) -> dict[tuple[str, str], Files]:
        """The files of each (split, patient id)."""
        ...

    def contents(self, handles: Mapping[str, Any]) -> Mapping[str, bytes]:
        """The bytes of a patient's files, by the names of `handles`."""
        ...

    def close(self) -> None:
        """Close open files."""
        ...


class _Index:
    """The CSV files by split and patient; the same file twice is an error."""

    def __init__(self) -> None:
        self.patients: dict[tuple[str, str], Files] = {}

    def add(self, container: str, path: str, size: int, handle: Any) -> None:
        """Add `path` (inside `container`) if it is a patient's CSV."""
        match = _MEMBER.fullmatch(path)
        if match is None or match["patient"][0] == "." or match["name"][0] == ".":
            return
        if "__MACOSX" in path.split("/"):  # resource forks that macOS adds to a zip
            return
        if size > MAX_CSV_BYTES:
            raise errors.SourceError(
                f"{container}/{path} has {size} bytes, more than a CSV of 128 x 128 x "
                "128 voxels can have; it is not a file of the challenge: move it away"
            )
        key = (SPLIT_FOLDERS[match["split"]], match["patient"])
        folder = f"{container}/{path.rsplit('/', 1)[0]}"
        first_folder, files = self.patients.setdefault(key, (folder, {}))
        if first_folder != folder or match["name"] in files:
            raise errors.SourceError(
                f"patient {match['patient']} appears twice: {first_folder} and "
                f"{folder}; remove one of them"
            )
        files[match["name"]] = handle


class Folder:
    """A folder with the subfolders `train-pats`, `validation-pats` and `test-pats`."""

    def __init__(self, root: Path, label: str) -> None:
        self.label = label
        self._root = root

    def patients(self) -> dict[tuple[str, str], Files]:
        index = _Index()
        for split in SPLIT_FOLDERS:
            for patient in sorted(self._root.glob(f"{split}/*")):
                for file in sorted(patient.glob("*.csv")):
                    path = f"{split}/{patient.name}/{file.name}"
                    index.add(self.label, path, file.stat().st_size, file)
                if patient.is_dir() and patient.name[0] != ".":
                    # A folder without any CSV is a patient that lacks its files.
                    key = (SPLIT_FOLDERS[split], patient.name)
                    empty = (f"{self.label}/{split}/{patient.name}", {})
                    index.patients.setdefault(key, empty)
        return index.patients

    def contents(self, handles: Mapping[str, Path]) -> Mapping[str, bytes]:
        return OnDisk(handles)

    def fingerprint_parts(self) -> Iterator[bytes]:
        """Path and size, then content, of every file, sorted by path."""
        for (split, patient), (_, files) in sorted(self.patients().items()):
            for name, path in sorted(files.items()):
                content = _read(path)
                yield f"{split}/{patient}/{name}.csv {len(content)}\n".encode()
                yield content

    def close(self) -> None:
        pass


class OnDisk(Mapping[str, bytes]):
    """Bytes of files by name, read from disk at each access."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = paths

    def __getitem__(self, name: str) -> bytes:
        return _read(self._paths[name])

    def __contains__(self, name: object) -> bool:
        return name in self._paths  # without reading it

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise errors.SourceError(f"{path.name} cannot be read: {error}") from error


class _Archive:
    """Shared by zip and tar: the path, its label, and the report of damage."""

    def __init__(self, path: Path) -> None:
        self.label = path.name
        self._path = path

    def read(self, handle: Any) -> bytes:
        raise NotImplementedError

    def contents(self, handles: Mapping[str, Any]) -> Mapping[str, bytes]:
        return {name: self.read(handle) for name, handle in handles.items()}

    def _damaged(self, error: BaseException, member: str = "") -> errors.SourceError:
        return errors.SourceError(
            f"{self.label}{member} is damaged or cut off "
            f"({type(error).__name__}: {error}); download or copy it again"
        )


class Zip(_Archive):
    """A zip file, whose members can be read in any order."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise self._damaged(error) from error

    def patients(self) -> dict[tuple[str, str], Files]:
        index = _Index()
        for member in self._zip.infolist():
            if not member.is_dir():
                index.add(self.label, member.filename, member.file_size, member)
        return index.patients

    def read(self, handle: zipfile.ZipInfo) -> bytes:
        try:
            return self._zip.read(handle)
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            OSError,
            RuntimeError,  # encrypted; or NotImplementedError: unknown compression
        ) as error:
            raise self._damaged(error, f"/{handle.filename}") from error

    def close(self) -> None:
        self._zip.close()


class Tar(_Archive):
    """A tar compressed by xz or gzip, decompressed into an unnamed temporary file."""

    def __init__(
        self, path: Path, decompress: Callable[[Path], lzma.LZMAFile | gzip.GzipFile]
    ) -> None:
        super().__init__(path)
        self._open = decompress
        self._spool: IO[bytes] | None = None

    def patients(self) -> dict[tuple[str, str], Files]:
        index = _Index()
        self.close()
        self._spool = spool = self._decompress()
        try:
            with tarfile.open(fileobj=spool, mode="r:") as archive:
                for member in archive:
                    if member.isfile():
                        handle = (member.offset_data, member.size)
                        index.add(self.label, member.name, member.size, handle)
                end = archive.offset
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise self._damaged(error) from error
        # tarfile takes a broken header for the end of the archive: check the end mark.
        spool.seek(end)
        if spool.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise self._damaged(EOFError("no end-of-archive mark"))
        return index.patients

    def _decompress(self) -> IO[bytes]:
        packed = self._path.stat().st_size
        limit = min(max(MAX_PACKING * packed, SMALL_TAR_BYTES), MAX_TAR_BYTES)
        spool = tempfile.TemporaryFile(prefix="mtl_jax-")  # noqa: SIM115
        try:
            with self._open(self._path) as stream:
                while chunk := stream.read(_CHUNK):
                    if spool.tell() + len(chunk) > limit:
                        raise errors.SourceError(
                            f"{self.label} has {packed} bytes and unpacks to more than "
                            f"{limit}; no archive of the challenge does: download or "
                            "copy it again, or unpack it yourself"
                        )
                    _spool_write(spool, chunk, self.label)
        except (EOFError, lzma.LZMAError, zlib.error, OSError) as error:
            spool.close()
            raise self._damaged(error) from error
        except errors.SourceError:
            spool.close()
            raise
        spool.seek(0)
        return spool

    def read(self, handle: tuple[int, int]) -> bytes:
        offset, size = handle
        assert self._spool is not None
        self._spool.seek(offset)
        return self._spool.read(size)

    def close(self) -> None:
        if self._spool is not None:
            self._spool.close()
            self._spool = None


def _spool_write(spool: IO[bytes], chunk: bytes, label: str) -> None:
    try:
        spool.write(chunk)
    except OSError as error:
        raise errors.SourceError(
            f"{tempfile.gettempdir()} has no space to decompress {label} ({error}); "
            "set TMPDIR to a disk with 2 GB free, or unpack the archive yourself"
        ) from error


def open_archive(path: Path) -> Container:
    """The archive at `path`, whose type is recognised by its first bytes.

    Raises:
        SourceError: it is damaged or of another type.
    """
    with path.open("rb") as file:
        start = file.read(6)
    if start.startswith(b"PK"):
        return Zip(path)
    if start.startswith(b"\xfd7zXZ"):
        return Tar(path, lzma.LZMAFile)
    if start.startswith(b"\x1f\x8b"):
        return Tar(path, gzip.GzipFile)
    raise errors.SourceError(
        f"{path.name} begins with {start!r}, expected an archive of the type "
        f"{', '.join(ARCHIVES)}; download or copy it again"
    )
