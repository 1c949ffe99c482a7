"""A node as its users see it: senders, an archive, kills, a full disk."""

import json
import re
import shutil
import subprocess
import sys
import threading
import time

import pydicom
import pytest

from mtl_jax.core import errors
from mtl_jax.node import __main__ as command
from mtl_jax.node import serving
from tests.node import running
from tests.predict import checkpoints


def study_of(patient):
    return str(pydicom.dcmread(running.ct_files(patient)[0]).StudyInstanceUID)


def identifiers(patients):
    """What must not be in a log or on a page."""
    for patient in patients:
        image = pydicom.dcmread(running.ct_files(patient)[0])
        yield str(image.PatientID)
        yield from str(image.PatientName).split("^")
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            yield str(image[keyword].value)


def keep_sending(node, paths):
    """As an archive does: all again, until every object is answered with success."""

    def send():
        while True:
            try:
                if set(running.send(node.port, paths)) == {0}:
                    return
            except (AssertionError, RuntimeError, ValueError):
                pass  # the node is away, or went away
            time.sleep(0.2)

    threading.Thread(target=send, daemon=True).start()


def interleaved(one, other):
    return [path for pair in zip(one, other, strict=True) for path in pair]


def files_in(node, pattern):
    return list(node.state.glob(pattern))


def test_four_series_and_two_kills(node, archive, patients):
    """Two senders, one of which mixes two series; killed receiving, and predicting."""
    here = node(archive.flag)
    assert running.connect(here.port).send_c_echo().Status == 0
    one, two, three, four = map(running.ct_files, patients)
    keep_sending(here, interleaved(one, two))
    running.wait_for(lambda: files_in(here, "incoming/*/ct/*.dcm"), "an object")
    here.kill()
    here.start()
    keep_sending(here, [*three, *four])
    running.wait_for(lambda: files_in(here, "waiting/*/attempts"), "a prediction")
    here.kill()
    here.start()
    running.wait_for(lambda: here.series("done") == 4, "the results")
    for patient in patients:
        assert archive.of_study(study_of(patient)) == ["RTDOSE", "RTSTRUCT"]
    assert len(archive.counts) == 8 and set(archive.counts.values()) == {1}
    check_pages(here, patients)
    # What the node writes is for its own user.
    assert not [p for p in here.state.rglob("*") if p.stat().st_mode & 0o077]
    assert here.stop() == 75


def check_pages(node, patients):
    page = node.get("/").decode()
    pictures = re.findall(r'src="(/picture/s[0-9a-f]{16}\.png)"', page)
    assert len(pictures) == 4
    assert node.get(pictures[0]).startswith(b"\x89PNG")
    assert node.get("/picture/s0123456789abcdef.png") == b"not here\n"
    assert node.get("/picture/../key") == b"not here\n"
    health = node.health()
    assert health["ok"] and health["problems"] == [] and health["series"]["done"] == 4
    assert node.figure('refused_total{reason="reader"}') == 0
    said = node.log.read_text() + page + json.dumps(health)
    assert not [word for word in identifiers(patients) if word in said]


def can_mount():
    line = "mount -t tmpfs -o size=64k tmpfs /mnt"
    call = ["unshare", "-m", "sh", "-c", line]
    return (
        shutil.which("unshare")
        and not subprocess.run(call, capture_output=True, check=False).returncode
    )


FULL = """
import pathlib, shutil, sys, types
from mtl_jax.node import series_queue
from tests.node import objects
limits = objects.limits.Limits(free_gb=1e-9)
queue = series_queue.Queue(pathlib.Path(sys.argv[1]), limits)
# Another program takes the room between the check and the writing.
shutil.disk_usage = lambda _: types.SimpleNamespace(free=1e15)
taken, full = 0, None
while full is None:
    uid = str(taken)
    try:
        queue.add(objects.ABOUT, uid, bytes(9000) + uid.encode(), "a", {"a"})
        taken += 1
    except OSError as error:
        full = error
(folder,) = queue.folders(series_queue.INCOMING)
sizes = {path.stat().st_size > 9000 for path in (folder / "ct").iterdir()}
print(full.errno, taken, series_queue.count(folder), sizes,
      len(list((pathlib.Path(sys.argv[1]) / "partial").iterdir())))
"""


@pytest.mark.skipif(not can_mount(), reason="mounting a small disk is not allowed here")
def test_a_disk_that_is_really_full(tmp_path):
    """What was taken before is whole, and nothing of the last is left."""
    mount = f'mount -t tmpfs -o size=200k tmpfs {tmp_path} && exec "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", mount, "sh", sys.executable, "-c",
         FULL, tmp_path / "state"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    errno, taken, kept, sizes, partial = done.stdout.split()
    assert (errno, sizes, partial) == ("28", "{True}", "0")
    assert taken == kept and int(kept) > 5


def test_open_to_others_only_with_a_list(capsys):
    with pytest.raises(SystemExit) as end:
        command.parse_flags(["--bind=0.0.0.0"])
    assert end.value.code == 2 and "--allow" in capsys.readouterr().err
    flags = command.parse_flags(["--bind=0.0.0.0", "--allow=CT1@10.1.2.3:104"])
    assert [sender.title for sender in flags.allow] == ["CT1"]
    flags = command.parse_flags([])
    assert flags.bind == flags.web_bind == "127.0.0.1"
    assert all(sender.network.is_loopback for sender in flags.allow)


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--ae_title=A_TITLE_THAT_IS_TOO_LONG", "no AE title"),
        ("--send_to=pacs", "expected HOST:PORT,AE"),
        ("--allow=*@10.0.0.0/8", "from this machine only"),
        ("--port=70000", "no port"),
        ("--quiet_s=-1", "no number above 0"),
        ("--keep_hours=nan", "no number above 0"),
    ],
)
def test_wrong_flags(capsys, flag, said):
    with pytest.raises(SystemExit) as end:
        command.parse_flags([flag])
    assert end.value.code == 2 and said in capsys.readouterr().err


def test_a_network_that_needs_contours_is_refused(tmp_path):
    home = checkpoints.write(tmp_path, "seq_human", "prostate")
    with pytest.raises(errors.ConfigError, match="takes contours"):
        serving.find_model([home])
