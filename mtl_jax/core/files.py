"""Files and folders that appear whole or not at all."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary path to write to, which is renamed to `path` at the end.

    Missing folders are made. After an error `path` is unchanged, and the temporary file
    is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.tmp")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


# Folders are filled under a hidden name: whoever lists a folder's visible entries does
# not see an unfinished one.
_PARTIAL, _OLD = ".partial", ".old"


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, which replaces `folder` at the end.

    After an error `folder` is what it was. Only one process at a time may write it.
    """
    partial, old = _hidden(folder, _PARTIAL), _hidden(folder, _OLD)
    partial.mkdir(parents=True)
    try:
        yield partial
        if folder.exists():
            os.replace(folder, old)
        os.replace(partial, folder)
    finally:
        settle_folder(folder)


def settle_folder(folder: Path) -> None:
    """Remove what a killed `whole_folder` left; `folder` is the new or the old one.

    No process may be writing it. Nothing else beside `folder` is touched.
    """
    partial, old = _hidden(folder, _PARTIAL), _hidden(folder, _OLD)
    if old.exists() and not folder.exists():
        os.replace(old, folder)
    for leftover in (partial, old):
        if leftover.is_file():
            leftover.unlink()
        shutil.rmtree(leftover, ignore_errors=True)


def _hidden(folder: Path, suffix: str) -> Path:
    return folder.with_name(f".{folder.name}{suffix}")


def sync(path: Path) -> None:
    """Wait until the file, or the entries of the folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Wait until the folder and all in it are on the disk."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync(Path(parent) / name)
        sync(Path(parent))


def json_digest(values: Mapping[str, Any]) -> str:
    """SHA-256 of `values` as JSON with sorted names."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
