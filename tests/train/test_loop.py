"""The loop on batches of noise: rhythm, stopping, restarting, compilations."""

import itertools

import jax
import numpy as np
import pytest

from mtl_jax.core import config as configs
from mtl_jax.train import checkpoint, loop, parallel, writers

COMPILED = "/jax/core/compile/backend_compile_duration"


class Bench:
    """One compiled loop, started anew in as many folders as a test needs."""

    def __init__(self, tiny):
        self.step = tiny.step(log_every=2, dwa_interval=3)
        self.start = tiny.state(self.step)
        self.batches = [
            batch | {"patient": np.zeros(8, np.int32), "slice": np.arange(8)}
            for batch in tiny.batches(6)
        ]
        self.backend = parallel.backend(
            "jit", devices=1, batch_size=8, accumulate=1, evaluate_batch_size=8
        )

    def run(self, folder, *, stop_after=None, after_step=lambda step: None):
        steps_seen = itertools.count(1)

        def stop():
            step = next(steps_seen)
            after_step(step)
            return step == stop_after

        with checkpoint.Checkpoints(folder / "checkpoints") as checkpoints:
            restored = checkpoints.restore(self.start)
            state = self.start if restored is None else restored[0]
            this = loop.Loop(
                step=self.step,
                backend=self.backend,
                schedule=configs.Schedule(
                    steps=12,
                    epoch_steps=6,
                    dwa_interval=3,
                    log_every=2,
                    images_every=6,
                    validate_every=6,
                    checkpoint_every=4,
                ),
                batches_from=lambda first: itertools.islice(
                    itertools.cycle(self.batches), first, None
                ),
                validation=lambda: self.batches[:2],
                checkpoints=checkpoints,
                run={"name": "bench"},
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
    assert [row["epoch"] for row in found if "loss/total" in row] == [0, 0, 0, 1, 1, 1]
    with checkpoint.Checkpoints(folder / "checkpoints") as checkpoints:
        assert checkpoints.steps[-2:] == [8, 12]
        assert checkpoints.best_step() in (6, 12)


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
    assert max(compiled_at) <= 6  # the first validation
