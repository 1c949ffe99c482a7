"""A folder is held by one process, until that ends in whatever way."""

import errno
import fcntl
import logging
import os
import subprocess
import sys
import threading

import pytest

from mtl_jax.core import errors, locks

# Holds a folder until its input ends.
HOLDER = """
import pathlib, sys
from mtl_jax.core import locks
with locks.held(pathlib.Path(sys.argv[1]), ""):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds `tmp_path / "run"`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_second_is_refused_and_told_who_the_first_is(tmp_path, holder):
    message = rf"run is in use by process {holder.pid} on \S+: wait until.*or move on"
    with (
        pytest.raises(errors.LockedError, match=message),
        locks.held(tmp_path / "run", "move on"),
    ):
        pass
    holder.communicate()  # it ends by itself, and leaves nothing
    assert not (tmp_path / "run").exists()
    with locks.held(tmp_path / "run", ""):
        pass


def test_a_killed_holder_locks_nobody_out(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert (tmp_path / "run" / locks.FILE).exists()
    with locks.held(tmp_path / "run", ""):
        assert f"process {os.getpid()} " in (tmp_path / "run" / locks.FILE).read_text()


def test_who_waits_comes_next(tmp_path, holder):
    came = threading.Event()

    def wait():
        with locks.held(tmp_path / "run", "", wait=True):
            came.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not came.wait(0.3)
    holder.communicate()  # removes the file that the thread waits for
    assert came.wait(30)
    thread.join()


def test_many_at_once_work_one_after_the_other(tmp_path):
    inside, most = [], []

    def work():
        for _ in range(50):
            with locks.held(tmp_path / "run", "", wait=True):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 200


def test_what_was_put_into_the_folder_stays(tmp_path):
    with locks.held(tmp_path / "run", ""):
        (tmp_path / "run" / "result").write_text("")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["result"]
    with pytest.raises(KeyError), locks.held(tmp_path / "other", ""):
        raise KeyError
    assert not (tmp_path / "other").exists()


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "run").write_text("")
    with (
        pytest.raises(errors.LockedError, match=r"run cannot be written to.*: move on"),
        locks.held(tmp_path / "run", "move on"),
    ):
        pass


def test_without_locks_the_user_is_warned(tmp_path, monkeypatch, caplog):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with caplog.at_level(logging.WARNING), locks.held(tmp_path / "run", ""):
        assert "has no locks: make sure that no other process" in caplog.text
