"""From a waiting series to its results, or to why there are none."""

import dataclasses
import errno

import pytest

from mtl_jax.node import measurements, predictions, series_queue
from mtl_jax.predict import cases, patient_loop, trained_model
from mtl_jax.sources.dicom import reader
from tests.node import objects, running


@pytest.fixture(scope="module")
def network(checkpoint):
    return trained_model.load(trained_model.describe(checkpoint))


@pytest.fixture
def queue(tmp_path):
    return series_queue.Queue(tmp_path, objects.LIMITS)


@pytest.fixture
def worker(queue, network):
    return predictions.Predictions(
        queue,
        network,
        cases.ReadingOptions(reader.Options(), {}),
        objects.LIMITS,
        measurements.Measurements(queue),
        series_queue.SENDING,
    )


def fill(queue, files):
    for number, path in enumerate(files):
        queue.add(objects.ABOUT, str(number), path.read_bytes(), "a", {"a"})
    (folder,) = queue.folders(series_queue.INCOMING)
    queue.whole(folder.name, len(files))


def only(queue, state):
    (folder,) = queue.folders(state)
    return folder


def test_the_results_are_those_of_predict(queue, worker, patients):
    fill(queue, running.ct_files(patients[0]))
    assert worker.predict_next()
    folder = only(queue, series_queue.SENDING)
    names = {path.name for path in (folder / series_queue.RESULT).iterdir()}
    assert names == {"RS.dcm", "RD.dcm", "preview.png", "statistics.json"}
    assert not worker.predict_next()


def test_a_series_with_a_gap_is_refused_in_the_readers_words(queue, worker, patients):
    files = running.ct_files(patients[0])
    heights = {path: objects.height(path) for path in files}
    middle = sorted(files, key=heights.get)[2]
    fill(queue, [path for path in files if path != middle])
    assert worker.predict_next()
    why = series_queue.reason(only(queue, series_queue.REFUSED))
    assert why["reason"] == "reader" and "missing" in why["message"]


def test_a_series_that_the_node_does_not_survive_is_refused(
    queue, worker, patients, monkeypatch
):
    fill(queue, running.ct_files(patients[0]))

    class Killed(BaseException):
        pass

    def die(*_):
        raise Killed

    monkeypatch.setattr(patient_loop, "predict_patient", die)
    for _ in range(int(objects.LIMITS.attempts)):
        with pytest.raises(Killed):
            worker.predict_next()
        queue.put_back()  # as a restart does
    assert worker.predict_next()
    why = series_queue.reason(only(queue, series_queue.REFUSED))
    assert why["reason"] == "attempts"


def test_what_a_killed_prediction_left_is_no_obstacle(queue, worker, patients):
    fill(queue, running.ct_files(patients[0]))
    folder = only(queue, series_queue.WAITING)
    for name in (".result.partial", ".result.old", "result"):
        (folder / name).mkdir()
        (folder / name / "RD.dcm").write_bytes(b"half")
    assert worker.predict_next()
    result = only(queue, series_queue.SENDING) / series_queue.RESULT
    assert (result / "RD.dcm").stat().st_size > 1000
    assert sorted(p.name for p in result.parent.iterdir() if "result" in p.name) == [
        "result"
    ]


def test_what_cannot_be_written_is_tried_again_but_not_for_ever(
    queue, worker, patients, monkeypatch
):
    fill(queue, running.ct_files(patients[0]))

    def broken(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(patient_loop, "predict_patient", broken)
    for _ in range(int(objects.LIMITS.attempts)):
        with pytest.raises(predictions.DiskError):
            worker.predict_next()
    assert worker.predict_next()
    assert only(queue, series_queue.REFUSED)


def test_a_signal_counts_as_no_attempt(queue, worker, patients, monkeypatch):
    fill(queue, running.ct_files(patients[0]))

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(patient_loop, "predict_patient", stop)
        with pytest.raises(KeyboardInterrupt):
            worker.predict_next()
    folder = only(queue, series_queue.WAITING)
    assert series_queue.count_attempt(folder) == 0


def test_on_a_full_disk_it_waits(queue, worker, patients, monkeypatch):
    fill(queue, running.ct_files(patients[0]))
    with monkeypatch.context() as patch:

        def no_room(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(patient_loop, "predict_patient", no_room)
        for _ in range(2 + int(objects.LIMITS.attempts)):  # not the series' fault
            with pytest.raises(predictions.DiskError):
                worker.predict_next()
    assert worker.predict_next()
    assert only(queue, series_queue.SENDING)


def test_a_prediction_that_takes_too_long_ends_the_node(
    queue, worker, patients, monkeypatch
):
    ended = []
    monkeypatch.setattr(predictions, "_give_up", lambda: ended.append(1))
    worker._limits = dataclasses.replace(objects.LIMITS, predict_minutes=1e-5)
    fill(queue, running.ct_files(patients[0]))
    worker.predict_next()
    assert ended == [1]
