"""What follows a step is read at once, written in order and when asked."""

import threading

import pytest

from mtl_jax.train import later


@pytest.fixture
def work():
    """A `Later`, and what it wrote."""
    made = later.Later()
    yield made, []
    made.close()


def test_it_is_written_in_order_whatever_was_read_first(work):
    made, written = work
    go, second = threading.Event(), threading.Event()
    made.add(lambda: go.wait(60) and "first", written.append)
    made.add(lambda: second.set() or "second", written.append)
    assert second.wait(60)  # read, before the first
    made.catch_up(wait=False)
    assert written == []
    go.set()
    made.catch_up(wait=True)
    assert written == ["first", "second"]


def test_an_error_is_raised_in_its_turn(work):
    made, written = work
    made.add(lambda: 1, written.append)
    made.add(lambda: 1 / 0, written.append)
    made.add(lambda: 3, written.append)
    with pytest.raises(ZeroDivisionError):
        made.catch_up(wait=True)
    assert written == [1]


def test_several_processes_write_at_the_same_step(work, monkeypatch):
    made, written = work
    go = threading.Event()
    made.add(lambda: go.wait(60), written.append)
    threading.Timer(0.05, go.set).start()
    monkeypatch.setattr(later.distributed, "count", lambda: 2)
    made.catch_up(wait=False)
    assert written == [True]


class Array:
    """One that says when it was waited for."""

    def __init__(self, number, waited):
        self.number, self.waited = number, waited

    def block_until_ready(self):
        self.waited.append(self.number)
        return self


def test_the_host_stays_near_to_the_device():
    ahead, waited = later.Ahead(), []
    for number in range(1, 24):
        ahead.step(lambda number=number: Array(number, waited))
        assert number - max(waited, default=0) < later.AHEAD + later.MARK_EVERY
    assert waited == [5, 10]


def test_one_piece_of_work_at_a_time_and_its_error_later():
    aside, done = later.Aside(), []
    go = threading.Event()
    aside.start(lambda: go.wait(60) and done.append("first"))
    assert done == []  # `start` has returned
    threading.Timer(0.05, go.set).start()
    aside.start(lambda: done.append("second") or 1 / 0)
    assert done[0] == "first"
    with pytest.raises(ZeroDivisionError):
        aside.close()
    assert done == ["first", "second"]
