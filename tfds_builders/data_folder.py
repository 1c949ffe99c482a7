"""The folder of a data set: locked, cleaned and replaced.

Input: the path of a data set, built or not. One process at a time builds there. What
killed builds have left is removed first. Only a complete data set replaces another.
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from mtl_jax.core import errors, locks

ADVICE = "give another --data_dir"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock the data set at `path`, and remove what killed builds have left.

    A second process waits.

    Raises:
        LockedError: the folder is not writable.
        OutputError: the data set cannot be written.
    """
    with locks.held(path.parent, ADVICE, wait=True):
        _clean(path)
        try:
            yield
        except RuntimeError as error:  # ArrayRecord's own, which names the file
            if "; writing /" not in str(error):
                raise
            raise errors.OutputError(
                f"the data set cannot be written ({error}): free some space, or "
                f"{ADVICE}"
            ) from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A folder to build in; when that is done, it replaces the one at `path`."""
    new, old = new_and_old(path)
    yield new
    path.rename(old)
    new.rename(path)
    shutil.rmtree(old)


def new_and_old(path: Path) -> tuple[Path, Path]:
    """Where the next data set is built, and where the one at `path` is moved."""
    new, old = (path.with_name(f"{path.name}.{name}") for name in ("new", "old"))
    return new, old


def _clean(path: Path) -> None:
    """Restore or remove what a killed build has left."""
    new, old = new_and_old(path)
    if old.exists() and not path.exists():
        old.rename(path)
    for left in (new, old, *path.parent.glob(f"incomplete.*_{path.name}*")):
        shutil.rmtree(left, ignore_errors=True)
