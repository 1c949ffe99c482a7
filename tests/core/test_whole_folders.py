"""Folders appear whole or not at all, also where the process is killed."""

import itertools
import os
import subprocess
import sys

import pytest

from mtl_jax.core import files


def names(place):
    return sorted(path.name for path in place.iterdir())


def test_a_folder_appears_whole_and_takes_the_place_of_the_one_before(tmp_path):
    target = tmp_path / "p1"
    for text in ("first", "second"):
        with files.whole_folder(target) as folder:
            (folder / f"{text}.txt").write_text(text)
            assert names(tmp_path) == sorted(
                [".p1.partial"] + ["p1"] * (text == "second")
            )
    assert names(tmp_path) == ["p1"]
    assert names(target) == ["second.txt"]


def test_after_an_error_all_is_as_it_was(tmp_path):
    target = tmp_path / "p1"
    with files.whole_folder(target) as folder:
        (folder / "kept").touch()
    with pytest.raises(KeyError), files.whole_folder(target) as folder:
        (folder / "new").touch()
        raise KeyError
    assert names(tmp_path) == ["p1"]
    assert names(target) == ["kept"]


@pytest.mark.parametrize("which", [1, 2])
def test_stopped_while_folders_change_places_one_is_left(tmp_path, monkeypatch, which):
    target, replaced, count = tmp_path / "p1", os.replace, itertools.count(1)
    with files.whole_folder(target) as folder:
        (folder / "old").touch()

    def replace(old, new):
        replaced(old, new)
        if next(count) == which:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(KeyboardInterrupt), files.whole_folder(target) as folder:
        (folder / "new").touch()
    assert names(tmp_path) == ["p1"]
    assert names(target) == [{1: "old", 2: "new"}[which]]


def test_a_file_in_the_place_of_a_folder_is_replaced(tmp_path):
    (tmp_path / "p1").touch()
    with files.whole_folder(tmp_path / "p1") as folder:
        (folder / "new").touch()
    assert names(tmp_path) == ["p1"]
    assert names(tmp_path / "p1") == ["new"]


KILLED = """
import os, pathlib, signal, sys
from mtl_jax.core import files

moment, place = sys.argv[1], pathlib.Path(sys.argv[2])
replaced, left = os.replace, {"filling": 0, "between": 1, "after": 2}[moment]

def replace(old, new):
    global left
    replaced(old, new)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

os.replace = replace
with files.whole_folder(place / "p1") as folder:
    (folder / "new").touch()
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    ("moment", "found"), [("filling", "old"), ("between", "old"), ("after", "new")]
)
def test_killed_at_any_moment_nothing_half_written_has_a_final_name(
    tmp_path, moment, found
):
    with files.whole_folder(tmp_path / "p1") as folder:
        (folder / "old").touch()
    done = subprocess.run([sys.executable, "-c", KILLED, moment, str(tmp_path)])
    assert done.returncode == -9
    assert any(name[0] == "." for name in names(tmp_path))  # there is something left
    (tmp_path / ".config.old").mkdir()  # not ours
    files.settle_folder(tmp_path / "p1")
    assert names(tmp_path) == [".config.old", "p1"]
    assert names(tmp_path / "p1") == [found]
    with files.whole_folder(tmp_path / "p1") as folder:
        (folder / "again").touch()
    assert names(tmp_path / "p1") == ["again"]
