"""Locks on folders: only one process at a time works in one.

The kernel locks a file in the folder. The lock ends with the process that holds it, for
whatever reason that ends; on a shared disk it holds for all machines.
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
# Errors of file systems without locks: some mounted buckets, some clusters'.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@contextlib.contextmanager
def held(folder: Path, advice: str, *, wait: bool = False) -> Iterator[None]:
    """Lock `folder` against other processes; a missing folder is made.

    A killed process leaves no lock behind. A folder that was made here and is still
    empty at the end is removed.

    Args:
        folder: the folder to lock.
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
        path.unlink(missing_ok=True)  # still locked: a waiting process opens a new file
        os.close(descriptor)
        if made:
            with contextlib.suppress(OSError):  # the folder is in use
                folder.rmdir()


def _acquire(path: Path, advice: str, wait: bool) -> tuple[int, bool]:
    """Open and lock the file at `path`, and write this process's name into it.

    Returns its descriptor, and whether its folder was made. A process that releases the
    lock meanwhile removes both, so this is tried until it succeeds.
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
        if error.errno in _NO_LOCKS:
            logger.warning(
                "the file system of %s has no locks: make sure that no other process "
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
        logger.warning("waiting for %s, which is working in %s", other, path.parent)
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is still the one at `path`, not a removed one."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _name() -> str:
    return f"process {os.getpid()} on {platform.node()}"
