"""The command; if libtpu is installed, it compiles a small network for TPUs."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import pytest

from benchmarks.roofline import __main__ as entry
from benchmarks.roofline import command

ROOT = pathlib.Path(__file__).resolve().parents[3]
NEEDS_LIBTPU = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="libtpu is not installed (extra `tpu`)",
)
# As small as a network of the family can be.
SMALL = (
    "--config=configs/demo.py:baseline",
    "--config.data.image_size=(32, 32)",
    "--config.model.stage_sizes=(1, 1, 1, 1)",
    "--config.model.width=2",
    "--config.model.decoder_widths=(4, 4, 4, 4, 4)",
)


def test_without_libtpu_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["roofline", "--topology=v5e:1x1"])
    assert entry.main() == 1
    assert "libtpu, the compiler for TPUs, is not installed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "missing"), [("--topology=h200", "NVIDIA's GPUs"), ("--topology=cpu", "")]
)
def test_each_device_has_a_compiler_of_its_own(monkeypatch, flag, missing):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert missing in entry.missing_compiler([flag])
    assert bool(entry.missing_compiler([flag])) == bool(missing)
    assert not entry.missing_compiler([flag, "--help"])
    assert "libtpu" in entry.missing_compiler(["--topology", "v6e:1x1"])


def test_other_flags_belong_to_the_configuration():
    flags, rest = command.parse_flags(
        ["--topology=v5e:1x1", "--config=x.py", "--parts=train", "--config.seed=1"]
    )
    assert (flags.parts, flags.backends) == (["train"], ["jit", "pmap"])
    assert rest == ["--config=x.py", "--config.seed=1"]


def test_an_unknown_backend_ends_with_status_2(capsys):
    with pytest.raises(SystemExit) as ended:
        command.parse_flags(["--topology=v5e:1x1", "--backends=jit,pmp"])
    assert ended.value.code == 2
    assert "did you mean 'pmap'" in capsys.readouterr().err


def compile_for(
    out: pathlib.Path, *flags: str, network: tuple[str, ...] = SMALL
) -> subprocess.CompletedProcess:
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.roofline",
            *network,
            *flags,
            f"--out={out}",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def test_the_roofline_of_a_small_network_on_this_machine(tmp_path):
    flags = ("--topology=cpu", "--backends=jit", "--config.train.batch_size=2")
    done = compile_for(tmp_path, *flags, "--config.evaluate.batch_size=2")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    assert [row["part"] for row in result["programs"]] == ["train", "inference"]
    for row in result["programs"]:
        found, parts = row["summary"], row["summary"]["by_part"]
        names = {each["part"] for each in parts}
        assert {"encoder/layer1", "decoder_dose/block5", "head_dose"} <= names
        assert ("optimizer" in names) == (row["part"] == "train")
        for key in ("operations", "memory_bytes", "passes"):
            assert sum(each[key] for each in parts) == pytest.approx(found[key])
        # XLA counts additions and functions too, and no taps outside of a map.
        assert 0.5 < found["operations"] / row["operations"] < 1.1
        assert row["roofline"]["bound"] is None
    assert (tmp_path / "parts.png").stat().st_size > 0
    assert "the compiler's, nothing was run" in (tmp_path / "table.md").read_text()


@NEEDS_LIBTPU
def test_a_small_network_is_compiled_for_four_chips(tmp_path):
    sizes = ("--config.train.batch_size=8", "--config.evaluate.batch_size=8")
    done = compile_for(tmp_path, "--topology=v5p:2x2x1", *sizes)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    rows = {(row["backend"], row["part"]): row for row in result["programs"]}
    assert len(rows) == 4 and result["chips"] == 4 and result["cores"] == 1
    for (_, part), row in rows.items():
        kinds = set(row["collectives"])
        assert kinds == ({"all-reduce"} if part == "train" else set())
        assert 0 < row["memory"]["sum"] < result["available"]
        # The state goes in and comes out in the same memory.
        assert (row["aliased"] > 0) == (part == "train")
    # XLA joins sums that do not wait for each other; one has all the gradients.
    for backend in ("jit", "pmap"):
        row = rows[backend, "train"]
        count = row["collectives"]["all-reduce"]["count"]
        assert count <= 2 * result["batch_norms"] + 2
        assert row["with_kernels"] == 1


@NEEDS_LIBTPU
def test_too_large_a_batch_is_found_before_the_run(tmp_path):
    flags = ("--topology=v5e:1x1", "--backends=jit", "--parts=train")
    done = compile_for(tmp_path, *flags, "--config.train.batch_size=1000000")
    assert done.returncode == 1
    assert "does not fit" in done.stdout and "of 15.75 GiB a chip" in done.stdout
    assert "--config.train.batch_size=" in done.stdout


@NEEDS_LIBTPU
def test_a_batch_that_the_chips_cannot_share_is_refused(tmp_path):
    done = compile_for(tmp_path, "--topology=v5p:2x2x1", "--config.train.batch_size=6")
    assert done.returncode == 1
    assert "train.batch_size is 6, which 4 devices cannot share" in done.stderr
