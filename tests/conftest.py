"""What tests stand on: four CPU devices, strict shapes, the real sample, chance."""

import os
import pathlib
from collections.abc import Callable

ROOT = pathlib.Path(__file__).resolve().parents[1]

# Before JAX starts; a value of the user's own wins. Processes that tests start inherit
# these; what follows below is for the tests' own process alone.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax"))
# Programs run for milliseconds here: most of what a compiler does would be in vain.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# So they compile in less than the second from which JAX keeps a program on its own.
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
# On a busy machine the devices may wait for each other for longer than the 40 seconds
# after which XLA ends the process.
PATIENCE = "--xla_cpu_collective_call_terminate_timeout_seconds=600"
os.environ["XLA_FLAGS"] = f"{PATIENCE} {os.environ.get('XLA_FLAGS', '')}"

import jax
import numpy as np
import pytest
from absl import flags

from tests import commands

jax.config.update("jax_num_cpu_devices", 4)
# Arrays of different rank that meet without a reshape are a mistake.
jax.config.update("jax_numpy_rank_promotion", "raise")
# Grain's workers ask for flags, which only an entry point parses.
flags.FLAGS.mark_as_parsed()


# Their fixtures take longest to make: what starts first is made once, by one of xdist's
# workers, while the others do the short tests.
FIRST = (
    "train/test_distributed.py",
    "faults/",
    "study/test_study.py",
    "run/test_main.py",
    "benchmarks/throughput/test_command.py",
    "predict/test_command.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the tests of `FIRST` to the front."""

    def rank(item: pytest.Item) -> int:
        path = item.path.as_posix()
        places = (i for i, name in enumerate(FIRST) if f"/tests/{name}" in path)
        return next(places, len(FIRST))

    items.sort(key=rank)


@pytest.fixture(scope="session")
def openkbp_sample() -> pathlib.Path:
    """The folder with the archives of real OpenKBP patients, or a skipped test."""
    default = ROOT.parent / "shared" / "data" / "openkbp-sample"
    folder = pathlib.Path(os.environ.get("MTL_JAX_OPENKBP_SAMPLE") or default)
    if not any(folder.glob("*.tar.xz")):
        pytest.skip(
            "no real patients: set MTL_JAX_OPENKBP_SAMPLE to a folder with *.tar.xz"
        )
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    """NumPy's generator with a fixed seed, new for each test."""
    return np.random.default_rng(20240501)


@pytest.fixture
def write_as(tmp_path) -> Callable[[str], Callable[..., pathlib.Path]]:
    """`write_as(usual)(text, name=usual)`: a file with `text`; its path."""

    def write_as(usual: str) -> Callable[..., pathlib.Path]:
        def write(text: str, name: str = usual) -> pathlib.Path:
            path = tmp_path / name
            path.write_text(text, encoding="utf-8")
            return path

        return write

    return write_as


@pytest.fixture(scope="session")
def command(tmp_path_factory):
    """The command on three phantoms and one to test on; others must not change them."""
    return commands.on_phantoms(tmp_path_factory)


@pytest.fixture(scope="session")
def study(command, tmp_path_factory):
    """A whole study's folder and what it printed; copy it before you change it."""

    def make(folder):
        status, out, err = command.run(folder, **commands.STUDY)
        assert status == 0, err
        return out

    return commands.once(tmp_path_factory, "study", make)
