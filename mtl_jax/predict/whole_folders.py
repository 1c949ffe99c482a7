"""Folders that appear whole or not at all, in a place where one process works.

A folder is filled under another name beside its final one. What a killed process left
under such a name is removed by the next; nothing else in the place is touched.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

# Hidden: whoever lists the patients' folders does not take these for one.
PARTIAL, OLD = ".partial", ".old"


@contextlib.contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, which becomes `folder` at the end.

    What `folder` held before is gone then, and is kept after an error.
    """
    partial, old = _beside(folder, PARTIAL), _beside(folder, OLD)
    partial.mkdir(parents=True)
    try:
        yield partial
        if folder.exists():
            os.replace(folder, old)
        os.replace(partial, folder)
    finally:
        settle(folder)


def settle(folder: Path) -> None:
    """Remove what a killed process left beside `folder`; nobody may be at work there.

    It is whole then: the new one, else the one before, if there was one.
    """
    partial, old = _beside(folder, PARTIAL), _beside(folder, OLD)
    if old.exists() and not folder.exists():
        os.replace(old, folder)
    for leftover in (partial, old):
        if leftover.is_file():
            leftover.unlink()
        shutil.rmtree(leftover, ignore_errors=True)


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(f".{folder.name}{suffix}")
