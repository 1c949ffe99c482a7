"""The loop on batches of noise: rhythm, stopping, restarting, compilations."""

import dataclasses
import itertools
import threading
import time
import types

import jax
import numpy as np
import pytest

from mtl_jax.core import config as configs
from mtl_jax.core import errors
from mtl_jax.train import checkpoint, loop, module_rms, parallel, writers

COMPILED = "/jax/core/compile/backend_compile_duration"


class Bench:
    """One compiled loop, started anew in as many folders as a test needs."""

    def __init__(self, tiny, *, average_decay=0.0, steps_per_call=1):
        self.steps_per_call = steps_per_call
        self.step = tiny.step(log_every=2, dwa_interval=3, average_decay=average_decay)
        self.start = tiny.state(self.step, averaged=average_decay > 0)
        self.batches = [
            batch | {"patient": np.zeros(8, np.int32), "slice": np.arange(8)}
            for batch in tiny.batches(6)
        ]
        self.backend = parallel.backend(
            "jit", devices=1, batch_size=8, accumulate=1, evaluate_batch_size=8
        )

    def run(
        self,
        folder,
        *,
        stop_after=None,
        after_step=lambda step: None,
        score=lambda predict: lambda: lambda losses: {loop.SCORE: sum(losses.values())},
        initial_rms=types.MappingProxyType({}),
    ):
        steps_seen = itertools.count(1)

        def stop():
            step = next(steps_seen)
            after_step(step)
            return step == stop_after

        with checkpoint.Checkpoints(folder / "checkpoints") as checkpoints:
            self.checkpoints = checkpoints
            restored = checkpoints.restore(self.start)
            state = self.start if restored is None else restored[0]
            this = loop.Loop(
                step=self.step,
                backend=self.backend,
                schedule=configs.Schedule(
                    steps=12,
                    cosine_steps=0,
                    epoch_steps=6,
                    dwa_interval=3,
                    log_every=2,
                    images_every=6,
                    validate_every=6,
                    checkpoint_every=4,
                    steps_per_call=self.steps_per_call,
                ),
                batches_from=lambda first: itertools.islice(
                    itertools.cycle(self.batches), first, None
                ),
                put_batch=self.backend.put_batch,
                put_batches=self.backend.stacked().put_batch,
                validation=lambda: self.batches[:2],
                checkpoints=checkpoints,
                run={"name": "bench"},
                initial_rms=initial_rms,
                score=score,
                picture=lambda batch, outputs: np.zeros((4, 4, 3), np.uint8),
                stop=stop,
            )
            writer = writers.open_writers(folder, resume_step=int(state.step))
            state = loop.train(this, state, writer)
            writer.close()
        return state


@pytest.fixture(scope="module")
def bench(tiny):
    return Bench(tiny)


@pytest.fixture(scope="module")
def undisturbed(bench, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, bench.run(folder)


def rows(folder):
    return [
        {k: v for k, v in row.items() if k not in writers.TIMING}
        for row in writers.read_json_lines(folder / "metrics.jsonl")
    ]


def test_things_happen_at_their_steps(undisturbed):
    folder, state = undisturbed
    assert int(state.step) == 12
    found = rows(folder)
    logged = [row["step"] for row in found if "loss/total" in row]
    validated = [row["step"] for row in found if "validation/score" in row]
    assert logged == [2, 4, 6, 8, 10, 12]
    assert validated == [6, 12]
    assert [row["step"] for row in found if "rms/bottleneck/key_dose" in row] == [6, 12]
    assert [row["epoch"] for row in found if "loss/total" in row] == [0, 0, 0, 1, 1, 1]
    with checkpoint.Checkpoints(folder / "checkpoints") as checkpoints:
        assert checkpoints.steps[-2:] == [8, 12]
    assert checkpoint.evaluated_step(folder / "checkpoints", "best") in (6, 12)


@pytest.mark.parametrize(("scores", "best"), [((0.5, 0.7), 6), ((0.7, 0.5), 12)])
def test_the_score_picks_the_best_checkpoint_whatever_the_losses(
    bench, undisturbed, tmp_path, scores, best
):
    calls = []

    def score(predict):
        outputs = predict(bench.batches[0]["image"])

        def finish(losses):
            calls.append((outputs, losses))
            return {"validation/of_mine": 2.0, loop.SCORE: scores[len(calls) - 1]}

        return lambda: finish

    bench.run(tmp_path, score=score)
    assert checkpoint.evaluated_step(tmp_path / "checkpoints", "best") == best
    run = checkpoint.read_run(tmp_path / "checkpoints" / str(best))
    assert run["score"] == min(scores)
    validated = [row for row in rows(tmp_path) if loop.SCORE in row]
    assert [(row[loop.SCORE], row["validation/of_mine"]) for row in validated] == [
        (score, 2.0) for score in scores
    ]
    # All else is as with the sum of the losses; it is handed these.
    for row, other, (outputs, losses) in zip(
        validated,
        [row for row in rows(undisturbed[0]) if loop.SCORE in row],
        calls,
        strict=True,
    ):
        assert row.keys() - other.keys() == {"validation/of_mine"}
        assert losses == {
            task: row[f"validation/loss/{task}"] for task in ("contours", "dose")
        }
        assert other[loop.SCORE] == sum(losses.values())
        assert outputs["contours"].shape == (8, 16, 16, 2)
        assert outputs["dose"].shape == (8, 16, 16, 1)


def test_the_size_of_each_module_and_of_one_update_is_logged(undisturbed):
    folder, state = undisturbed
    key = "rms/bottleneck/key_dose"
    row = next(r for r in rows(folder) if r["step"] == 12 and key in r)
    kernels = module_rms.kernels(state.params)
    assert {k for k in row if k.startswith("rms/")} == {f"rms/{k}" for k in kernels}
    for module, rms in module_rms.rms(kernels).items():
        assert row[f"rms/{module}"] == rms
        # Adam's step is of the size of the learning rate.
        assert 1e-5 < row[f"update_rms/{module}"] < 3e-3, module


def test_a_module_that_has_died_is_named_once(bench, tmp_path, caplog):
    initial = module_rms.rms(module_rms.kernels(bench.start.params))
    bench.run(tmp_path, initial_rms=initial | {"head_dose/project": 1e3})
    # Others warn too, such as Orbax of a slow disk.
    (warning,) = [r for r in caplog.records if r.name == module_rms.__name__]
    assert warning.levelname == "WARNING"
    assert "module head_dose/project has died" in warning.getMessage()


@pytest.mark.parametrize("step", [1, 5, 7])
def test_a_run_stopped_at_any_step_ends_as_one_that_was_not(
    bench, undisturbed, tmp_path, step
):
    folder, expected = undisturbed
    stopped = bench.run(tmp_path, stop_after=step)
    assert int(stopped.step) == step
    found = bench.run(tmp_path)
    assert checkpoint.digest(found) == checkpoint.digest(expected)
    assert rows(tmp_path) == rows(folder)


@pytest.fixture(scope="module")
def bench_of_calls(tiny):
    """Makes two steps a call."""
    return Bench(tiny, steps_per_call=2)


def test_calls_of_several_steps_train_as_single_ones(
    bench_of_calls, undisturbed, tmp_path
):
    folder, _ = undisturbed
    calls = []
    bench_of_calls.run(tmp_path, after_step=calls.append)
    assert calls == [1, 2, 3, 4, 5]  # of six: after the last there is nothing to stop
    for one, other in zip(rows(tmp_path), rows(folder), strict=True):
        assert one.keys() == other.keys()
        for name in one.keys() - {k for k in one if k.startswith("update_rms/")}:
            assert one[name] == pytest.approx(other[name], rel=1e-3, abs=1e-6), name


def test_a_run_of_calls_that_was_stopped_ends_as_one_that_was_not(
    bench_of_calls, tmp_path
):
    expected = bench_of_calls.run(tmp_path / "whole")
    for call in (1, 4):
        folder = tmp_path / str(call)
        assert int(bench_of_calls.run(folder, stop_after=call).step) == 2 * call
        found = bench_of_calls.run(folder)
        assert checkpoint.digest(found) == checkpoint.digest(expected)


def test_the_main_thread_waits_for_no_number_of_a_step(bench, tmp_path, monkeypatch):
    """It would leave the device without steps: only the last state is read in it."""
    reads, host = [], bench.backend.host

    def noted(tree):
        reads.append(threading.current_thread() is threading.main_thread())
        return host(tree)

    monkeypatch.setattr(bench.backend, "host", noted)
    bench.run(tmp_path)
    assert reads.count(True) == 1 and reads[-1]
    # Log lines, two validations with parameters before and after, three checkpoints.
    assert reads.count(False) == 6 + 2 * 3 + 4


def test_nothing_is_compiled_after_the_first_epoch(bench, tmp_path):
    at_step = [0]
    compiled_at = []

    def listen(event, seconds, **_):
        del seconds
        if event == COMPILED:
            compiled_at.append(at_step[0])

    jax.clear_caches()  # as a new process starts
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        bench.run(tmp_path, after_step=lambda step: at_step.__setitem__(0, step))
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert compiled_at  # the listener hears compilations
    # The first validation is at step 6; its losses are written at step 8.
    assert max(compiled_at) <= 8


@pytest.mark.parametrize(
    ("poison", "at", "last"), [(np.nan, 7, 6), (np.inf, 9, 8), (np.nan, 1, None)]
)
def test_a_loss_that_is_not_finite_ends_the_run_before_it_is_saved(
    bench, undisturbed, tmp_path, monkeypatch, poison, at, last
):
    batches = list(itertools.islice(itertools.cycle(bench.batches), 12))
    image = batches[at - 1]["image"].copy()
    image[3, 5, 5] = poison
    batches[at - 1] = batches[at - 1] | {"image": image}
    monkeypatch.setattr(bench, "batches", batches)
    window = rf"between step {at} and step {at + 1}, which was not saved"
    with pytest.raises(errors.DivergedError, match=window) as raised:
        bench.run(tmp_path)
    assert "loss/dose" in str(raised.value)
    assert (f"step {last} is the last saved" in str(raised.value)) == (last is not None)
    good = [row for row in rows(undisturbed[0]) if row["step"] < at]
    assert rows(tmp_path) == good
    saved = checkpoint.steps(tmp_path / "checkpoints")
    assert saved[-1:] == ([last] if last else [])


def test_numbers_that_break_between_log_lines_are_not_saved_either(
    bench, tmp_path, monkeypatch
):
    """A loss may be finite, and its update not."""
    make = bench.backend.update

    def update(function):
        step = make(function)

        def broken(state, batch):
            state = step(state, batch)
            if int(state.step) == 5:
                params = jax.tree.map(lambda x: x * np.float32(np.inf), state.params)
                state = dataclasses.replace(state, params=params)
            return state

        return broken

    monkeypatch.setattr(bench.backend, "update", update)
    message = r"params/\S+ and more became NaN or infinite between step 5 and step 5,"
    with pytest.raises(errors.DivergedError, match=message):
        bench.run(tmp_path, stop_after=5)  # a stop saves at once
    assert checkpoint.steps(tmp_path / "checkpoints") == [4]


def set_clock(monkeypatch, now):
    monkeypatch.setattr(time, "time", now)
    monkeypatch.setattr(time, "time_ns", lambda: int(now() * 1e9))


def test_a_clock_that_is_set_back_and_forth_changes_nothing(
    bench, undisturbed, tmp_path, monkeypatch
):
    """By years, between steps."""
    year, shift, true = 3e7, [0.0], time.time
    jumps = {2: 9 * year, 3: -20 * year, 6: year, 10: -30 * year, 11: 12 * year}
    set_clock(monkeypatch, lambda: true() + shift[0])

    def jump(step):
        if step in jumps:
            bench.checkpoints.wait()  # nothing is being saved
            shift[0] += jumps[step]

    found = bench.run(tmp_path, after_step=jump)
    folder, expected = undisturbed
    assert checkpoint.digest(found) == checkpoint.digest(expected)
    assert rows(tmp_path) == rows(folder)


def test_a_clock_set_forward_during_a_save_may_end_the_run_but_loses_nothing(
    bench, undisturbed, tmp_path, monkeypatch
):
    """Orbax takes it for a save that does not end."""
    true, looks = time.time, itertools.count()
    with monkeypatch.context() as patch:
        set_clock(patch, lambda: true() + next(looks) * 3600)
        with pytest.raises(errors.OutputError, match="same command again to continue"):
            bench.run(tmp_path)
    found = bench.run(tmp_path)
    folder, expected = undisturbed
    assert checkpoint.digest(found) == checkpoint.digest(expected)
    assert rows(tmp_path) == rows(folder)
