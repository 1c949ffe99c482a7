"""DWA against the closed form for two tasks, and Liu et al.'s rules."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax.losses import weighting


def run(losses, *, interval, state=None):
    """Feed rows of losses [steps, K]; the state after them."""
    state = state or weighting.start(len(losses[0]))
    for row in losses:
        state = weighting.update(state, jnp.asarray(row), interval=interval)
    return state


def test_weights_are_one_in_the_first_two_intervals():
    state = weighting.start(2)
    np.testing.assert_array_equal(weighting.weights(state, temperature=2.0), [1, 1])
    state = run([(3.0, 1.0), (5.0, 1.0)], interval=2)
    np.testing.assert_array_equal(weighting.weights(state, temperature=2.0), [1, 1])


def test_weights_follow_the_closed_form_for_two_tasks():
    # Interval means (1, 1) then (0.5, 1): pace 0.5 and 1, T = 2, K = 2.
    state = run([(1.0, 1.0), (0.5, 1.0)], interval=1)
    weights = weighting.weights(state, temperature=2.0)
    first = 2 / (1 + math.exp((1.0 - 0.5) / 2))
    np.testing.assert_allclose(weights, [first, 2 - first], rtol=1e-6)
    np.testing.assert_allclose(weights, [0.8756, 1.1244], atol=5e-5)


def test_pace_is_of_interval_means_and_the_sum_restarts():
    # Means (2, 4), (1, 4), (1, 2): the pace after the third is (1, 0.5).
    rows = [(1.0, 4.0), (3.0, 4.0), (0.5, 2.0), (1.5, 6.0), (1.0, 1.0), (1.0, 3.0)]
    state = run(rows, interval=2)
    np.testing.assert_allclose(state.past, [[1, 4], [1, 2]])
    np.testing.assert_array_equal(state.sums, [0, 0])
    first = 2 / (1 + math.exp((0.5 - 1.0) / 2))
    weights = weighting.weights(state, temperature=2.0)
    np.testing.assert_allclose(weights, [first, 2 - first], rtol=1e-6)


@pytest.mark.parametrize("tasks", [1, 2, 3])
def test_weights_sum_to_the_number_of_tasks(tasks):
    rng = np.random.default_rng(0)
    state = run(rng.random((4, tasks)), interval=1)
    total = weighting.weights(state, temperature=2.0).sum()
    assert float(total) == pytest.approx(tasks, rel=1e-6)


def test_a_loss_that_reached_zero_keeps_weights_finite():
    state = run([(0.0, 1.0), (0.0, 1.0)], interval=1)
    np.testing.assert_allclose(weighting.weights(state, temperature=2.0), [1, 1])
