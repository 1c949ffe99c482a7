"""What `doctor` says of a machine that lacks something."""

import importlib.metadata
import pathlib

import jax
import pytest

from mtl_jax.doctor import __main__ as command
from mtl_jax.doctor import checks


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A home without anything in it."""
    for name in ("TFDS_DATA_DIR", "TORCH_HOME", "GLIBC_TUNABLES", "MTL_JAX_QUIET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_this_installation_works(capsys, machine):
    assert command.main([]) == 0
    out = capsys.readouterr().out
    for name in checks.CHECKS:
        assert f"{name}:" in out
    assert f"jax {jax.__version__}" in " ".join(out.split())
    assert str(machine) not in out  # a home's path says who the user is
    assert "\x1b" not in out  # no terminal, no colours


def test_a_missing_library_and_a_broken_jax_fail(capsys, monkeypatch):
    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    def broken():
        raise RuntimeError("no backend")

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(jax, "devices", broken)
    assert command.main([]) == 1
    out = capsys.readouterr().out
    assert out.count("FAIL") == 2
    assert "missing: jax" in " ".join(out.split())
    assert "RuntimeError: no backend" in out


def test_an_unused_gpu_has_an_advice(monkeypatch, machine):
    driver = machine / "version"
    monkeypatch.setattr(checks, "NVIDIA_DRIVER", driver)
    assert not checks.devices().advice
    driver.write_text("NVRM version: 570")
    assert "mtl-jax[cuda]" in checks.devices().advice


@pytest.mark.parametrize(
    ("allowed", "tunables", "text", "advised"),
    [
        ("[always] madvise never", "", "on for all programs", False),
        ("always [madvise] never", "", "off", True),
        ("always [madvise] never", "glibc.malloc.hugetlb=1", "on (GLIBC_TU", False),
        ("always madvise [never]", "glibc.malloc.hugetlb=1", "not offered", False),
    ],
)
def test_huge_pages(monkeypatch, machine, allowed, tunables, text, advised):
    path = machine / "enabled"
    path.write_text(allowed)
    monkeypatch.setattr(checks, "HUGE_PAGES", path)
    monkeypatch.setenv("GLIBC_TUNABLES", tunables)
    found = checks.huge_pages()
    assert found.text.startswith(text)
    assert bool(found.advice) == advised


@pytest.mark.parametrize(("free_kb", "advised"), [(4 << 20, True), (64 << 20, False)])
def test_memory(monkeypatch, machine, free_kb, advised):
    path = machine / "meminfo"
    path.write_text(f"MemTotal:  {64 << 20} kB\nMemAvailable:  {free_kb} kB\n")
    monkeypatch.setattr(checks, "MEMORY", path)
    monkeypatch.setattr(checks, "LITTLE_DISK_GB", 0)
    found = checks.memory()
    assert f"{free_kb >> 20}.0 of 64.0 GB free" in found.text
    assert ("batch_size" in found.advice) == advised


def test_data_that_are_there(machine):
    assert "--config=demo needs none" in checks.data().advice
    folder = machine / "tensorflow_datasets"
    built = folder / "openkbp" / "paper" / "1.0.0"
    built.mkdir(parents=True)
    (built / "dataset_info.json").touch()
    (folder / "downloads" / "manual" / "provided-data").mkdir(parents=True)
    found = checks.data()
    assert not found.advice
    assert found.text == (
        "~/tensorflow_datasets: openkbp/paper/1.0.0; raw: 1 files or folders in "
        "~/tensorflow_datasets/downloads/manual"
    )


def test_weights_that_are_there(monkeypatch, machine):
    found = checks.weights()
    assert "packaged: informed, multi; pretrained encoder: not there" in found.text
    assert "~/.cache/torch/hub/checkpoints" in found.advice
    monkeypatch.setattr(checks.packaged, "names", tuple)
    assert "--checkpoint=DIR" in checks.weights().advice


def test_home_is_shortened():
    assert checks.short(pathlib.Path.home() / "x") == "~/x"
