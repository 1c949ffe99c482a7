"""A folder of generated patients, which is complete or absent, and is reused.

Input: a function that writes one patient, and its arguments for each. Output: a folder
with the patients and `phantom.json`, which says what was generated.
"""

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
    """Write `patients` into `folder`, unless it holds a cohort of the same `stamp`.

    Args:
        folder: appears when all patients are written.
        stamp: what decides the content of the cohort; stored as JSON.
        write_patient: writes one patient; takes a path and more arguments.
        patients: for each, the path inside `folder` and the other arguments.
        workers: number of processes.

    Raises:
        SourceError: the folder holds something else.
    """
    if _is_written(folder, stamp):
        return
    with locks.held(folder.parent, "choose another folder", wait=True):
        for abandoned in folder.parent.glob(f"{SCRATCH}*"):  # of killed processes
            shutil.rmtree(abandoned, ignore_errors=True)
        if _is_written(folder, stamp):
            return  # another process wrote it meanwhile
        with scratch(folder) as cohort:
            tasks = ((cohort / path, *arguments) for path, *arguments in patients)
            written = processes.in_order(write_patient, tasks, workers)
            bar = tqdm.tqdm(written, total=len(patients), desc="phantoms", unit="pt")
            for _ in bar:
                pass
            (cohort / STAMP).write_text(json.dumps(stamp, indent=2) + "\n")
            cohort.rename(folder)


@contextlib.contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder`, to be renamed to it; else deleted at the end."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Not named after `folder`, whose name may be a patient's.
    holder = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=folder.parent))
    try:
        new_folder = holder / "made"
        new_folder.mkdir()
        yield new_folder
    finally:
        shutil.rmtree(holder)


def _is_written(folder: Path, stamp: dict[str, Any]) -> bool:
    """Whether `folder` holds the cohort of `stamp`; a SourceError for another one."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    expected = f"the phantom cohort {json.dumps(stamp)}"
    try:
        existing = json.loads((folder / STAMP).read_text())
    except (OSError, ValueError):
        raise errors.SourceError(
            f"{folder} holds something else (it has no readable {STAMP}); expected "
            f"{expected}; move it away, or choose another folder"
        ) from None
    if existing != stamp:
        raise errors.SourceError(
            f"{folder} holds the phantom cohort {json.dumps(existing)}; expected "
            f"{expected}; delete it, or choose another folder"
        )
    return True
