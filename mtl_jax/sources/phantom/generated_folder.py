"""A folder of generated patients: it appears when all are written, and is reused."""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import tqdm

from mtl_jax.core import errors, locks
from mtl_jax.core import workers as processes

STAMP = "phantom.json"
SCRATCH = ".phantom-"


def write(
    folder: Path,
    stamp: dict[str, Any],
    write_patient: Callable[..., None],
    patients: Sequence[tuple[str, *tuple[Any, ...]]],
    *,
    workers: int,
) -> None:
    """Write `patients` into `folder`, unless it holds those of the same `stamp`.

    A patient is a path inside the folder and what else `write_patient` asks for. So
    many `workers` are at it; a bar shows how far they are.

    Raises:
        SourceError: the folder holds anything else.
    """
    if _is_written(folder, stamp):
        return
    with locks.held(folder.parent, "choose another folder", wait=True):
        for left in folder.parent.glob(f"{SCRATCH}*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        if _is_written(folder, stamp):
            return  # another process was faster
        with scratch(folder) as cohort:
            tasks = ((cohort / inside, *asked) for inside, *asked in patients)
            written = processes.in_order(write_patient, tasks, workers)
            bar = tqdm.tqdm(written, total=len(patients), desc="phantoms", unit="pt")
            for _ in bar:
                pass
            (cohort / STAMP).write_text(json.dumps(stamp, indent=2) + "\n")
            cohort.rename(folder)


@contextlib.contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A new folder on the disk of `folder`, to be renamed to it; gone at the end."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own: the folder's may be a patient's.
    holder = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=folder.parent))
    try:
        made = holder / "made"
        made.mkdir()
        yield made
    finally:
        shutil.rmtree(holder)


def _is_written(folder: Path, stamp: dict[str, Any]) -> bool:
    """Whether `folder` holds the cohort of `stamp`; a SourceError for another one."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    wanted = f"the phantom cohort {json.dumps(stamp)}"
    try:
        found = json.loads((folder / STAMP).read_text())
    except (OSError, ValueError):
        raise errors.SourceError(
            f"{folder} should hold {wanted}, but holds something else (no readable "
            f"{STAMP}); move it away, or choose another folder"
        ) from None
    if found != stamp:
        raise errors.SourceError(
            f"{folder} should hold {wanted}, but holds {json.dumps(found)}; "
            "delete it, or choose another folder"
        )
    return True
