"""When a series is whole."""

import time

import pydicom
import pytest
from pynetdicom import AE, evt

from mtl_jax.node import arrivals, limits, measurements, peers, series_queue
from tests.node import objects, running

FIND = "1.2.840.10008.5.1.4.1.2.2.1"


LIMITS = limits.Limits(free_gb=1e-6)  # waits of 30 s and 10 minutes


@pytest.fixture
def queue(tmp_path):
    return series_queue.Queue(tmp_path, LIMITS)


@pytest.fixture
def wait(monkeypatch):
    """`wait(seconds)`: the clock goes on, the test does not."""
    real, ahead = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + ahead[0])

    def wait(seconds):
        ahead[0] += seconds

    return wait


def watch(queue, sender="SCANNER@127.0.0.1"):
    figures = measurements.Measurements(queue)
    senders = [peers.parse_sender(sender)]
    return arrivals.Arrivals(queue, senders, "MTL_JAX", LIMITS, figures)


def add(queue, count, released):
    for number in range(count):
        queue.add(objects.ABOUT, f"1.2.3.{number}", b"CT", "a", {"a"})
    if released:
        queue.released("a")


def states(queue):
    return [s for s in series_queue.STATES for _ in queue.folders(s)]


def test_a_released_series_is_whole_when_it_is_quiet(queue, wait):
    look = watch(queue).look
    add(queue, 3, released=True)
    look()
    assert states(queue) == ["incoming"]
    wait(LIMITS.quiet_s)
    look()
    assert states(queue) == ["waiting"]


def test_half_a_series_is_refused_in_the_end(queue, wait):
    look = watch(queue).look
    add(queue, 3, released=False)  # its sender broke off
    wait(LIMITS.quiet_s)
    look()
    assert states(queue) == ["incoming"]
    wait(LIMITS.incomplete_s)
    look()
    assert states(queue) == ["refused"]
    (folder,) = queue.folders(series_queue.REFUSED)
    assert series_queue.reason(folder)["reason"] == "incomplete"


def test_after_a_restart_a_sender_gets_time_to_go_on(queue, wait):
    add(queue, 3, released=True)
    wait(LIMITS.quiet_s)
    watch(queue).look()  # begins now
    assert states(queue) == ["incoming"]


class Scanner:
    """Answers C-FIND with the number of images that it has."""

    def __init__(self, images):
        self.images, self.asked = images, []
        self.port = running.free_port()
        entity = AE("SCANNER")
        entity.add_supported_context(FIND)
        self.server = entity.start_server(
            ("127.0.0.1", self.port),
            block=False,
            evt_handlers=[(evt.EVT_C_FIND, self._find)],
        )

    def _find(self, event):
        self.asked.append(event.identifier)
        answer = pydicom.Dataset()
        answer.SeriesInstanceUID = event.identifier.SeriesInstanceUID
        if self.images is not None:
            answer.NumberOfSeriesRelatedInstances = self.images
        yield 0xFF00, answer


@pytest.fixture
def scanner():
    made = []

    def start(images):
        made.append(Scanner(images))
        return made[-1]

    yield start
    for each in made:
        each.server.shutdown()


def test_a_sender_that_says_how_many_is_believed(queue, scanner, wait):
    has = scanner(3)
    look = watch(queue, f"SCANNER@127.0.0.1:{has.port}").look
    add(queue, 2, released=True)
    look(), look()
    wait(LIMITS.quiet_s)
    look()  # quiet, but one is missing
    assert states(queue) == ["incoming"]
    (asked,) = has.asked  # once for each number of objects
    assert (asked.StudyInstanceUID, asked.SeriesInstanceUID) == ("1.2", "1.2.3")
    add(queue, 3, released=True)
    look()  # at once
    assert states(queue) == ["waiting"]


def test_a_whole_series_of_an_association_that_broke_off(queue, scanner, wait):
    look = watch(queue, f"SCANNER@127.0.0.1:{scanner(3).port}").look
    add(queue, 3, released=False)
    look()
    assert states(queue) == ["incoming"]
    wait(LIMITS.quiet_s)
    look()
    assert states(queue) == ["waiting"]


@pytest.mark.parametrize("images", [None, 0])
def test_an_answer_without_a_number_is_none(queue, scanner, images):
    port = scanner(images).port
    assert arrivals.ask(objects.ABOUT, port, "MTL_JAX") is None


def test_nobody_answers():
    assert arrivals.ask(objects.ABOUT, running.free_port(), "MTL_JAX") is None
