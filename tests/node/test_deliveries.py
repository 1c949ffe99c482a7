"""Results are sent until the archive has them, and then never again."""

import dataclasses
import os
import time

import pytest

from mtl_jax.node import deliveries, measurements, peers, series_queue
from mtl_jax.sources.phantom import dicom_cohort
from tests.node import objects
from tfds_builders.prostate import make_dummy_data


@pytest.fixture(scope="session")
def result(tmp_path_factory):
    """A structure set and a dose."""
    folder = tmp_path_factory.mktemp("result") / "p"
    pelvis = make_dummy_data.pelvis(1)
    dicom_cohort.write_patient(folder, pelvis, patient_id="QX771")
    (structures,), (dose,) = folder.glob("RS*"), folder.glob("RD*")
    return {"RS.dcm": structures.read_bytes(), "RD.dcm": dose.read_bytes()}


@pytest.fixture
def queue(tmp_path, result):
    """With one series to send."""
    queue = series_queue.Queue(tmp_path / "state", objects.LIMITS)
    queue.add(objects.ABOUT, "1", b"CT", "a", {"a"})
    (folder,) = queue.folders(series_queue.INCOMING)
    queue.whole(folder.name, 1)
    folder = queue.start()
    (folder / series_queue.RESULT).mkdir()
    for name, content in result.items():
        (folder / series_queue.RESULT / name).write_bytes(content)
    queue.finish(folder, series_queue.SENDING)
    return queue


@pytest.fixture
def send(queue, archive, monkeypatch):
    """A new `Deliveries`, as after a restart; its rounds follow without a pause."""
    monkeypatch.setattr(deliveries, "FIRST_PAUSE_S", 0.0)

    def start(port=archive.port):
        goal = peers.Archive("127.0.0.1", port, "ARCHIVE")
        figures = measurements.Measurements(queue)
        return deliveries.Deliveries(queue, goal, "MTL_JAX", objects.LIMITS, figures)

    return start


def states(queue):
    return [s for s in series_queue.STATES for _ in queue.folders(s)]


def test_both_are_sent_once(send, queue, archive):
    send().round()
    send().round()
    assert states(queue) == ["done"]
    assert list(archive.counts.values()) == [1, 1]
    (folder,) = queue.folders(series_queue.DONE)
    names = {path.name for path in (folder / series_queue.RESULT).iterdir()}
    assert names == {"RS.sent.dcm", "RD.sent.dcm"}


def test_an_archive_that_is_away_or_full_gets_them_later(send, queue, archive):
    archive.status = 0xA700
    one = send()
    one.round()
    assert states(queue) == ["sending"] and not archive.counts
    send(port=1).round()
    assert states(queue) == ["sending"]
    archive.status = 0x0000
    one.round()
    assert states(queue) == ["done"] and list(archive.counts.values()) == [1, 1]


def test_a_warning_is_a_success(send, queue, archive):
    archive.status = 0xB000
    send().round()
    assert states(queue) == ["done"]


def test_killed_after_the_first_only_the_second_is_sent(
    send, queue, archive, monkeypatch
):
    replace, calls = os.replace, []

    def die_later(source, target):
        calls.append(source)
        if len(calls) == 2:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", die_later)
        with pytest.raises(KeyboardInterrupt):
            send().round()
    # Between the archive's answer for the second and its rename.
    send().round()
    assert states(queue) == ["done"]
    # The first once; the second twice, with one UID, of which an archive keeps one.
    assert sorted(archive.counts.values()) == [1, 2]


def test_what_the_archive_never_takes_is_deleted_and_told(
    queue, archive, monkeypatch, caplog
):
    archive.status = 0xA700
    limits = dataclasses.replace(objects.LIMITS, keep_hours=1.0)
    figures = measurements.Measurements(queue)
    goal = peers.Archive("127.0.0.1", archive.port, "ARCHIVE")
    old = series_queue.Queue(queue._home, limits)
    send = deliveries.Deliveries(old, goal, "MTL_JAX", limits, figures)
    send.round()
    assert states(queue) == ["sending"]
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + limits.keep_s + 1)
    send.round()
    assert states(queue) == []
    assert "deleted: undelivered" in caplog.text
    assert figures.refused.labels("undelivered")._value.get() == 1
