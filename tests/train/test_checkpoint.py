"""Checkpoints: what is kept, and what happens when one is damaged."""

import json
import logging
import threading
from pathlib import Path

import numpy as np
import pytest

from mtl_jax.core import errors
from mtl_jax.train import checkpoint
from tests.train import small_state


def make_state(step):
    values = np.arange(2000, dtype=np.float32) + step
    params = {"a": {"kernel": values}, "b": np.array(step, np.float32)}
    return small_state.State(
        np.array(step, np.int32), params, {"a": {"mean": values[:4] * 2}}
    )


def save(folder, scores, *, first=1, **measure):
    """Checkpoints at steps `first`, ... with `scores`; None: not validated."""
    with checkpoint.Checkpoints(folder, **measure) as checkpoints:
        for step, score in enumerate(scores, start=first):
            checkpoints.save(step, make_state(step), {"name": "run"}, score)
            checkpoints.wait()


def largest_file(folder: Path) -> Path:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return max(files, key=lambda path: path.stat().st_size)


def test_the_newest_two_and_the_best_are_kept(tmp_path):
    save(tmp_path / "c", [0.9, 0.2, 0.5, 0.7, None])
    with checkpoint.Checkpoints(tmp_path / "c") as checkpoints:
        assert checkpoints.steps == [2, 4, 5]
        assert checkpoints.best_score() == 0.2
    assert checkpoint.steps(tmp_path / "c") == [2, 4, 5]
    assert checkpoint.evaluated_step(tmp_path / "c", "best") == 2
    assert checkpoint.evaluated_step(tmp_path / "c", "newest") == 5


def test_the_best_is_kept_when_the_run_is_started_again(tmp_path):
    save(tmp_path / "c", [0.9, 0.2, 0.5])
    save(tmp_path / "c", [None, 0.3, None], first=4)
    assert checkpoint.steps(tmp_path / "c") == [2, 5, 6]
    save(tmp_path / "c", [0.1, None, None], first=7)
    assert checkpoint.steps(tmp_path / "c") == [7, 8, 9]


def forget_measure(folder):
    """As versions saved a score that knew but one measure."""
    change_run(folder, lambda run: {k: run[k] for k in run if k != "measure"})


def test_scores_of_different_measures_are_not_compared(tmp_path, caplog):
    folder = tmp_path / "c"
    save(folder, [0.07, 0.05, 0.06, 0.08])
    for step in checkpoint.steps(folder):
        forget_measure(folder / str(step))
    with checkpoint.Checkpoints(folder) as checkpoints:
        assert checkpoints.best_score() == 0.05
    assert not caplog.records
    ratios = {"measure": "over yardsticks"}
    with checkpoint.Checkpoints(folder, **ratios) as checkpoints:
        assert checkpoints.best_score() == float("inf")
    assert "another measure (sum of the losses)" in caplog.text
    # What was the best stays the best until there is a score of the new measure.
    save(folder, [None], first=5, **ratios)
    assert checkpoint.steps(folder) == [2, 4, 5]
    assert checkpoint.evaluated_step(folder, "best") == 2
    save(folder, [0.9, 0.8, 1.1, 1.0], first=6, **ratios)
    assert checkpoint.steps(folder) == [7, 8, 9]
    assert checkpoint.evaluated_step(folder, "best") == 7
    assert checkpoint.read_run(folder / "7")["measure"] == "over yardsticks"
    # Step 10 is the first of a third measure, although its score is higher.
    save(folder, [3.0], first=10, measure="other yardsticks")
    assert checkpoint.steps(folder) == [9, 10]
    assert checkpoint.evaluated_step(folder, "best") == 10
    with checkpoint.Checkpoints(folder, **ratios) as checkpoints:
        assert checkpoints.best_score() == 1.0


def test_a_score_of_another_measure_is_kept_as_newest_only(tmp_path):
    save(tmp_path / "c", [0.9, 0.1], measure="a")
    save(tmp_path / "c", [0.5, 0.6], first=3, measure="b")
    assert checkpoint.evaluated_step(tmp_path / "c", "best") == 3
    assert checkpoint.steps(tmp_path / "c") == [3, 4]


def test_a_state_comes_back_bit_for_bit_with_its_description(tmp_path):
    save(tmp_path / "c", [None])
    with checkpoint.Checkpoints(tmp_path / "c") as checkpoints:
        state, run = checkpoints.restore(make_state(0))
    assert isinstance(state, small_state.State)
    np.testing.assert_array_equal(state.params["a"]["kernel"], np.arange(2000) + 1)
    assert int(state.step) == 1
    assert run["name"] == "run"
    assert run["step"] == 1


def test_a_checkpoint_counts_when_its_state_was_read(tmp_path):
    """`save` returns before; what reading raises is raised later, and nothing saved."""
    go = threading.Event()

    def read():
        assert go.wait(60)
        return make_state(1)

    def refuse():
        raise errors.DivergedError("it is NaN")

    with checkpoint.Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(1, read, {}, None)
        assert checkpoint.steps(tmp_path / "c") == []
        go.set()
        checkpoints.save(2, refuse, {}, 0.1)
        assert checkpoints.steps == [1]
        with pytest.raises(errors.DivergedError, match="it is NaN"):
            checkpoints.save(3, make_state(3), {}, None)
        checkpoints.wait()
        assert checkpoints.steps == [1]
        assert checkpoints.best_score() == float("inf")
        state, _ = checkpoints.restore(make_state(0))
    assert checkpoint.digest(state) == checkpoint.digest(make_state(1))


def test_processes_without_checkpoints_notice_the_same_errors():
    with (
        pytest.raises(errors.DivergedError, match="it is NaN"),
        checkpoint.NoCheckpoints() as none,
    ):
        none.save(1, lambda: make_state(1), {}, None)
        none.wait()

        def refuse():
            raise errors.DivergedError("it is NaN")

        none.save(2, refuse, {}, None)


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
    with pytest.raises(errors.CheckpointError, match="train first"):
        checkpoint.evaluated_step(tmp_path / "c", "best")


def weights(step):
    state = make_state(step)
    return {"params": state.params, "batch_stats": state.batch_stats}


def change_run(folder, change):
    path = folder / "run" / "metadata"
    run = change(json.loads(path.read_text()))
    run.pop("description_digest", None)
    path.write_text(json.dumps(run))


@pytest.mark.parametrize("with_digest", [True, False])
def test_weights_are_read_without_the_rest(tmp_path, with_digest):
    save(tmp_path / "c", [None])
    folder = tmp_path / "c" / "1"
    if not with_digest:  # as earlier versions saved them
        change_run(
            folder, lambda run: {k: run[k] for k in run if k != "weights_digest"}
        )
    found = checkpoint.load_weights(folder, weights(0))
    assert set(found) == {"params", "batch_stats"}
    assert checkpoint.digest(found) == checkpoint.digest(weights(1))
    other = weights(0) | {"batch_stats": {"a": {"mean": np.zeros(5, np.float32)}}}
    with pytest.raises(errors.CheckpointError, match="another network"):
        checkpoint.load_weights(folder, other)
    change_run(folder, lambda run: {**run, "weights_digest": "0", "digest": "0"})
    with pytest.raises(errors.CheckpointError, match="differ from their digest"):
        checkpoint.load_weights(folder, weights(0))


def test_the_network_that_draws_is_in_every_checkpoint(tmp_path):
    about = {"drawing": {"weights_digest": checkpoint.digest(weights(7))}}
    with checkpoint.Checkpoints(
        tmp_path / "c", contour_weights=weights(7)
    ) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, make_state(step), about, None)
        checkpoints.wait()
        state, _ = checkpoints.restore(make_state(0))
    assert int(state.step) == 2
    for step in "12":
        found = checkpoint.load_contour_weights(tmp_path / "c" / step, weights(0))
        assert checkpoint.digest(found) == checkpoint.digest(weights(7))
    wrong = {"drawing": {"weights_digest": "0"}}
    change_run(tmp_path / "c" / "2", lambda run: run | wrong)
    with pytest.raises(errors.CheckpointError, match="differ from their digest"):
        checkpoint.load_contour_weights(tmp_path / "c" / "2", weights(0))


def test_another_network_is_an_error(tmp_path):
    save(tmp_path / "c", [None])
    other = small_state.State(
        np.int32(0), {"a": {"kernel": np.zeros(3, np.float32)}}, {}
    )
    with pytest.raises(errors.CheckpointError, match="another network"):
        checkpoint.load(tmp_path / "c" / "1", other)
