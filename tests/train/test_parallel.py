"""jit on one device, jit on four and pmap on four are the same training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax.core import errors
from mtl_jax.losses import weighting
from mtl_jax.train import parallel

WAYS = (("jit", 1), ("jit", 4), ("pmap", 4))


def backend(name, devices, **changes):
    sizes = {"batch_size": 8, "accumulate": 1, "evaluate_batch_size": 8}
    return parallel.backend(name, devices=devices, **(sizes | changes))


def leaves(tree):
    return [
        (jax.tree_util.keystr(path), np.asarray(leaf, np.float64))
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]


def is_zero_by_construction(path):
    """A bias whose gradient is 0, so that Adam makes noise of its rounding.

    Those before a batch-norm, and the bottleneck's key bias, which a softmax ignores.
    """
    return "bias" in path and (("gate" in path and "conv" in path) or "key_" in path)


def test_five_float64_steps_agree_to_1e_8_of_each_tensor(tiny):
    with jax.enable_x64(True):
        results = {}
        for name, devices in WAYS:
            where = backend(name, devices)
            step = tiny.step(dtype=jnp.float64, axis_name=where.axis_name)
            state = where.put_state(tiny.state(step, dtype=np.float64))
            update = where.update(step.train)
            for batch in tiny.batches(5, dtype=np.float64):
                state = update(state, where.put_batch(batch))
            results[name, devices] = where.host(state)
    first = results.pop(WAYS[0])
    weights = np.asarray(weighting.weights(first.dwa, temperature=2.0))
    assert abs(weights[0] - 1) > 1e-3  # the weights have changed
    for other in results.values():
        for (path, a), (_, b) in zip(leaves(first), leaves(other), strict=True):
            if is_zero_by_construction(path):
                assert np.abs(a - b).max() < 1e-10, path
            else:
                difference = np.linalg.norm(a - b)
                assert difference <= 1e-8 * max(np.linalg.norm(a), 1e-6), path


def test_first_float32_step_agrees_to_1e_5_of_the_gradient(tiny):
    (batch,) = tiny.batches(1, size=32)
    results = []
    for name, devices in WAYS:
        where = backend(name, devices)
        step = tiny.step(axis_name=where.axis_name)

        def gradients(state, batch, step=step):
            return step.gradients(state, batch, jnp.ones(2))

        state = where.put_state(tiny.state(step))
        results.append(where.host(where.sums(gradients)(state, where.put_batch(batch))))
    (grads, stats, logged), *others = results
    whole = np.sqrt(sum(np.sum(g**2) for _, g in leaves(grads)))
    for other_grads, other_stats, other_logged in others:
        for (path, a), (_, b) in zip(leaves(grads), leaves(other_grads), strict=True):
            assert np.linalg.norm(a - b) <= 1e-5 * whole, path
        for (path, a), (_, b) in zip(leaves(stats), leaves(other_stats), strict=True):
            assert np.linalg.norm(a - b) <= 1e-5 * np.linalg.norm(a), path
        for name, value in logged.items():
            np.testing.assert_allclose(other_logged[name], value, rtol=1e-5)


@pytest.fixture(scope="module")
def alone(tiny):
    """The sums and outputs of a batch, by the step alone."""
    step = tiny.step()
    state = tiny.state(step)
    (batch,) = tiny.batches(1)
    sums = jax.device_get(jax.jit(step.evaluate)(state, batch))
    return sums, jax.jit(step.predict)(state, batch["image"])


@pytest.mark.parametrize(("name", "devices"), WAYS)
def test_sums_and_slices_are_those_of_the_global_batch(tiny, alone, name, devices):
    where = backend(name, devices)
    step = tiny.step(axis_name=where.axis_name)
    state = tiny.state(step)
    (batch,) = tiny.batches(1)
    expected, expected_outputs = alone
    placed = where.put_state(state)
    found = where.host(where.sums(step.evaluate)(placed, where.put_batch(batch)))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), found, expected
    )
    outputs = where.by_slice(step.predict)(placed, batch["image"])
    assert outputs["dose"].shape == (8, 16, 16, 1)
    for task, output in outputs.items():
        np.testing.assert_allclose(output, expected_outputs[task], atol=1e-4)


def test_a_batch_that_does_not_divide_names_the_nearest():
    with pytest.raises(errors.ConfigError, match=r"batch_size is 6.*give 4 or 8"):
        backend("jit", 4, batch_size=6)
    with pytest.raises(errors.ConfigError, match=r"evaluate.batch_size is 2.*give 4"):
        backend("pmap", 4, evaluate_batch_size=2)
    with pytest.raises(errors.ConfigError, match="JAX finds 4"):
        backend("jit", 9)
