"""Batch normalisation by groups of slices: the same on any devices, and without sums.

The reference is Flax's batch normalisation of each group alone.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from benchmarks import collectives
from mtl_jax.core import errors
from mtl_jax.models import layers, parameters
from mtl_jax.models.fast import phases
from mtl_jax.train import parallel
from mtl_jax.train import state as states
from tests.models import numerics
from tests.train import test_parallel

SLICES, LAYERS = 8, 2


class Toy(nn.Module):
    """Two convolutions with batch normalisation and a head for each task.

    The second batch normalisation serves twice, as that of blocks that tasks share.
    """

    numerics: layers.Numerics

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> dict[str, jax.Array]:
        x = image
        for number, width in enumerate((3, 5)):
            x = layers.Conv(width, 3, self.numerics, layers.HE_UNIFORM_INIT)(x)
            norm = layers.batch_norm(self.numerics, train=train, name=f"norm_{number}")
            x = nn.relu(norm(x))
        x = norm(x + jnp.square(x))
        return {
            task: layers.Conv(n, 1, self.numerics, layers.HE_UNIFORM_INIT, name=task)(x)
            for task, n in (("contours", 2), ("dose", 1))
        }


def make_step(tiny, axis_name=None, **changes):
    chosen = dataclasses.replace(numerics.PLAIN, axis_name=axis_name, **changes)
    return tiny.step(network=Toy(chosen), axis_name=axis_name)


@functools.cache
def initial_variables():
    return parameters.initialise(Toy(numerics.PLAIN), 0, (16, 16, 1))


def make_state(step):
    return jax.device_get(
        states.create(
            initial_variables(), step.transform, tasks=2, metrics=step.metrics
        )
    )


@pytest.fixture(scope="module")
def of_each_group(tiny):
    """Gradients and statistics if Flax normalises each group of `slices` alone."""
    step = make_step(tiny)
    state, (batch,) = make_state(step), tiny.batches(1)

    def loss(params, slices):
        weights = {"params": params, "batch_stats": state.batch_stats}
        done = [
            step.network.apply(
                weights,
                batch["image"][first : first + slices],
                train=True,
                mutable=["batch_stats"],
            )
            for first in range(0, SLICES, slices)
        ]
        outputs = jax.tree.map(lambda *x: jnp.concatenate(x), *[out for out, _ in done])
        updated = [statistics["batch_stats"] for _, statistics in done]
        statistics = jax.tree.map(lambda *x: sum(x) / len(x), *updated)
        by_task, _ = step.objective.losses(step.objective.sums(outputs, batch))
        return sum(by_task.values()), statistics

    compiled = jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)
    return functools.cache(lambda slices: compiled(state.params, slices))


# Two slices on each of four devices: a group is half a device's, a device's, or two's.
CASES = [("jit", 1, 2), ("jit", 4, 2), ("jit", 4, 4), ("pmap", 4, 1), ("pmap", 4, 4)]


@pytest.mark.parametrize(("name", "devices", "slices"), CASES)
def test_groups_are_normalised_alone(tiny, of_each_group, name, devices, slices):
    where = test_parallel.backend(name, devices, norm_slices=slices)
    step = make_step(tiny, where.axis_name, norm_slices=slices)

    def gradients(state, batch):
        return step.gradients(state, batch, jnp.ones(2))[:2]

    state, (batch,) = make_state(step), tiny.batches(1)
    placed = where.put_state(state), where.put_batch(batch)
    found = where.host(where.sums(gradients)(*placed))
    pairs = zip(
        test_parallel.leaves(of_each_group(slices)),
        test_parallel.leaves(found),
        strict=True,
    )
    for (path, a), (_, b) in pairs:
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=2e-6, err_msg=path)


def test_parts_of_a_batch_have_groups_of_their_own(tiny):
    """Running statistics after two parts of two groups each, by hand."""
    (batch,) = tiny.batches(1)
    step = dataclasses.replace(make_step(tiny, norm_slices=2), accumulate=2)
    state = make_state(step)
    _, found, _ = jax.jit(step.gradients)(state, batch, jnp.ones(2))
    # Part k has every second slice, from k on; the first layer sees the image alone.
    kernel = state.params["Conv_0"]["kernel"]
    features = np.asarray(layers.rewrites.conv(batch["image"], kernel, 1))
    running = np.zeros(3)
    for part in (features[0::2], features[1::2]):
        running = 0.9 * running + 0.1 * part.mean((0, 1, 2))
    np.testing.assert_allclose(found["norm_0"]["mean"], running, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["jit", "pmap"])
def test_groups_within_a_device_need_no_sums_over_devices(tiny, name):
    (batch,) = tiny.batches(1)
    counts = {}
    for slices in (0, 2):
        where = test_parallel.backend(name, 4, norm_slices=slices)
        step = make_step(tiny, where.axis_name, norm_slices=slices)
        state = where.put_state(make_state(step))
        update = where.update(step.train)
        text = update.lower(state, where.put_batch(batch)).compile().as_text()
        counts[slices] = collectives.count(text)["all-reduce"]["count"]
        assert set(collectives.count(text)) == {"all-reduce"}
    # Exact variances take two sums in a row forward, and at least one backward.
    assert counts[2] <= counts[0] - 3 * LAYERS + 1
    if name == "jit":
        assert counts[2] <= 3  # losses, statistics, gradients


def test_phases_are_normalised_by_group_as_pixels(rng):
    x = jnp.asarray(rng.normal(3.0, 2.0, (6, 4, 4, 5)), jnp.float32)
    chosen = dataclasses.replace(numerics.PLAIN, norm_slices=3)
    pixels, by_phase = (
        layers.batch_norm(chosen, train=True, name="norm", by_phase=flag)
        for flag in (False, True)
    )
    variables = pixels.init(jax.random.key(0), x)
    expected, statistics = pixels.apply(variables, x, mutable=["batch_stats"])
    found, others = by_phase.apply(
        variables, phases.from_pixels(x), mutable=["batch_stats"]
    )
    np.testing.assert_allclose(found, phases.from_pixels(expected), atol=1e-5)
    for name in ("mean", "var"):
        both = (tree["batch_stats"][name] for tree in (statistics, others))
        first, second = map(np.asarray, both)
        assert first.shape == (2, 5)  # by group
        np.testing.assert_allclose(first, second, rtol=1e-5)


def test_groups_that_cut_a_devices_share_are_refused():
    with pytest.raises(errors.ConfigError, match=r"is 4, but each device has 6 slices"):
        parallel.check_groups(4, 6)
    for fitting in (0, 1, 2, 3, 6, 12):
        parallel.check_groups(fitting, 6)
