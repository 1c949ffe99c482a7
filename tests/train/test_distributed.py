"""Two processes of two devices each train as one process alone does."""

import json
import os

import jax
import numpy as np
import pytest

from mtl_jax.core import errors
from mtl_jax.train import checkpoint, distributed, parallel
from tests.train import test_parallel as alone
from tests.train import together


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Words and arrays of each of two processes, and where they left checkpoints.

    They go on from a checkpoint that this process left after two steps.
    """
    folder = tmp_path_factory.mktemp("together")
    with jax.enable_x64(True):
        where = alone.backend("pmap", 1)
        state = together.train(where, 0, together.STEPS_ALONE, None)
        together.save(state, folder / "checkpoints-alone", together.STEPS_ALONE)
    started = together.start(folder, processes=2, devices=2)
    said = [process.communicate(timeout=300)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    words = [json.loads((folder / f"{i}.json").read_text()) for i in range(2)]
    arrays = [dict(np.load(folder / f"{i}.npz")) for i in range(2)]
    return words, arrays, folder


def test_processes_tell_each_other(found):
    words, arrays, _ = found
    words = [{k: v for k, v in each.items() if "score" not in k} for each in words]
    assert [one.pop("in_turns") for one in words] == [0, 1]
    assert words[0] == words[1] == {
        "once": {"from": 0},
        "exchange": ["I am 0", "I am 1"],
        "nested": 1,
        "gather": [0, 1, 10, 11],
        "once fails": "WorkdirError: it holds another run",
        "one turn fails": "ProcessError: process 1: it holds another run",
        "differ": "ConfigError: seed of process 1 is 1, of process 0 0: give all "
        "processes the same",
        "devices": "ConfigError: train.devices is 3, which 2 processes cannot share "
        "in equal parts: give 2 or 4, or 0 for all",
        "batch": "ConfigError: train.batch_size is 9, which 4 devices cannot share in "
        "1 equal parts each: give 8 or 12, or set train.devices",
        "devices here": 2,
    }  # fmt: skip
    for one in arrays:
        np.testing.assert_array_equal(
            np.signbit(one["odd"]), [True, False, False, False]
        )
        np.testing.assert_array_equal(one["odd"], [-0.0, np.nan, 1.5, np.inf])
        assert one["double"] == 1 / 3
        assert one["whole"].dtype == np.int32


@pytest.fixture(scope="module")
def trained():
    """The state after five float64 steps in one process."""
    with jax.enable_x64(True):
        return together.train(alone.backend("jit", 1), 0, together.STEPS, None)


@pytest.mark.parametrize("name", ["jit", "pmap"])
def test_five_float64_steps_end_as_those_of_one_process(found, trained, name):
    """Weights and Adam's moments, so gradients too."""
    _, (first, second), folder = found
    expected = trained
    with jax.enable_x64(True):
        saved = folder / f"checkpoints-{name}" / str(together.STEPS)
        restored, _ = checkpoint.load(saved, expected)  # here, with one process
    for path, one in alone.leaves(expected):
        other = first[f"{name} state{path}"]
        np.testing.assert_array_equal(other, second[f"{name} state{path}"])
        if alone.is_zero_by_construction(path):
            assert np.abs(one - other).max() < 1e-10, path
        else:
            close = 1e-8 * max(np.linalg.norm(one), 1e-6)
            assert np.linalg.norm(one - other) <= close, path
    for path, leaf in alone.leaves(restored):
        np.testing.assert_array_equal(leaf, first[f"{name} state{path}"])


@pytest.fixture(scope="module")
def computed(tiny):
    """The sums of an evaluation, and slices, in one process."""
    step = tiny.step()
    state = tiny.state(step)
    (batch,) = tiny.batches(1)
    return [
        together.named({"sums": jax.device_get(jax.jit(step.evaluate)(state, batch))}),
        together.named(
            {"slices": jax.device_get(jax.jit(step.predict)(state, batch["image"]))}
        ),
    ]


@pytest.mark.parametrize("name", ["jit", "pmap"])
def test_sums_and_slices_are_those_of_one_process(found, computed, name):
    _, arrays, _ = found
    for expected in computed:
        whole = np.sqrt(sum(np.sum(np.square(leaf)) for leaf in expected.values()))
        for one in arrays:
            for path, leaf in expected.items():
                assert one[f"{name}{path}"].shape == leaf.shape
                difference = np.linalg.norm(one[f"{name}{path}"] - leaf)
                assert difference <= 1e-5 * whole, path


@pytest.fixture(scope="module")
def score(tmp_path_factory):
    """The score of volumes in one process."""
    workdir = tmp_path_factory.mktemp("score")
    return together.validation_score(alone.backend("jit", 1), workdir)


@pytest.mark.parametrize("name", ["jit", "pmap"])
def test_the_score_of_volumes_is_that_of_one_process(found, score, name):
    (first, second), _, folder = found
    expected = score
    assert expected["validation/score"] > 0
    assert first[f"score {name}"] == second[f"score {name}"]
    assert first[f"score {name}"] == pytest.approx(expected, rel=1e-4)
    assert (folder / "score").exists()
    assert not (folder / "nobody").exists()


def test_a_process_alone_starts_nothing(monkeypatch):
    monkeypatch.setattr(jax.distributed, "initialize", lambda *_, **__: 1 / 0)
    for variable in ("SLURM_STEP_NUM_TASKS", "TPU_WORKER_HOSTNAMES"):
        monkeypatch.delenv(variable, raising=False)
    with distributed.connected(None, None, None), distributed.connected("a:1", 1, 0):
        assert distributed.count() == 1
        assert distributed.is_first()
        assert distributed.once(lambda: {1, 2}) == {1, 2}  # not through JSON
    assert distributed.leave(3, together=False) == 3


@pytest.mark.parametrize(
    ("variables", "several"),
    [
        ({"SLURM_STEP_NUM_TASKS": "2"}, True),
        ({"SLURM_STEP_NUM_TASKS": "1"}, False),
        ({"SLURM_NTASKS": "2"}, False),  # a batch script without srun
    ],
)
def test_a_step_of_slurm_with_several_tasks_is_asked(monkeypatch, variables, several):
    asked = []
    monkeypatch.setattr(
        jax.distributed, "initialize", lambda *given, **_: asked.append(given)
    )
    for name in [name for name in os.environ if name.startswith("SLURM")]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    distributed.start(None, None, None)
    assert asked == [(None, None, None)] * several


def test_flags_that_do_not_fit_together_are_an_error(monkeypatch):
    monkeypatch.setattr(jax.distributed, "initialize", lambda *_, **__: 1 / 0)
    with pytest.raises(errors.ConfigError, match=r"belong together.*a:1, 2, None"):
        distributed.start("a:1", 2, None)
    with pytest.raises(errors.ConfigError, match="process_id is 2: give 0 to 1"):
        distributed.start("a:1", 2, 2)


def test_devices_of_a_process_lie_next_to_each_other(monkeypatch):
    class Device:
        def __init__(self, number, process):
            self.id, self.process_index = number, process

    # As a pod of TPUs may list them: by their place, not by their machine.
    devices = [Device(0, 0), Device(1, 1), Device(2, 0), Device(3, 1)]
    monkeypatch.setattr(jax, "devices", lambda: devices)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert [d.id for d in parallel.choose(0)] == [0, 2, 1, 3]
    assert [d.id for d in parallel.choose(2)] == [0, 1]
