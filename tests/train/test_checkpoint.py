"""Checkpoints: what is kept, and what happens when one is damaged."""

import logging
from pathlib import Path

import flax.struct
import numpy as np
import pytest

from mtl_jax.core import errors
from mtl_jax.train import checkpoint


@flax.struct.dataclass
class State:
    step: np.ndarray
    params: dict


def make_state(step):
    values = np.arange(2000, dtype=np.float32) + step
    return State(np.int32(step), {"a": {"kernel": values}, "b": np.float32(step)})


def save(folder, scores):
    """Checkpoints at steps 1, 2, ... with `scores`; None: not validated."""
    with checkpoint.Checkpoints(folder) as checkpoints:
        for step, score in enumerate(scores, start=1):
            checkpoints.save(step, make_state(step), {"name": "run"}, score)
            checkpoints.wait()


def largest_file(folder: Path) -> Path:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return max(files, key=lambda path: path.stat().st_size)


def test_the_newest_two_and_the_best_are_kept(tmp_path):
    save(tmp_path / "c", [0.9, 0.2, 0.5, 0.7, None])
    with checkpoint.Checkpoints(tmp_path / "c") as checkpoints:
        assert checkpoints.steps == [2, 4, 5]
        assert checkpoints.best_step() == 2
        assert checkpoints.best_score() == 0.2


def test_a_state_comes_back_bit_for_bit_with_its_description(tmp_path):
    save(tmp_path / "c", [None])
    with checkpoint.Checkpoints(tmp_path / "c") as checkpoints:
        state, run = checkpoints.restore(make_state(0))
    assert isinstance(state, State)
    np.testing.assert_array_equal(state.params["a"]["kernel"], np.arange(2000) + 1)
    assert int(state.step) == 1
    assert run["name"] == "run"
    assert run["step"] == 1


def cut_off(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_one_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def remove(path):
    path.unlink()


@pytest.mark.parametrize("damage", [cut_off, flip_one_bit, remove])
def test_a_damaged_checkpoint_is_said_kept_and_the_one_before_used(
    tmp_path, damage, caplog
):
    save(tmp_path / "c", [0.5, 0.4])
    damage(largest_file(tmp_path / "c" / "2" / "state"))
    with checkpoint.Checkpoints(tmp_path / "c") as checkpoints:
        with caplog.at_level(logging.WARNING):
            state, _ = checkpoints.restore(make_state(0))
        assert int(state.step) == 1
        assert "checkpoint 2" in caplog.text
        assert "damaged" in caplog.text
        assert (tmp_path / "damaged" / "2").is_dir()
        # Its step can be saved again.
        checkpoints.save(2, make_state(2), {}, None)
        checkpoints.wait()
        assert checkpoints.steps == [1, 2]


def test_a_damaged_description_is_noticed(tmp_path):
    save(tmp_path / "c", [None, None])
    cut_off(tmp_path / "c" / "2" / "run" / "metadata")
    with pytest.raises(errors.CheckpointError, match="missing or damaged"):
        checkpoint.load(tmp_path / "c" / "2", make_state(0))
    with checkpoint.Checkpoints(tmp_path / "c") as checkpoints:
        state, _ = checkpoints.restore(make_state(0))
    assert int(state.step) == 1


def test_nothing_to_restore_is_none(tmp_path):
    with checkpoint.Checkpoints(tmp_path / "c") as checkpoints:
        assert checkpoints.restore(make_state(0)) is None
        assert checkpoints.best_step() is None


def test_another_network_is_an_error(tmp_path):
    save(tmp_path / "c", [None])
    other = State(np.int32(0), {"a": {"kernel": np.zeros(3, np.float32)}})
    with pytest.raises(errors.CheckpointError, match="another network"):
        checkpoint.load(tmp_path / "c" / "1", other)
