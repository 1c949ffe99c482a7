"""The whole command on tiny networks; what it measures is not tested here."""

import contextlib
import io
import json
import os
import pathlib
import sys

import pytest

from benchmarks.throughput import __main__ as throughput
from benchmarks.throughput import cases, machine

pytest.importorskip("torch")
TINY = ("--size=tiny", "--platform=cpu", "--networks=single", "--batch_sizes=2")
SHORT = ("--allocator=hugepages", "--repeats=2", "--steps=1", "--threads=1")
PNG = b"\x89PNG"


def run(folder, *flags):
    """Exit status, result.json, and what was printed."""
    # In the tests' cache, where an earlier run may have compiled it already.
    cache = pathlib.Path(os.environ["JAX_COMPILATION_CACHE_DIR"]) / "throughput"
    folders = [f"--out={folder}", f"--cache_dir={cache}"]
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(sys, "argv", ["throughput", *TINY, *SHORT, *folders, *flags])
        status = throughput.main()
    result = json.loads((folder / "result.json").read_text())
    return status, result, printed.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("throughput")


@pytest.fixture(scope="module")
def whole(folder, command):
    """All parts, in one mode of each framework, on the phantoms of other tests."""
    jax_modes, torch_modes = (
        "ours/float32,ours/Grain",
        "pytorch/channels_last,*without workers",
    )
    flags = f"--modes={jax_modes},{torch_modes}", f"--data_dir={command.data_dir}"
    status, result, printed = run(folder, *flags)
    assert status == 0
    return result, printed


@pytest.fixture
def entries(whole):
    return {entry["case"]["part"]: entry for entry in whole[0]["cases"]}


def test_every_part_is_measured_in_both_frameworks(entries):
    assert list(entries) == [cases.PRODUCTS, *cases.PARTS]
    for part in cases.PARTS:
        rows = entries[part]["rows"]
        assert [row["framework"] for row in rows] == ["ours", "pytorch"]
        assert [row["failed"] for row in rows] == [None, None]
        for row in rows:
            assert len(row["turns"]) == 2
            assert row["first_step_seconds"] > 0 and row["peak_bytes"] > 1e7
            assert row["environment"]["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1"
        compared = {"fastest"} if part == "pipeline" else {"float32", "fastest"}
        assert set(entries[part]["ratios"]) == compared


@pytest.mark.parametrize(
    ("part", "images"),
    [("train", 2), ("inference", 2), ("end_to_end", 2), ("evaluation", 128)],
)
def test_images_of_a_turn(entries, part, images):
    # A step of two; in evaluation the slices of a patient.
    for row in entries[part]["rows"]:
        assert [turn["images"] for turn in row["turns"]] == [images] * 2


def test_operations_and_compilation(entries, whole):
    train, inference = entries["train"], entries["inference"]
    assert train["operations"] == 3 * inference["operations"]
    for entry in (train, inference):
        assert entry["rows"][0]["compiler_operations"] > 0
        assert entry["rows"][0]["compile_seconds"] > 0
    assert set(whole[0]["peaks"]) == {"cpu/float32"}


def test_the_command_and_the_machine_are_recorded(whole):
    result, _ = whole
    assert result["settings"]["threads"] == 1
    assert "--size=tiny --platform=cpu" in result["command"]
    assert result["versions"]["jax"] and result["versions"]["torch"]
    assert result["devices"] == {"cpu": "cpu"}


def test_table_and_plot(whole, folder):
    table = (folder / "table.md").read_text()
    assert "| single, train, batch 2, 32 x 32, cpu, huge pages | **" in table
    assert "| PyTorch | channels_last |" in table
    assert table in whole[1]
    assert (folder / "plot.png").read_bytes().startswith(PNG)


def test_a_device_that_fails_loses_rows_and_ends_with_status_1(
    monkeypatch, tmp_path, capsys
):
    # The query reports a card that does not exist.
    card = machine.Framework({"cuda": "a card"})
    monkeypatch.setattr(
        machine, "query", lambda: {cases.OURS: card, cases.PYTORCH: card}
    )
    modes = "--modes=ours/tf32,pytorch/amp"
    flags = ("--parts=inference", "--platform=cuda", modes)
    status, result, _ = run(tmp_path, *flags)
    assert status == 1
    assert "no mode could be measured" in capsys.readouterr().err
    rows = result["cases"][-1]["rows"]
    assert [row["mode"] for row in rows] == ["tf32", "amp"]
    assert all(row["failed"] for row in rows)
    assert "| PyTorch | amp | failed: " in (tmp_path / "table.md").read_text()


def test_an_absent_device_is_an_error_in_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["x", "--platform=tpu", f"--out={tmp_path}"])
    assert throughput.main() == 1
    error = capsys.readouterr().err
    assert "error: nothing is left to measure: tpu: no such device here" in error
