"""The queue on disk: what is kept, where it goes, what a kill leaves."""

import dataclasses
import json
import os

import pytest

from mtl_jax.node import reasons, series_queue
from tests.node import objects

ABOUT, LIMITS = objects.ABOUT, objects.LIMITS


@pytest.fixture
def queue(tmp_path):
    return series_queue.Queue(tmp_path, LIMITS)


def add(queue, uid="1.2.3.1", content=b"one", by="a", living=("a",), about=ABOUT):
    return queue.add(about, uid, content, by, set(living))


def states(queue):
    return {state: len(queue.folders(state)) for state in series_queue.STATES}


def only(queue, state):
    (folder,) = queue.folders(state)
    return folder


def to_waiting(queue):
    folder = only(queue, series_queue.INCOMING)
    assert queue.whole(folder.name, series_queue.count(folder))
    return only(queue, series_queue.WAITING)


def to_result(folder):
    (folder / series_queue.RESULT).mkdir()
    (folder / series_queue.RESULT / "RD.dcm").write_bytes(b"dose")


def test_an_object_is_kept_once_under_a_name_that_tells_nothing(queue, tmp_path):
    assert add(queue) and not add(queue)
    assert add(queue, "1.2.3.2", b"two")
    folder = only(queue, series_queue.INCOMING)
    assert series_queue.count(folder) == 2
    assert series_queue.about(folder) == ABOUT
    names = [p.name for p in tmp_path.rglob("*")]
    assert not [name for name in names if "1.2" in name or "SCANNER" in name]
    # The same UID has another name under another key.
    assert series_queue.Queue(tmp_path / "b", LIMITS).name("1.2") != queue.name("1.2")
    assert series_queue.Queue(tmp_path, LIMITS).name("1.2") == queue.name("1.2")
    assert (tmp_path / "key").stat().st_size == 32


def test_it_is_on_the_disk_before_it_is_taken(queue, monkeypatch):
    synced, replaced = [], []
    fsync, replace = os.fsync, os.replace

    def note(descriptor):
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    def check(source, target):
        # What is renamed within a folder is synced with the folder.
        if source.parent != target.parent:
            assert str(source) in synced, "renamed before it was synced"
            replaced.append(str(target))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(os, "replace", check)
    add(queue)
    folder = only(queue, series_queue.INCOMING)
    ct = str(folder / series_queue.CT)
    assert replaced == [str(folder), f"{ct}/{queue.name('1.2.3.1')}.dcm"]
    assert synced[-1] == ct and str(folder.parent) in synced


def test_two_objects_of_one_uid_are_a_conflict(queue):
    add(queue)
    with pytest.raises(reasons.Refused, match="conflict"):
        add(queue, content=b"another")
    assert series_queue.count(only(queue, series_queue.INCOMING)) == 1


def test_limits_on_numbers_and_on_the_disk(tmp_path):
    tight = dataclasses.replace(LIMITS, objects=2, series=1)
    queue = series_queue.Queue(tmp_path, tight)
    add(queue), add(queue, "2")
    with pytest.raises(reasons.Refused, match="too_many_objects"):
        add(queue, "3")
    other = dataclasses.replace(ABOUT, series="9")
    with pytest.raises(reasons.Refused, match="queue_full"):
        add(queue, "4", about=other)
    full = series_queue.Queue(tmp_path, dataclasses.replace(LIMITS, free_gb=1e9))
    with pytest.raises(reasons.Refused, match="disk_full"):
        add(full, "5")
    assert states(queue) == {
        "incoming": 1, "waiting": 0, "sending": 0, "done": 0, "refused": 0
    }  # fmt: skip
    assert not list((tmp_path / "partial").iterdir())


def test_what_came_by_an_association_that_broke_off_is_not_finished(queue):
    add(queue)
    folder = only(queue, series_queue.INCOMING)
    assert not series_queue.is_finished(folder)
    queue.released("b")  # another one
    assert not series_queue.is_finished(folder)
    # `a` broke off. `c` sends again what is here already, and stands for all.
    add(queue, by="c", living={"c"})
    queue.released("c")
    assert series_queue.is_finished(folder)


def test_two_at_one_time_both_have_to_be_released(queue):
    add(queue)
    add(queue, "2", b"two", "b", {"a", "b"})
    folder = only(queue, series_queue.INCOMING)
    queue.released("b")
    assert not series_queue.is_finished(folder)
    queue.released("a")
    assert series_queue.is_finished(folder)


def test_more_objects_open_a_waiting_series_again_but_none_that_is_predicted(queue):
    add(queue)
    to_waiting(queue)
    assert not add(queue) and states(queue)["waiting"] == 1
    add(queue, "2", b"two")
    assert states(queue)["incoming"] == 1
    folder = to_waiting(queue)
    assert queue.start() == folder
    assert not add(queue)  # its answer was lost
    with pytest.raises(reasons.Refused, match="late"):
        add(queue, "3")
    to_result(folder)
    queue.finish(folder, series_queue.SENDING)
    with pytest.raises(reasons.Refused, match="late"):
        add(queue, "3")
    queue.sent(only(queue, series_queue.SENDING))
    done = only(queue, series_queue.DONE)
    # The images are gone; their names are kept, to know them.
    assert {p.stat().st_size for p in (done / series_queue.CT).iterdir()} == {0}
    assert not add(queue)
    with pytest.raises(reasons.Refused, match="late"):
        add(queue, "3")


def test_a_count_that_is_old_does_not_close_a_series(queue):
    add(queue)
    folder = only(queue, series_queue.INCOMING)
    add(queue, "2")
    assert not queue.whole(folder.name, 1)
    assert states(queue)["incoming"] == 1


def test_a_refused_series_is_taken_again(queue):
    add(queue)
    folder = only(queue, series_queue.INCOMING)
    queue.refuse(folder, "incomplete")
    refused = only(queue, series_queue.REFUSED)
    assert series_queue.reason(refused)["message"].startswith("not all images")
    assert not add(queue, by="b", living={"b"})  # one that is here already
    again = only(queue, series_queue.INCOMING)
    assert not series_queue.reason(again)
    queue.released("b")
    assert series_queue.is_finished(again)


def test_old_things_are_deleted(queue):
    add(queue)
    queue.refuse(only(queue, series_queue.INCOMING), "incomplete")
    add(queue, "9.1", about=dataclasses.replace(ABOUT, series="9"))
    folder = to_waiting(queue)
    queue.start()
    to_result(folder)
    queue.finish(folder, series_queue.SENDING)
    add(queue, "8.1", about=dataclasses.replace(ABOUT, series="8"))
    moved = only(queue, series_queue.SENDING).stat().st_mtime
    assert queue.expire(moved + LIMITS.keep_s - 10) == []
    assert sum(states(queue).values()) == 3
    assert queue.expire(moved + LIMITS.keep_s + 10) == [folder.name]
    assert [s for s, n in states(queue).items() if n] == ["incoming"]


def test_a_kill_leaves_nothing_half_done(queue, tmp_path, monkeypatch):
    """Stopped at each rename in turn, the queue is always one of two whole states."""
    add(queue)
    folder = to_waiting(queue)
    to_result(folder)

    def die(*_):
        raise KeyboardInterrupt

    for step in (
        lambda: add(queue, "2"),
        lambda: queue.finish(folder, series_queue.DONE),
        lambda: queue.refuse(folder, "reader", "why"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", die)
            with pytest.raises(KeyboardInterrupt):
                step()
        after = series_queue.Queue(tmp_path, LIMITS)
        assert states(after)["waiting"] == 1
        assert series_queue.count(only(after, series_queue.WAITING)) == 1
        assert not list((tmp_path / "partial").iterdir())


def test_images_of_a_finished_series_go_even_after_a_kill(queue, tmp_path, monkeypatch):
    add(queue)
    folder = to_waiting(queue)
    queue.start()
    to_result(folder)
    with monkeypatch.context() as patch:
        patch.setattr(os, "truncate", lambda *_: None)
        queue.finish(folder, series_queue.DONE)
    series_queue.Queue(tmp_path, LIMITS)
    images = only(queue, series_queue.DONE) / series_queue.CT
    assert {path.stat().st_size for path in images.iterdir()} == {0}


def test_attempts_are_counted_on_disk(queue):
    add(queue)
    folder = to_waiting(queue)
    assert [series_queue.count_attempt(folder) for _ in range(3)] == [0, 1, 2]
    series_queue.undo_attempt(folder)
    assert series_queue.count_attempt(folder) == 2


def test_a_reason_is_plain_json(queue):
    add(queue)
    queue.refuse(only(queue, series_queue.INCOMING), "reader", "no CT")
    path = only(queue, series_queue.REFUSED) / series_queue.REASON
    assert json.loads(path.read_text()) == {"reason": "reader", "message": "no CT"}
