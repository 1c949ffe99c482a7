"""The queue of series: folders on disk, so that a killed node goes on where it was.

Input: objects as they arrive. Output: folders of series, `<home>/<state>/<name>`. A
folder's place is its state, and it changes by one rename. What is answered with success
is on the disk before. Names are keyed digests of UIDs; the key is in `<home>/key`.
"""

import dataclasses
import hashlib
import hmac
import os
import secrets
import shutil
import threading
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

from mtl_jax.core import files
from mtl_jax.node import limits as node_limits
from mtl_jax.node import reasons
from mtl_jax.run import workdir

INCOMING, WAITING, SENDING = "incoming", "waiting", "sending"
DONE, REFUSED = "done", "refused"
STATES = (INCOMING, WAITING, SENDING, DONE, REFUSED)
_PARTIAL = "partial"  # files and folders that are being written or deleted
# In a series' folder. A file in UNFINISHED stands for an association that sent objects
# of the series and was not released.
CT, UNFINISHED, ABOUT = "ct", "unfinished", "about.json"
ATTEMPTS, REASON, RESULT = "attempts", "reason.json", "result"


@dataclasses.dataclass(frozen=True)
class About:
    """What is known of a series from its first object."""

    series: str  # its UID
    study: str
    sender: str  # its AE title
    address: str


class Queue:
    """The series in `home`; one process at a time may use it."""

    def __init__(self, home: Path, limits: node_limits.Limits) -> None:
        self._home, self._limits = home, limits
        self._lock = threading.Lock()
        self._predicting = ""  # the name of a series
        shutil.rmtree(home / _PARTIAL, ignore_errors=True)
        for name in (*STATES, _PARTIAL):
            (home / name).mkdir(parents=True, exist_ok=True)
        for folder in self.folders(DONE):
            _drop_images(folder)
        self._key = _read_key(home / "key")

    def name(self, uid: str) -> str:
        """What stands for `uid` in names of files and in logs."""
        digest = hmac.new(self._key, uid.encode(), hashlib.sha256).hexdigest()
        return f"s{digest[:16]}"

    def folders(self, state: str) -> list[Path]:
        """The folders of the series in `state`, the oldest first."""
        found = ((_age_of(path), path) for path in (self._home / state).iterdir())
        return [path for _, path in sorted(found)]

    def find(self, name: str) -> Path | None:
        """The folder of the series `name` in its state; None if there is none."""
        places = (self._home / state / name for state in STATES)
        return next((path for path in places if path.is_dir()), None)

    def add(
        self,
        about: About,
        uid: str,
        content: bytes,
        association: str,
        living: Set[str],
    ) -> bool:
        """Keep the object `uid` with its `content`; False if it is here already.

        It is on the disk when this returns.

        Args:
            about: its series.
            uid: its SOPInstanceUID.
            content: the file.
            association: the name of the association that it came by.
            living: the names of the associations that are open.

        Raises:
            Refused: it is not kept.
            OSError: it cannot be written.
        """
        name, file_name = self.name(about.series), f"{self.name(uid)}.dcm"
        partial = self._write_partial(content)
        try:
            with self._lock:
                folder = self._open(name, about)
                target = folder / CT / file_name
                known = target.exists()
                if known and not _same(target, content):
                    raise reasons.Refused("conflict")
                if not self._takes_objects(folder):
                    if known:
                        return False
                    raise reasons.Refused("late")
                folder = self._reopen(folder, known)
                if folder.parent.name == INCOMING:
                    _mark(folder / UNFINISHED, association, living)
                if known:
                    return False
                if len(os.listdir(folder / CT)) >= self._limits.objects:
                    raise reasons.Refused("too_many_objects")
                os.replace(partial, folder / CT / file_name)
                files.sync(folder / CT)
                return True
        finally:
            partial.unlink(missing_ok=True)

    def released(self, association: str) -> None:
        """The association ended as its sender wanted: what it sent is all."""
        with self._lock:
            for folder in self.folders(INCOMING):
                (folder / UNFINISHED / association).unlink(missing_ok=True)

    def whole(self, name: str, objects: int) -> bool:
        """Let an incoming series of so many objects wait for its prediction.

        False if more has arrived since they were counted.
        """
        with self._lock:
            folder = self._home / INCOMING / name
            if count(folder) != objects:
                return False
            self._move(folder, WAITING)
            return True

    def start(self) -> Path | None:
        """The folder of the series that has waited longest; None if none waits.

        Nothing is added to it until `finish`, `put_back` or `refuse`.
        """
        with self._lock:
            waiting = self.folders(WAITING)
            self._predicting = waiting[0].name if waiting else ""
            return waiting[0] if waiting else None

    def put_back(self) -> None:
        """The series is not predicted now, but waits on."""
        with self._lock:
            self._predicting = ""

    def finish(self, folder: Path, state: str) -> None:
        """The series is predicted, and goes to SENDING or DONE."""
        with self._lock:
            files.sync_tree(folder / RESULT)
            moved = self._move(folder, state)
            if state == DONE:
                _drop_images(moved)
            self._predicting = ""

    def refuse(self, folder: Path, reason: str, message: str = "") -> None:
        """The series is refused for `reason`, with the reader's `message`."""
        with self._lock:
            value = {
                "reason": reason, "message": message or reasons.SERIES[reason]
            }  # fmt: skip
            workdir.write_json(value, folder / REASON)
            files.sync(folder / REASON)
            self._move(folder, REFUSED)
            if self._predicting == folder.name:
                self._predicting = ""

    def sent(self, folder: Path) -> None:
        """All results of the series are in the archive."""
        with self._lock:
            _drop_images(self._move(folder, DONE))

    def expire(self, now: float) -> list[str]:
        """Delete what is older than the limit; the names of series never delivered."""
        undelivered = []
        for state in (DONE, REFUSED, SENDING):
            for folder in self.folders(state):
                if now - _age_of(folder) < self._limits.keep_s:
                    continue
                with self._lock:
                    doomed = self._home / _PARTIAL / secrets.token_hex(8)
                    if folder.is_dir():  # not reopened meanwhile
                        os.replace(folder, doomed)
                shutil.rmtree(doomed, ignore_errors=True)
                undelivered += [folder.name] * (state == SENDING)
        return undelivered

    def _write_partial(self, content: bytes) -> Path:
        """A synced file with `content`, if there is room for it."""
        free = shutil.disk_usage(self._home).free
        if free - len(content) < 1e9 * self._limits.free_gb:
            raise reasons.Refused("disk_full")
        partial = self._home / _PARTIAL / secrets.token_hex(8)
        try:
            with partial.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        return partial

    def _open(self, name: str, about: About) -> Path:
        """The folder of the series, in whatever state; made if there is none."""
        if folder := self.find(name):
            return folder
        if (
            sum(len(self.folders(s)) for s in (INCOMING, WAITING))
            >= self._limits.series
        ):
            raise reasons.Refused("queue_full")
        new = self._home / _PARTIAL / secrets.token_hex(8)
        for below in (CT, UNFINISHED):
            (new / below).mkdir(parents=True)
        workdir.write_json(dataclasses.asdict(about), new / ABOUT)
        files.sync_tree(new)
        folder = self._home / INCOMING / name
        os.replace(new, folder)
        files.sync(folder.parent)
        return folder

    def _takes_objects(self, folder: Path) -> bool:
        if folder.name == self._predicting:
            return False
        return folder.parent.name in (INCOMING, WAITING, REFUSED)

    def _reopen(self, folder: Path, known: bool) -> Path:
        """The folder, incoming again if it was refused, or lacked this object."""
        if folder.parent.name == INCOMING or (folder.parent.name == WAITING and known):
            return folder
        for path in (folder / REASON, folder / ATTEMPTS):
            path.unlink(missing_ok=True)
        shutil.rmtree(folder / RESULT, ignore_errors=True)
        return self._move(folder, INCOMING)

    def _move(self, folder: Path, state: str) -> Path:
        target = self._home / state / folder.name
        files.sync(folder)
        os.utime(folder)  # ages are counted from here
        os.replace(folder, target)
        for parent in (folder.parent, target.parent):
            files.sync(parent)
        return target


def count(folder: Path) -> int:
    """The number of objects of the series in `folder`."""
    return sum(name.endswith(".dcm") for name in os.listdir(folder / CT))


def last_object(folder: Path) -> float:
    """When the last object arrived, in seconds since the epoch."""
    return (folder / CT).stat().st_mtime


def is_finished(folder: Path) -> bool:
    """Whether all associations that sent objects of the series were released."""
    return not os.listdir(folder / UNFINISHED)


def about(folder: Path) -> About:
    """What is known of the series in `folder`."""
    return About(**workdir.read_json(folder / ABOUT))


def count_attempt(folder: Path) -> int:
    """Count an attempt to predict the series, on disk; how many there were before."""
    path = folder / ATTEMPTS
    before = path.stat().st_size if path.exists() else 0
    with path.open("ab") as file:
        file.write(b".")
        file.flush()
        os.fsync(file.fileno())
    return before


def undo_attempt(folder: Path) -> None:
    """The last attempt was no fault of the series."""
    path = folder / ATTEMPTS
    os.truncate(path, path.stat().st_size - 1)


def reason(folder: Path) -> dict[str, Any]:
    """Why the series in `folder` was refused; {} if it was not."""
    path = folder / REASON
    return workdir.read_json(path) if path.exists() else {}


def _mark(unfinished: Path, association: str, living: Set[str]) -> None:
    """Note that the association is sending; it stands for those that broke off."""
    mark = unfinished / association
    if mark.exists():
        return
    mark.touch()
    for name in os.listdir(unfinished):
        if name != association and name not in living:
            (unfinished / name).unlink()
    files.sync(unfinished)


def _same(path: Path, content: bytes) -> bool:
    """Whether a file has this content; one whose images were dropped may have it."""
    return path.stat().st_size == 0 or path.read_bytes() == content


def _drop_images(folder: Path) -> None:
    """Keep of a series that is done only the names of its objects, to know them."""
    for path in _objects(folder):
        os.truncate(path, 0)


def _objects(folder: Path) -> Iterator[Path]:
    return (folder / CT).iterdir()


def _age_of(path: Path) -> float:
    """When the series came to its state; 0 if it has left it."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _read_key(path: Path) -> bytes:
    """The key in the file; a new one if there is none."""
    if not path.exists():
        with files.whole(path) as partial:
            partial.write_bytes(secrets.token_bytes(32))
            files.sync(partial)
        files.sync(path.parent)
    return path.read_bytes()
