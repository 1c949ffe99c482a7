"""The DICOM server in this process: what it takes, what it refuses, and how."""

import dataclasses
import errno
import logging
import os
import random
import socket
import threading
import warnings

import pytest
from pydicom import uid
from pynetdicom import AE, _config, acse

from mtl_jax.node import measurements, peers, receiver, series_queue
from tests.node import fuzzing, objects, running

SENDERS = (
    peers.parse_sender("SCANNER@127.0.0.1"),
    peers.parse_sender("ELSEWHERE@10.9.8.7"),
)


class Here:
    """A receiver, its queue and figures."""

    def __init__(self, home, limits, senders):
        self.queue = series_queue.Queue(home, limits)
        self.figures = measurements.Measurements(self.queue)
        self.receiver = receiver.Receiver(self.queue, senders, limits, self.figures)
        self.port = self.receiver.start("127.0.0.1", 0, "MTL_JAX")

    def refused(self, reason):
        value = self.figures.refused.labels(reason)._value
        return int(value.get())

    def objects(self):
        folders = self.queue.folders(series_queue.INCOMING)
        return [series_queue.count(folder) for folder in folders]

    @property
    def links(self):
        return self.receiver._server.active_associations


@pytest.fixture
def here(tmp_path, monkeypatch, caplog):
    """`here(senders, limit=value)`: a receiver, silenced as in the command."""
    made = []
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(_config, "LOG_HANDLER_LEVEL", _config.LOG_HANDLER_LEVEL)
    caplog.set_level(logging.DEBUG)

    def start(senders=SENDERS, **changes):
        limits = dataclasses.replace(objects.LIMITS, **changes)
        made.append(Here(tmp_path / "state", limits, senders))
        return made[-1]

    with warnings.catch_warnings():
        receiver.silence()
        yield start
        for each in made:
            each.receiver.stop()
    for name in ("pynetdicom", "pydicom"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def send(here, *images, **titles):
    return running.send(here.port, images, **titles)


def test_an_image_is_taken_and_taken_once(here):
    node = here()
    one, two = objects.ct(number=1), objects.ct(number=2)
    assert send(node, one, two, one) == [0, 0, 0]
    assert node.objects() == [2]
    (folder,) = node.queue.folders(series_queue.INCOMING)
    running.wait_for(lambda: series_queue.is_finished(folder), "the release")
    assert series_queue.about(folder).sender == "SCANNER"


def test_the_release_is_noted_before_it_is_answered(here, monkeypatch):
    node, order = here(), []
    released = node.queue.released
    respond = acse.ACSE.send_release

    def note(name):
        order.append("noted")
        released(name)

    def answer(self, is_response=False):
        order.append("answered" if is_response else "asked")
        respond(self, is_response)

    monkeypatch.setattr(node.queue, "released", note)
    monkeypatch.setattr(acse.ACSE, "send_release", answer)
    assert send(node, objects.ct()) == [0]
    assert order == ["asked", "noted", "answered"]


def test_two_series_interleaved_are_two(here):
    node = here()
    images = [objects.ct(f"1.2.{s}", n) for n in range(5) for s in (3, 4)]
    assert set(send(node, *images)) == {0}
    assert node.objects() == [5, 5]


def test_who_is_not_on_the_list_is_refused(here):
    node = here()
    for titles in (
        {"calling": "STRANGER"},
        {"calling": "ELSEWHERE"},  # on the list, with another address
        {"called": "OTHER"},
    ):
        link = running.connect(node.port, **titles)
        assert link.is_rejected and not link.is_established
    assert node.refused("ae_title") == 3
    assert running.connect(node.port).is_established
    elsewhere = here((peers.parse_sender("SCANNER@10.9.8.7"),))
    assert running.connect(elsewhere.port).is_aborted
    assert elsewhere.refused("address") == 1


def store(node, image):
    """The status of one image, sent as it is."""
    link = running.connect(node.port)
    status = link.send_c_store(image).get("Status", -1)
    link.abort()
    return status


def test_what_is_no_ct_or_damaged_is_refused_with_its_status(here):
    node = here()
    foreign = objects.ct()
    foreign.SOPClassUID = uid.MRImageStorage
    entity = AE("SCANNER")
    entity.add_requested_context(uid.MRImageStorage)
    assert not entity.associate(
        "127.0.0.1", node.port, ae_title="MTL_JAX"
    ).is_established
    nameless = objects.ct()
    del nameless.SeriesInstanceUID
    assert store(node, nameless) == 0xC000
    empty = objects.ct()
    del empty.PixelData
    assert store(node, empty) == 0xA900
    assert store(node, objects.ct()) == 0
    other = objects.ct(PixelData=b"\1" * 128)
    assert store(node, other) == 0xC001
    assert [node.refused(r) for r in ("malformed", "not_a_ct", "conflict")] == [1] * 3
    assert node.objects() == [1]


def test_too_many_and_no_room(here):
    node = here(objects=1)
    assert send(node, objects.ct(), objects.ct(number=2)) == [0, 0xA700]
    assert node.refused("too_many_objects") == 1
    node.receiver.stop()
    full = here(free_gb=1e9)
    assert send(full, objects.ct(number=3)) == [0xA700]
    assert full.refused("disk_full") == 1
    assert running.connect(full.port).send_c_echo().Status == 0


def test_a_disk_that_fills_while_writing(here, monkeypatch):
    node = here()

    def no_room(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_room)
        assert send(node, objects.ct()) == [0xA700]
    assert node.refused("disk_full") == 1 and node.objects() == []
    assert send(node, objects.ct()) == [0]
    assert node.objects() == [1]


def test_an_object_beyond_the_limit_ends_the_association(here):
    node = here(object_mb=0.001)
    large = objects.ct(Rows=2048, Columns=512, PixelData=bytes(2048 * 512 * 2))
    link = running.connect(node.port)
    assert "Status" not in link.send_c_store(large)
    running.wait_for(lambda: node.refused("too_large"), "the refusal")
    assert node.objects() == []
    assert send(node, objects.ct()) == [0]


def test_too_many_associations(here):
    node = here(associations=2)
    links = [running.connect(node.port) for _ in range(2)]
    assert all(link.is_established for link in links)
    assert running.connect(node.port).is_rejected
    assert node.refused("busy") == 1
    for link in links:
        link.release()
    running.wait_for(lambda: not node.links, "the ends")
    assert running.connect(node.port).is_established


def test_who_sends_slowly_or_nothing_is_let_go(here):
    node = here(idle_s=0.5)
    silent = socket.create_connection(("127.0.0.1", node.port))
    slow = socket.create_connection(("127.0.0.1", node.port))
    slow.sendall(b"\x01\x00\x00\x00")  # the begin of a request
    lengthy = socket.create_connection(("127.0.0.1", node.port))
    lengthy.sendall(b"\x01\x00\xff\xff\xff\xff")  # one of 4 GB
    for reason in ("too_slow", "too_large"):
        running.wait_for(lambda: node.refused(reason), reason, 10)  # noqa: B023
    running.wait_for(lambda: not node.links, "the ends", 10)
    assert node.refused("too_slow") == 1 and node.refused("too_large") == 1
    for link in (silent, slow, lengthy):
        link.close()


def test_200_fuzzed_pdus_do_no_harm(here, caplog, capsys):
    node = here(idle_s=1.0, associations=50)
    pdus = fuzzing.written_by_a_sender(node.port)
    assert [pdu[0] for pdu in pdus] == [1, 4, 4, 5]
    before = node.objects()
    rng = random.Random(7)
    for _ in range(200):
        fuzzing.attack(rng, node.port, pdus)
    running.wait_for(lambda: not node.links, "the ends", 20)
    # Nothing is left: no association, no thread of one.
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if "Acceptor" in name or "DUL" in name]
    assert send(node, objects.ct("1.2.99")) == [0]
    assert len(node.objects()) > len(before)
    said = caplog.text + "".join(capsys.readouterr())
    assert "HANS" not in said and "1.2.3" not in said and "Traceback" not in said
