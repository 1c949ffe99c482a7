"""Folders in which one process at a time works.

The lock is the kernel's, on a file in the folder: it ends with the process that holds
it, however that ends, and on a disk that several machines share it holds for all.
"""

import contextlib
import errno
import fcntl
import logging
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from mtl_jax.core import errors

logger = logging.getLogger(__name__)

FILE = ".lock"
# What a file system answers that has no locks: some mounted buckets, some clusters'.
_NONE_HERE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@contextlib.contextmanager
def held(folder: Path, advice: str, *, wait: bool = False) -> Iterator[None]:
    """Hold `folder` against other processes; it is made if it is not there.

    What a killed holder leaves locks nobody out. A folder that was made for this, and
    that nothing was put into, goes again.

    Args:
        folder: where one process at a time works.
        advice: what a user can do if the folder is in use, or cannot be written to.
        wait: whether to wait for the process that holds it.

    Raises:
        LockedError: another process holds it; or it cannot be written to.
    """
    path = folder / FILE
    try:
        descriptor, made = _acquire(path, advice, wait)
    except OSError as error:
        raise errors.LockedError(
            f"{folder} cannot be written to ({error.strerror}): {advice}"
        ) from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # still locked: whoever waits looks for a new file
        os.close(descriptor)
        if made:
            with contextlib.suppress(OSError):  # of a folder that is in use
                folder.rmdir()


def _acquire(path: Path, advice: str, wait: bool) -> tuple[int, bool]:
    """The open and locked file at `path`, with this process named in it.

    And whether its folder was made for it. A holder that ends meanwhile removes both.
    """
    made = False
    while True:
        made = not path.parent.exists() or made
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            continue
        try:
            _lock(descriptor, path, advice, wait)
            if _is_at(descriptor, path):
                os.truncate(descriptor, 0)
                os.pwrite(descriptor, _name().encode(), 0)
                return descriptor, made
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int, path: Path, advice: str, wait: bool) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NONE_HERE:
            logger.warning(
                "the file system of %s has no locks: see to it that no other process "
                "works there",
                path.parent,
            )
            return
        if not isinstance(error, BlockingIOError):
            raise
        other = os.pread(descriptor, 200, 0).decode(errors="replace") or "a process"
        if not wait:
            raise errors.LockedError(
                f"{path.parent} is in use by {other}: wait until that ends, or {advice}"
            ) from None
        logger.warning("waiting for %s, which works in %s", other, path.parent)
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one at `path`: its last holder removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _name() -> str:
    return f"process {os.getpid()} on {platform.node()}"
