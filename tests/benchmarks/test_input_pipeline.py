"""The benchmark runs and prints its table; its measurements are not tested."""

import sys
from pathlib import Path

import tfds_builders
from benchmarks import input_pipeline

DUMMY = Path(tfds_builders.__file__).parent / "openkbp" / "dummy_data"


def test_a_short_run(tmp_path, monkeypatch, capsys):
    flags = {"data_dir": tmp_path, "manual_dir": DUMMY, "batch_size": 4}
    flags |= {"rounds": 1, "seconds": 0.01}
    arguments = [f"--{name}={value}" for name, value in flags.items()]
    monkeypatch.setattr(sys, "argv", ["input_pipeline", *arguments])
    input_pipeline.main()
    printed = capsys.readouterr().out
    assert "2 patients, 256 slices, batches of 4, role multi" in printed
    assert printed.count("\n| ") == 6  # the head and five measurements


def test_ratios_are_of_consecutive_rounds():
    text = input_pipeline.table(
        {"raw": [100.0, 400.0, 200.0], "x": [50.0, 200.0, 120.0]}
    )
    assert "| raw | 200 | 100 - 400 | 1.00 |" in text
    assert "| x | 120 | 50 - 200 | 0.50 |" in text
