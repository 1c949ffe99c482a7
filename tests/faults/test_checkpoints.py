"""A checkpoint damaged anywhere is refused, or as good as whole; never a wrong one."""

import collections
import os
import random
import shutil

import numpy as np
import pytest

from mtl_jax.core import errors
from mtl_jax.train import checkpoint
from tests.train import small_state

FLIPS = 8  # in each file; the same ones each time


def make_state(step):
    kernel = np.random.default_rng(step).normal(size=2000).astype(np.float32)
    return small_state.State(
        np.int32(step), {"kernel": kernel}, {"mean": np.zeros(3, np.float32)}
    )


KEYS = ("config", "ct_mean", "digest", "weights_digest", "step", "score")
RUN = {"config": {"seed": 0, "data.ct_window": (-160.0, 240.0)}, "ct_mean": 85.18}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The folder of a run with checkpoints 1 and 2."""
    folder = tmp_path_factory.mktemp("run") / "checkpoints"
    with checkpoint.Checkpoints(folder) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, make_state(step), RUN, None)
    return folder


def loaded(folder):
    """What a checkpoint gives, or "refused"."""
    try:
        state, run = checkpoint.load(folder, make_state(0))
    except errors.CheckpointError as error:
        assert f"checkpoint {folder.name}" in str(error) or str(folder) in str(error)
        return "refused"
    return checkpoint.digest(state), {key: run[key] for key in KEYS}


def damaged(folder):
    """Damage a copy in all ways, one after the other; yields after each."""
    chance = random.Random(20240501)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        for at in chance.choices(range(len(content)), k=FLIPS if content else 0):
            changed = bytearray(content)
            changed[at] ^= 1 << chance.randrange(8)
            path.write_bytes(bytes(changed))
            yield "flipped"
        for size in {0, len(content) // 2, max(len(content) - 1, 0)}:
            path.write_bytes(content[:size])
            yield "cut off"
        path.unlink()
        yield "gone"
        path.write_bytes(content)


def test_damage_anywhere_is_noticed_or_harmless(saved, tmp_path):
    folder = shutil.copytree(saved / "2", tmp_path / "2")
    whole = loaded(folder)
    found = collections.Counter()
    for how in damaged(folder):
        outcome = loaded(folder)
        found[how, outcome == "refused"] += 1
        assert outcome in ("refused", whole)
    assert found["flipped", True] and found["cut off", True] and found["gone", True]
    assert loaded(folder) == whole


@pytest.mark.parametrize("inside", ["state", "run", "."])
def test_an_emptied_checkpoint_is_passed_over_and_its_step_saved_again(
    saved, tmp_path, inside
):
    folder = shutil.copytree(saved, tmp_path / "checkpoints")
    emptied = folder / "2" / inside
    shutil.rmtree(emptied)
    emptied.mkdir(exist_ok=True)
    with checkpoint.Checkpoints(folder) as checkpoints:
        state, run = checkpoints.restore(make_state(0))
        assert int(state.step) == run["step"] == 1
        checkpoints.save(2, make_state(2), RUN, None)
        checkpoints.wait()
        assert checkpoint.digest(checkpoints.restore(make_state(0))[0]) == (
            checkpoint.digest(make_state(2))
        )
    assert os.listdir(tmp_path / "damaged") == ["2"]


def test_with_all_of_them_damaged_a_run_begins_anew(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "checkpoints")
    for path in folder.rglob("run/metadata"):
        path.write_text("")
    with checkpoint.Checkpoints(folder) as checkpoints:
        assert checkpoints.restore(make_state(0)) is None
    assert sorted(os.listdir(tmp_path / "damaged")) == ["1", "2"]
