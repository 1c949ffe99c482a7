"""Gates and bottleneck against NumPy; MTAN and CTAN differ as they should, only."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax.models import attention, resnet
from tests.models import numerics

TASKS = ("contours", "dose")


@pytest.fixture
def features(rng) -> dict[str, np.ndarray]:
    draw = rng.standard_normal((2, len(TASKS), 2, 3, 16)).astype(np.float32)
    return {task: draw[:, i] for i, task in enumerate(TASKS)}


def drawn(module, rng, *inputs, **kwargs):
    """Random variables for `module`."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs, **kwargs))
    return jax.tree.map(
        lambda leaf: (0.5 * rng.standard_normal(leaf.shape)).astype(np.float32) ** 2,
        shapes,
    )


def test_bottleneck_asks_the_other_task_position_by_position(features, rng) -> None:
    width = 4
    module = attention.CrossTaskBottleneck(TASKS, width, 0.0, numerics.PLAIN)
    variables = drawn(module, rng, features)
    params = variables["params"]
    mixed = module.apply(variables, features)

    def project(name: str, pixel: np.ndarray) -> np.ndarray:
        return pixel @ params[name]["kernel"][0, 0] + params[name]["bias"]

    for task, asked in (TASKS, TASKS[::-1]):
        for image in range(2):
            pixels = features[asked][image].reshape(6, 16)
            for y in range(2):
                for x in range(3):
                    own = features[task][image, y, x]
                    query = project(f"query_{task}", own)
                    scores = [
                        query @ project(f"key_{task}", pixel) / 2.0 for pixel in pixels
                    ]
                    weights = np.exp(scores) / np.exp(scores).sum()
                    answer = sum(
                        weight * project(f"value_{task}", pixel)
                        for weight, pixel in zip(weights, pixels, strict=True)
                    )
                    gamma = params[f"gamma_{task}"]
                    expected = own + gamma * project(f"output_{task}", answer)
                    np.testing.assert_allclose(
                        mixed[task][image, y, x], expected, rtol=1e-4, atol=1e-4
                    )


def test_with_gamma_zero_only_gamma_learns(features) -> None:
    module = attention.CrossTaskBottleneck(TASKS, 4, 0.0, numerics.PLAIN)
    params = module.init(jax.random.key(0), features)["params"]

    def total(params):
        mixed = module.apply({"params": params}, features)
        return sum(jnp.sum(x**3) for x in mixed.values())

    np.testing.assert_equal(module.apply({"params": params}, features), features)
    for name, tree in jax.grad(total)(params).items():
        moved = any(np.any(leaf != 0) for leaf in jax.tree.leaves(tree))
        assert moved == name.startswith("gamma_"), name


@pytest.fixture
def stages(rng) -> list[resnet.Stage]:
    def draw(side: int, channels: int) -> np.ndarray:
        return rng.standard_normal((2, side, side, channels)).astype(np.float32)

    sizes = ((16, 8), (8, 16), (4, 32), (2, 64))
    return [resnet.Stage(draw(*size), draw(*size)) for size in sizes]


def test_a_gate_is_applied_to_the_last_block_alone(stages, rng) -> None:
    module = attention.AttentionEncoder(TASKS, False, numerics.PLAIN)
    variables = drawn(module, rng, stages, train=False)
    attended = jax.jit(lambda v, x: module.apply(v, x, train=False))(variables, stages)

    def normalised(name: str, x: np.ndarray, gate: str) -> np.ndarray:
        params = variables["params"][gate][name]
        stats = variables["batch_stats"][gate][name]
        x = (x - stats["mean"]) / np.sqrt(stats["var"] + 1e-5)
        return x * params["scale"] + params["bias"]

    for task in TASKS:
        gate = f"gate1_{task}"
        params = variables["params"][gate]
        assert params["conv1"]["kernel"].shape == (1, 1, 8, 2)
        assert variables["params"][f"gate2_{task}"]["conv1"]["kernel"].shape[2] == 32
        x = stages[0].before @ params["conv1"]["kernel"][0, 0] + params["conv1"]["bias"]
        x = np.maximum(normalised("bn1", x, gate), 0)
        x = x @ params["conv2"]["kernel"][0, 0] + params["conv2"]["bias"]
        mask = 1 / (1 + np.exp(-normalised("bn2", x, gate)))
        np.testing.assert_allclose(
            attended[task][0], mask * stages[0].after, rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("cross_gating", [False, True])
def test_which_gates_a_tasks_features_reach(stages, rng, cross_gating) -> None:
    module = attention.AttentionEncoder(TASKS, cross_gating, numerics.PLAIN)
    variables = drawn(module, rng, stages, train=False)

    @functools.partial(jax.jit, static_argnums=1)
    @jax.grad
    def gradient(params, last_only: bool):
        variables_ = {**variables, "params": params}
        seen = module.apply(variables_, stages, train=False)["contours"]
        return sum(jnp.sum(x) for x in (seen[-1:] if last_only else seen))

    for last_only in (False, True):
        grads = gradient(variables["params"], last_only)
        reached = {
            name
            for name, tree in grads.items()
            if name.startswith("gate") and np.any(tree["conv2"]["kernel"] != 0)
        }
        if not cross_gating:  # MTAN: a task's own gates, never the other's
            expected = {f"gate{i}_contours" for i in range(1, 5)}
        elif last_only:  # plain skips: one chain of gates, alternating between tasks
            expected = {"gate1_contours", "gate2_dose", "gate3_contours", "gate4_dose"}
        else:  # attended skips: both tasks' gates
            expected = {f"gate{i}_{task}" for i in (1, 2, 3) for task in TASKS}
            expected |= {"gate4_dose"}
        assert reached == expected
