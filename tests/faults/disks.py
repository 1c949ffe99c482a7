"""Disks that are full, or not to be written to, for a test."""

import contextlib
import os
import resource
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path


def _mount(*arguments: str) -> bool:
    """Whether this process may mount, and now has."""
    command = ["mount", *arguments]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def small(size: int) -> Iterator[Path]:
    """A folder that holds at most `size` bytes: a tmpfs.

    Where nothing can be mounted, no file can have more than half of that.
    """
    with tempfile.TemporaryDirectory() as folder:
        if _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder):
            try:
                yield Path(folder)
            finally:
                subprocess.run(["umount", "-l", folder], check=True)
            return
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, hard))
        try:
            yield Path(folder)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """`folder` cannot be written to: mounted so, or by its mode and another user."""
    if _mount("--bind", str(folder), str(folder)) and _mount(
        "-o", "remount,bind,ro", str(folder)
    ):
        try:
            yield
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
        return
    with contextlib.ExitStack() as undo:
        _set_mode(folder, 0o555, undo)
        if os.geteuid() == 0:  # whom modes do not bind: nobody comes in his place
            for above in folder.parents:
                if above.stat().st_mode & 0o055 != 0o055:
                    _set_mode(above, above.stat().st_mode | 0o055, undo)
            undo.callback(os.seteuid, 0)
            os.seteuid(65534)
        yield


def _set_mode(folder: Path, mode: int, undo: contextlib.ExitStack) -> None:
    undo.callback(folder.chmod, folder.stat().st_mode)
    folder.chmod(mode)
