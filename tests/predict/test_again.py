"""What `python -m mtl_jax.predict` finds done, half-done, or somebody else's."""

import signal
import subprocess
import sys

import pydicom
import pytest

from tests.predict import command

multi, clinic, call = command.multi, command.clinic, command.call
folders, IN_PELVIS = command.folders, command.IN_PELVIS


def test_many_patients_and_what_is_done_is_skipped(call, multi, clinic, tmp_path):
    status, out, err = call(multi, clinic)
    assert status == 0, err
    assert "3 of 3 patients in" in out and "network ready in" in out
    found = folders(tmp_path / "out")
    assert list(found.values()) == [IN_PELVIS] * 3
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.dcm")}
    status, out, _ = call(multi, clinic)
    assert status == 0
    assert "3 of 3 patients were already done" in out and "network" not in out
    ct = next((clinic / "b").glob("CT*"))
    made = pydicom.dcmread(ct)
    made.RescaleIntercept = int(made.RescaleIntercept) + 1
    made.save_as(ct)
    assert "2 of 3 patients were already done" in call(multi, clinic)[1]
    changed = {p.parent.name for p, at in stamps.items() if p.stat().st_mtime_ns != at}
    assert len(changed) == 1
    # Other flags, and all of it again.
    assert "done before" not in call(multi, clinic, "--nifti")[1]
    assert "done before" not in call(multi, clinic, "--nifti", "--overwrite")[1]
    assert folders(tmp_path / "out").keys() == found.keys()


def test_what_the_user_removed_is_made_again(call, multi, clinic, tmp_path):
    call(multi, clinic / "a")
    (dose,) = (tmp_path / "out").rglob("RD.dcm")
    dose.unlink()
    assert "done before" not in call(multi, clinic / "a")[1]
    assert dose.exists()
    (dose.parent / "note.txt").touch()  # of the user's own
    assert "1 of 1 patients were already done" in call(multi, clinic / "a")[1]


def test_hidden_folders_of_others_are_left_alone(call, multi, clinic, tmp_path):
    for name in (".config.old", ".p.partial"):
        (tmp_path / "out" / name).mkdir(parents=True)
    assert call(multi, clinic / "a")[0] == 0
    assert {".config.old", ".p.partial"} <= set(folders(tmp_path / "out"))


PROGRAM = """
import os, signal, sys
from mtl_jax.predict import __main__ as predict
from mtl_jax.predict import output_files

draw, left = output_files._write_preview, int(sys.argv[1])

def stopping(*arguments):
    global left
    draw(*arguments)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), int(sys.argv[2]))

output_files._write_preview = stopping
sys.exit(predict.main(sys.argv[3:]))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_on_the_way(call, multi, clinic, tmp_path, number):
    arguments = [f"--checkpoint={multi}", f"--out={tmp_path / 'out'}", str(clinic)]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "2", str(int(number)), *arguments],
        capture_output=True,
        text=True,
    )
    killed = number == signal.SIGKILL
    assert done.returncode == (-9 if killed else 75), done.stderr
    assert "Traceback" not in done.stderr
    hidden = list((tmp_path / "out").glob(".*.partial"))
    assert len(hidden) == killed
    visible = {k: v for k, v in folders(tmp_path / "out").items() if k[0] != "."}
    assert list(visible.values()) == [IN_PELVIS]
    status, out, err = call(multi, clinic)
    assert status == 0, err
    assert "1 of 3 patients were already done" in out
    assert list(folders(tmp_path / "out").values()) == [IN_PELVIS] * 3


def test_two_at_once_in_one_place_are_refused(call, multi, clinic, tmp_path):
    holder = (
        "import pathlib, sys, time; from mtl_jax.core import locks\n"
        "with locks.held(pathlib.Path(sys.argv[1]), ''): print(flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", holder, str(tmp_path / "out")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    other.stdout.readline()
    status, _, err = call(multi, clinic)
    other.communicate(b"\n")
    assert status == 1
    assert "give another --out" in err
