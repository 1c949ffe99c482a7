"""The step: accumulation, the log window, the optimiser's rule, strict types."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtl_jax.losses import weighting
from mtl_jax.train import state as states


class FrozenStatistics:
    """A network whose batch-norm always uses its stored statistics."""

    def __init__(self, network):
        self._network = network

    def apply(self, variables, image, *, train, mutable=()):
        outputs = self._network.apply(variables, image, train=False)
        return (
            (outputs, {"batch_stats": variables["batch_stats"]}) if train else outputs
        )


def dose_only(step, **changes):
    return dataclasses.replace(
        step,
        network=FrozenStatistics(step.network),
        objective=dataclasses.replace(step.objective, tasks=("dose",)),
        **changes,
    )


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulation_is_the_large_batch_for_the_dose(tiny, parts):
    with jax.enable_x64(True):
        step = tiny.step(dtype=jnp.float64)
        state = tiny.state(step, dtype=np.float64)
        (batch,) = tiny.batches(1, dtype=np.float64)
        for name in ("present", "has_dose", "mask"):
            batch[name] = batch[name].astype(np.float64)
        # Parts hold different numbers of plans, and of voxels with a possible dose.
        assert 0 < batch["has_dose"].sum() < 8
        results = {}
        for accumulate in (1, parts):
            one = dose_only(step, accumulate=accumulate)
            found = jax.jit(one.gradients)(state, batch, jnp.ones(1))
            results[accumulate] = jax.device_get(found)
    (expected, _, logged), (found, _, more_logged) = results.values()
    np.testing.assert_allclose(more_logged["loss/dose"], logged["loss/dose"])
    whole = np.sqrt(sum(np.sum(leaf**2) for leaf in jax.tree.leaves(expected)))
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        assert np.linalg.norm(a - b) <= 1e-12 * whole


def test_the_log_window_sums_the_steps_since_the_last_line(tiny):
    step = tiny.step(log_every=2)
    state = tiny.state(step)
    update = jax.jit(step.train)
    windows = []
    for batch in tiny.batches(3):
        state = update(state, batch)
        windows.append(jax.device_get(state.window))
    single = tiny.step(log_every=1)
    state, update = tiny.state(single), jax.jit(single.train)
    alone = []
    for batch in tiny.batches(3):
        state = update(state, batch)
        alone.append(jax.device_get(state.window))
    name = "loss/dose"
    assert windows[0][name] == pytest.approx(alone[0][name])
    assert windows[1][name] == pytest.approx(alone[0][name] + alone[1][name])
    assert windows[2][name] == pytest.approx(alone[2][name])


def test_adam_with_coupled_decay_equals_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    start = rng.normal(size=5)
    gradients = rng.normal(size=(4, 5))
    parameter = torch.nn.Parameter(torch.tensor(start))
    adam = torch.optim.Adam([parameter], lr=1e-2, weight_decay=0.3)
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient)
        adam.step()
    with jax.enable_x64(True):
        transform = states.optimizer(
            learning_rate=1e-2,
            weight_decay=0.3,
            b1=0.9,
            b2=0.999,
            eps=1e-8,
            no_decay=(),
        )
        value = jnp.asarray(start)
        state = transform.init(value)
        for gradient in gradients:
            updates, state = transform.update(jnp.asarray(gradient), state, value)
            value = optax.apply_updates(value, updates)
    np.testing.assert_allclose(value, parameter.detach().numpy(), rtol=1e-12)


def test_a_gradient_of_a_large_norm_is_scaled_down():
    """Norm 5 to norm 1, over all parameters; a norm of 0.5 stays."""
    settings = {
        "learning_rate": 1e-2,
        "weight_decay": 0.3,
        "b1": 0.9,
        "b2": 0.999,
        "eps": 1e-8,
        "no_decay": (),
    }
    params = {"a": jnp.asarray([1.0, 2.0]), "b": jnp.asarray(-1.0)}
    large = {"a": jnp.asarray([3.0, 0.0]), "b": jnp.asarray(4.0)}
    scaled = {"a": jnp.asarray([0.6, 0.0]), "b": jnp.asarray(0.8)}
    small = {"a": jnp.asarray([0.3, 0.0]), "b": jnp.asarray(0.4)}
    clipped = states.optimizer(**settings, clip_norm=1.0)
    plain = states.optimizer(**settings)
    found, expected = clipped.init(params), plain.init(params)
    for given, same in ((large, scaled), (small, small)):
        updates, found = clipped.update(given, found, params)
        wanted, expected = plain.update(same, expected, params)
        for name in params:
            np.testing.assert_allclose(updates[name], wanted[name], rtol=1e-6)


def test_decay_leaves_out_the_modules_that_are_named():
    """A parameter without a gradient from the loss moves only if it is decayed."""
    params = {"head": {"kernel": jnp.ones(2)}, "bottleneck": {"kernel": jnp.ones(2)}}
    transform = states.optimizer(
        learning_rate=1e-2,
        weight_decay=1e-5,
        b1=0.9,
        b2=0.999,
        eps=1e-8,
        no_decay=("bottleneck", "absent"),
    )
    grads, state = jax.tree.map(jnp.zeros_like, params), transform.init(params)
    # As with the decay of every parameter, so that checkpoints do not change.
    assert jax.tree.structure(state) == jax.tree.structure(
        optax.chain(
            optax.add_decayed_weights(1e-5), optax.scale_by_adam(), optax.scale(-1)
        ).init(params)
    )
    for _ in range(3):
        updates, state = transform.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_array_equal(params["bottleneck"]["kernel"], 1)
    np.testing.assert_allclose(params["head"]["kernel"], 0.97, rtol=1e-3)


def test_losses_and_weights_never_mix_types(tiny):
    step = tiny.step()
    state = tiny.state(step)
    (batch,) = tiny.batches(1)
    with jax.numpy_dtype_promotion("strict"):  # optax itself mixes: not its update
        grads, _, logged = jax.eval_shape(step.gradients, state, batch, jnp.ones(2))
        dwa = jax.eval_shape(
            functools.partial(weighting.update, interval=2), state.dwa, jnp.ones(2)
        )
        weights = jax.eval_shape(
            functools.partial(weighting.weights, temperature=2.0), state.dwa
        )
    kinds = {leaf.dtype for leaf in jax.tree.leaves((grads, logged, weights))}
    assert kinds == {np.dtype(np.float32)}
    assert jax.tree.map(lambda x: x.dtype, dwa) == jax.tree.map(
        lambda x: x.dtype, jax.eval_shape(lambda: state.dwa)
    )


def test_bfloat16_computes_in_it_and_keeps_float32_parameters(tiny):
    (batch,) = tiny.batches(1)
    losses = {}
    for dtype in (jnp.float32, jnp.bfloat16):
        step = tiny.step(dtype=dtype)
        state = jax.jit(step.train)(tiny.state(step), batch)
        losses[dtype] = float(state.window["loss/total"])
        kinds = {leaf.dtype for leaf in jax.tree.leaves(state.params)}
        assert kinds == {np.dtype(np.float32)}
    assert losses[jnp.bfloat16] != losses[jnp.float32]
    assert losses[jnp.bfloat16] == pytest.approx(losses[jnp.float32], rel=0.03)


def updates_of_a_constant_gradient(count, **course):
    """Adam makes 1 of a constant gradient, so these are the learning rates."""
    rate = states.learning_rate(0.1, **course)
    transform = states.optimizer(
        learning_rate=rate, weight_decay=0.0, b1=0.9, b2=0.999, eps=1e-12, no_decay=()
    )
    value = jnp.zeros(())
    state = transform.init(value)
    moved = []
    for _ in range(count):
        update, state = transform.update(jnp.ones(()), state, value)
        moved.append(-float(update))
    return moved


HALF = np.sqrt(0.5)


@pytest.mark.parametrize(
    ("course", "expected"),
    [
        ((4, 0, 0.0), [0.05 * (1 + c) for c in (1, HALF, 0, -HALF, -1, -1)]),
        ((4, 0, 0.2), [0.02 + 0.04 * (1 + c) for c in (1, HALF, 0, -HALF, -1, -1)]),
        ((5, 3, 0.0), [0.025, 0.05, 0.075, 0.1, 0.05, 0.0, 0.0]),
        ((0, 3, 0.0), [0.025, 0.05, 0.075, 0.1, 0.1]),
        ((0, 0, 0.0), [0.1, 0.1]),
    ],
)
def test_the_course_of_the_learning_rate(course, expected):
    names = ("cosine_steps", "warmup_steps", "final_rate")
    course = dict(zip(names, course, strict=True))
    moved = updates_of_a_constant_gradient(len(expected), **course)
    np.testing.assert_allclose(moved, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("steps", [500, 1000, 2000])
def test_a_cosine_without_more_is_optax_s_own(steps):
    rate = states.learning_rate(
        3e-3, cosine_steps=steps, warmup_steps=0, final_rate=0.0
    )
    plain = optax.cosine_decay_schedule(3e-3, steps)
    count = jnp.arange(0, steps + 2, 7)
    np.testing.assert_array_equal(rate(count), plain(count))
