"""Workers take turns; one that dies or does not answer loses its row."""

import dataclasses
import json
import math
import sys
import time

import pytest

from benchmarks.throughput import cases, measure

CASE = cases.Case("train", "cpu", "single", 2, 32, "default", "tiny")
MODES = [cases.Mode(cases.PYTORCH, name, "float32") for name in ("a", "b")]
GOOD = """
import json, sys
spec = json.loads(sys.stdin.readline())
say = lambda **values: print(json.dumps(values), flush=True)
say(first_step_seconds=1.0, compile_seconds=None, compiler_operations=None)
name = spec["mode"]["name"]
for line in sys.stdin:
    steps = json.loads(line)["steps"]
    {then}
    say(seconds=2.0, steps=steps, images=6, peak_bytes=1, device_peak_bytes=None)
"""


def good(then="pass"):
    return GOOD.replace("{then}", then)


@pytest.fixture
def settings(tmp_path):
    return measure.Settings(
        repeats=2,
        steps=3,
        threads=1,
        patience=30.0,
        deadline=math.inf,
        caches=tmp_path,
        logs=tmp_path / "logs",
        data_dir=None,
    )


@pytest.fixture
def run(settings, monkeypatch):
    def run(program, **changes):
        command = [sys.executable, "-c", program]
        monkeypatch.setattr(measure, "worker_command", lambda: command)
        labels = []
        changed = dataclasses.replace(settings, **changes)
        return measure.measure(CASE, MODES, changed, labels.append), labels

    return run


def test_modes_take_turns(run):
    rows, labels = run(good())
    assert labels == ["pytorch/a", "pytorch/b"] * 3  # a start and two turns each
    for row in rows:
        assert row["failed"] is None
        assert row["turns"] == [{"seconds": 2.0, "steps": 3, "images": 6}] * 2
        assert row["first_step_seconds"] == 1.0
        assert row["environment"]["OMP_NUM_THREADS"] == "1"


def test_a_worker_that_dies_loses_its_row(run):
    kill = 'name == "a" and __import__("os").kill(__import__("os").getpid(), 9)'
    rows, _ = run(good(kill))
    assert "was killed, perhaps because memory ran out" in rows[0]["failed"]
    assert rows[0]["turns"] == []
    assert len(rows[1]["turns"]) == 2 and rows[1]["failed"] is None


def test_the_last_line_of_a_workers_log_is_reported(run):
    rows, _ = run(good('name == "b" and sys.exit("no such kernel")'))
    assert rows[1]["failed"] == "ended with status 1: no such kernel"


def test_a_worker_reports_why_it_failed(run):
    rows, _ = run('print(\'{"failed": "ValueError: no"}\')')
    assert [row["failed"] for row in rows] == ["ValueError: no"] * 2


def test_a_silent_worker_is_given_up(run):
    began = time.monotonic()
    rows, _ = run("import time; time.sleep(600)", patience=0.2)
    assert rows[0]["failed"] == "no answer within 0 s"
    assert time.monotonic() - began < 60


def test_nothing_starts_after_the_deadline(run):
    rows, labels = run(good(), deadline=time.monotonic() - 1)
    assert [row["failed"] for row in rows] == ["no time was left"] * 2
    assert labels == ["pytorch/a", "pytorch/b"]


def test_on_a_tpu_a_mode_ends_before_the_next_starts(run, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "CASE", tpu())
    _, labels = run(good())
    assert labels == ["pytorch/a"] * 3 + ["pytorch/b"] * 3


def tpu():
    return cases.Case("train", "tpu", "single", 2, 32, "default", "tiny")


def test_rows_are_json(run):
    rows, _ = run(good())
    assert json.loads(json.dumps(rows)) == rows
