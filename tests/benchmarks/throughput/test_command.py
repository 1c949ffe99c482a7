"""The whole command on tiny networks; what it measures is not tested here."""

import json
import os
import pathlib
import sys

import pytest

from benchmarks.throughput import __main__ as command
from benchmarks.throughput import cases, machine

pytest.importorskip("torch")
TINY = ("--size=tiny", "--platform=cpu", "--networks=single", "--batch_sizes=2")
SHORT = ("--allocator=hugepages", "--repeats=2", "--steps=1", "--threads=1")
PNG = b"\x89PNG"


def run(monkeypatch, folder, *flags):
    # Beside what the tests compile: another run may have compiled it already.
    cache = pathlib.Path(os.environ["JAX_COMPILATION_CACHE_DIR"]) / "throughput"
    where = [f"--out={folder}", f"--cache_dir={cache}"]
    arguments = ["throughput", *TINY, *SHORT, *where, *flags]
    monkeypatch.setattr(sys, "argv", arguments)
    status = command.main()
    return status, json.loads((folder / "result.json").read_text())


def test_training_and_inference_of_both_frameworks(monkeypatch, tmp_path, capsys):
    modes = "--modes=ours/float32,pytorch/channels_last"
    status, result = run(monkeypatch, tmp_path, "--parts=train,inference", modes)
    assert status == 0
    products, train, inference = result["cases"]
    assert products["case"]["part"] == cases.PRODUCTS
    assert set(result["peaks"]) == {"cpu/float32"}
    for entry in (train, inference):
        assert [row["framework"] for row in entry["rows"]] == ["ours", "pytorch"]
        for row in entry["rows"]:
            assert row["failed"] is None
            assert [turn["images"] for turn in row["turns"]] == [2, 2]
            assert row["first_step_seconds"] > 0 and row["peak_bytes"] > 1e7
            assert row["environment"]["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1"
        assert set(entry["ratios"]) == {"float32", "fastest"}
        assert entry["rows"][0]["compiler_operations"] > 0
        assert entry["rows"][0]["compile_seconds"] > 0
    assert train["operations"] == 3 * inference["operations"]
    assert result["settings"]["threads"] == 1
    assert "--parts=train,inference" in result["command"]
    assert (tmp_path / "plot.png").read_bytes().startswith(PNG)
    table = (tmp_path / "table.md").read_text()
    assert "| single, train, batch 2, 32 x 32, cpu, huge pages | **" in table
    assert "| PyTorch | channels_last |" in table
    assert table in capsys.readouterr().out


def test_parts_that_read_patients(monkeypatch, tmp_path):
    modes = "--modes=ours/float32,ours/Grain,pytorch/channels_last,*without workers"
    parts = "--parts=pipeline,end_to_end,evaluation"
    status, result = run(monkeypatch, tmp_path, parts, modes)
    assert status == 0
    _, pipeline, end_to_end, evaluation = result["cases"]
    for entry in (pipeline, end_to_end, evaluation):
        assert [row["framework"] for row in entry["rows"]] == ["ours", "pytorch"]
        assert [row["failed"] for row in entry["rows"]] == [None, None]
        assert "fastest" in entry["ratios"]
    for row in end_to_end["rows"]:
        assert [turn["images"] for turn in row["turns"]] == [2, 2]
    for row in evaluation["rows"]:  # a whole patient
        assert [turn["images"] for turn in row["turns"]] == [128, 128]


def test_a_device_that_fails_costs_rows_and_ends_with_status_1(
    monkeypatch, tmp_path, capsys
):
    # The query says that there is a card; there is none.
    card = machine.Found({"cuda": "a card"})
    monkeypatch.setattr(
        machine, "query", lambda: {cases.OURS: card, cases.PYTORCH: card}
    )
    modes = "--modes=ours/tf32,pytorch/amp"
    flags = ("--parts=inference", "--platform=cuda", modes)
    status, result = run(monkeypatch, tmp_path, *flags)
    assert status == 1
    assert "no mode could be measured" in capsys.readouterr().err
    rows = result["cases"][-1]["rows"]
    assert [row["mode"] for row in rows] == ["tf32", "amp"]
    assert all(row["failed"] for row in rows)
    assert "| PyTorch | amp | failed: " in (tmp_path / "table.md").read_text()


def test_an_absent_device_is_an_error_in_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["x", "--platform=tpu", f"--out={tmp_path}"])
    assert command.main() == 1
    error = capsys.readouterr().err
    assert "error: nothing is left to measure: tpu: no such device here" in error
