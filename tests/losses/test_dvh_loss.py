"""The DVH loss against areas that are known, and where it counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax.losses import dvh_loss, objective


def loss_of(predicted, reference, weights):
    """For doses [B, V] and weights [B, V, S] of voxels in a row."""
    sums = dvh_loss.sums(
        jnp.asarray(predicted, jnp.float32)[:, None, :, None],
        jnp.asarray(reference, jnp.float32)[:, None, :, None],
        jnp.asarray(weights, jnp.float32)[:, None],
    )
    return dvh_loss.loss(sums)


def test_a_shift_of_all_doses_is_the_area_between_the_histograms():
    predicted, reference = np.full((1, 5), 0.73), np.full((1, 5), 0.5)
    found = loss_of(predicted, reference, np.ones((1, 5, 1)))
    assert float(found) == pytest.approx(0.23, abs=1e-3)


def test_the_area_is_the_mean_difference_of_the_sorted_doses(rng):
    # Histograms that do not cross: the area is that between the sorted doses. Soft
    # thresholds blur both alike.
    reference = rng.uniform(0.1, 0.8, (1, 400))
    predicted = reference + rng.uniform(0.0, 0.2, (1, 400))
    found = loss_of(predicted, reference, np.ones((1, 400, 1)))
    expected = np.mean(np.sort(predicted) - np.sort(reference))
    assert float(found) == pytest.approx(expected, abs=2e-3)


def test_the_order_of_a_structure_s_voxels_makes_no_difference(rng):
    reference = rng.uniform(0.0, 1.1, (1, 50))
    shuffled = rng.permuted(reference, axis=1)
    assert float(loss_of(shuffled, reference, np.ones((1, 50, 1)))) < 1e-6


def test_structures_and_slices_with_a_voxel_count_alike():
    # Slice 1: a structure of one voxel is 0.3 off, one of three voxels is right.
    # Slice 2: only the second has a voxel, 0.1 off; a voxel of neither is far off.
    predicted = np.array([[0.8, 0.4, 0.4, 0.4], [0.5, 0.9, 0.9, 0.9]])
    reference = np.array([[0.5, 0.4, 0.4, 0.4], [0.6, 0.2, 0.2, 0.2]])
    weights = np.zeros((2, 4, 2))
    weights[0, 0, 0] = weights[0, 1:, 1] = weights[1, 0, 1] = 1
    found = loss_of(predicted, reference, weights)
    assert float(found) == pytest.approx((0.3 + 0.0 + 0.1) / 3, abs=1e-3)
    assert float(loss_of(predicted, reference, 0 * weights)) == 0.0


def test_the_gradient_lifts_a_dose_that_is_too_low():
    predicted, reference = np.full((1, 4), 0.6), np.full((1, 4), 0.9)
    gradient = jax.grad(lambda p: loss_of(p, reference, np.ones((1, 4, 1))))(
        jnp.asarray(predicted, jnp.float32)
    )
    # Each of four voxels holds a quarter of the histogram.
    np.testing.assert_allclose(gradient, -0.25, rtol=0.02)


def test_it_is_added_to_the_absolute_error_where_the_dose_counts():
    # Two voxels of one structure; in the second no dose is possible.
    batch = {
        "dose": jnp.asarray([0.5, 0.5]).reshape(1, 1, 2, 1),
        "possible_dose": jnp.asarray([1, 0], jnp.uint8).reshape(1, 1, 2, 1),
        "structures": jnp.ones((1, 1, 2, 1), jnp.uint8),
        "has_dose": jnp.ones(1),
        "mask": jnp.ones(1),
    }
    predicted = jnp.asarray([0.7, 0.1]).reshape(1, 1, 2, 1)

    def total(weight):
        options = {"dose_region": "possible", "dvh_weight": weight}
        loss = objective.Objective(("dose",), options)
        return float(loss.losses(loss.sums({"dose": predicted}, batch))[0]["dose"])

    assert total(0.0) == pytest.approx(0.2)
    assert total(0.5) == pytest.approx(0.2 + 0.5 * 0.2, abs=1e-3)
