"""The place of a data set: one process at a time builds there, and tidies up first."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from mtl_jax.core import errors, locks

ADVICE = "give another --data_dir"


@contextlib.contextmanager
def held(place: Path) -> Iterator[None]:
    """Hold the place of a data set; what killed builds have left there is gone.

    A process that comes second waits.

    Raises:
        LockedError: nothing can be written there.
        OutputError: what is built cannot be written.
    """
    with locks.held(place.parent, ADVICE, wait=True):
        _tidy(place)
        try:
            yield
        except RuntimeError as error:  # ArrayRecord's own, which names the file
            if "; writing /" not in str(error):
                raise
            raise errors.OutputError(
                f"the data set cannot be written ({error}): make room, or {ADVICE}"
            ) from error


def beside(place: Path) -> tuple[Path, Path]:
    """Where a data set is built that replaces the one at `place`; where that goes."""
    new, old = (place.with_name(f"{place.name}.{name}") for name in ("new", "old"))
    return new, old


def _tidy(place: Path) -> None:
    """Put back, or remove, what a killed build has left."""
    new, old = beside(place)
    if old.exists() and not place.exists():
        old.rename(place)
    for left in (new, old, *place.parent.glob(f"incomplete.*_{place.name}*")):
        shutil.rmtree(left, ignore_errors=True)
