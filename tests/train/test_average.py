"""The average of the weights: its course, its statistics, its checkpoints."""

import itertools

import jax
import numpy as np
import pytest

from mtl_jax.train import checkpoint, loop
from mtl_jax.train import state as states
from tests.train import test_loop

BATCHES = 4  # of a measurement here


@pytest.fixture(scope="module", autouse=True)
def short_measurements():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.AverageStatistics, "BATCHES", BATCHES)
        yield


@pytest.fixture(scope="module")
def bench(tiny, short_measurements):
    return test_loop.Bench(tiny, average_decay=0.9)


@pytest.fixture(scope="module")
def undisturbed(bench, tmp_path_factory):
    folder = tmp_path_factory.mktemp("average")
    return folder, bench.run(folder)


def test_the_average_follows_the_weights(tiny):
    step = tiny.step(average_decay=0.2)
    state = tiny.state(step, averaged=True)
    update = jax.jit(step.train)
    mean = state.params
    for made, batch in enumerate(tiny.batches(4)):
        state = update(state, batch)
        decay = min(0.2, (1 + made) / (10 + made))  # 1/10, 2/11, then 0.2
        mean = jax.tree.map(
            lambda old, new, d=decay: d * old + (1 - d) * new, mean, state.params
        )
    for found, expected in zip(
        jax.tree.leaves(state.average["params"]), jax.tree.leaves(mean), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-7)


def test_the_weights_train_as_without_an_average(tiny):
    plain, averaged = tiny.step(), tiny.step(average_decay=0.9)
    one, other = tiny.state(plain), tiny.state(averaged, averaged=True)
    for batch in tiny.batches(2):
        one, other = (
            jax.jit(plain.train)(one, batch),
            jax.jit(averaged.train)(other, batch),
        )
    for a, b in zip(
        jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert states.weights(one)["params"] is one.params
    assert states.weights(other) is other.average


def test_its_statistics_are_those_of_its_own_features(tiny, bench, undisturbed):
    """Those of a network with the averaged weights, which Flax trains on batches."""
    _, state = undisturbed
    variables = states.weights(state)
    network = tiny.network()
    batches = itertools.islice(itertools.cycle(bench.batches), 12, 12 + BATCHES)
    statistics = state.batch_stats
    in_training = jax.jit(
        lambda weights, image: network.apply(
            weights, image, train=True, mutable=["batch_stats"]
        )[1]["batch_stats"]
    )
    for batch in batches:
        weights = {"params": variables["params"], "batch_stats": statistics}
        statistics = in_training(weights, batch["image"])
    for found, expected, running in zip(
        *(jax.tree.leaves(t) for t in (variables["batch_stats"], statistics)),
        jax.tree.leaves(state.batch_stats),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
        assert not np.allclose(found, running, rtol=1e-3, atol=1e-5)


def test_a_run_that_was_stopped_ends_as_one_that_was_not(bench, undisturbed, tmp_path):
    folder, expected = undisturbed
    bench.run(tmp_path, stop_after=7)
    found = bench.run(tmp_path)
    assert checkpoint.digest(found) == checkpoint.digest(expected)
    assert test_loop.rows(tmp_path) == test_loop.rows(folder)


def test_predictions_are_made_with_the_average(tiny, bench, undisturbed):
    folder, state = undisturbed
    like = states.weights(tiny.state(bench.step))
    found = checkpoint.load_weights(folder / "checkpoints" / "12", like)
    assert checkpoint.digest(found) == checkpoint.digest(state.average)
    assert checkpoint.digest(found) != checkpoint.digest(
        {"params": state.params, "batch_stats": state.batch_stats}
    )
    image = bench.batches[0]["image"]
    outputs = bench.step.outputs(state, image)
    expected = tiny.network().apply(state.average, image, train=False)
    np.testing.assert_array_equal(outputs["dose"], expected["dose"])
