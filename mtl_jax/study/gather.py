"""Copies runs that were trained elsewhere into a study.

Input: a study's jobs, and folders of the same study from other machines. Output:
working directories in the study's own folder, each whole or not at all. The study
checks each run's configuration and data before it goes on with it.
"""

import contextlib
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from mtl_jax.core import command_line, errors, files, locks
from mtl_jax.run import workdir
from mtl_jax.study import plan

logger = logging.getLogger(__name__)


def find(jobs: Sequence[plan.Job], folders: Sequence[Path]) -> dict[Path, Path]:
    """The runs that the study lacks, by working directory: where each can be had.

    Raises:
        WorkdirError: a folder does not exist, or two folders have the same run.
    """
    for folder in folders:
        if not folder.is_dir():
            raise errors.WorkdirError(f"--gather: {folder} is not a folder")
    found = {}
    for job in jobs:
        if (job.workdir / "config.json").exists():
            continue
        sources = [
            source
            for folder in folders
            if (source := folder / job.workdir.name).joinpath("config.json").exists()
        ]
        if len(sources) > 1:
            raise errors.WorkdirError(
                f"--gather: {' and '.join(map(str, sources))} are the same run of the "
                "study: keep one of them"
            )
        if sources:
            found[job.workdir] = sources[0]
    return found


def copy(jobs: Sequence[plan.Job], sources: dict[Path, Path]) -> None:
    """Copy each of `sources` to its job's working directory.

    A run that takes contours from another of the study takes them from its copy.

    Raises:
        LockedError: a source is in use.
    """
    wanted = [job for job in jobs if job.workdir in sources]
    hidden = not wanted or command_line.is_quiet()
    for job in tqdm(wanted, desc="gathering", unit="run", disable=hidden):
        source = sources[job.workdir]
        with _unused(source), files.whole_folder(job.workdir) as partial:
            shutil.copytree(
                source,
                partial,
                ignore=shutil.ignore_patterns(locks.FILE),
                dirs_exist_ok=True,
            )
            path = partial / "config.json"
            stored = workdir.read_json(path)
            if stored.get("data.contours_from"):
                stored["data.contours_from"] = job.config.data.contours_from
                workdir.write_json(stored, path)
        logger.info("%s: copied from %s", job.workdir, source)


def _unused(source: Path) -> contextlib.AbstractContextManager[None]:
    """A lock on `source`, unless nobody can write there."""
    if not os.access(source, os.W_OK):
        return contextlib.nullcontext()
    return locks.held(source, "gather it when it is done")
