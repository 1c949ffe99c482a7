"""A network and a loss are added by their row of a table; no file of the package is.

docs/how-to/extend.md walks through both.
"""

import functools
import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax.core import errors
from mtl_jax.losses import dose_loss, objective
from mtl_jax.models import layers, networks, parameters, pretrained
from mtl_jax.models.fast import rewrites
from mtl_jax.train import checkpoint
from mtl_jax.train import state as states

TASKS = ("contours", "dose")
SHAPE = (16, 16, 1)
NUMERICS = layers.Numerics(
    jnp.dtype(jnp.float32),
    axis_name=None,
    fast_variance=False,
    remat=False,
    rewrites=rewrites.PLAIN,
)


class Toy(nn.Module):
    """A convolution, and a dense layer per task in each pixel; no batch statistics."""

    outputs: tuple[tuple[str, int], ...]
    width: int

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> dict[str, jax.Array]:
        features = nn.relu(nn.Conv(self.width, (3, 3), name="conv")(image))
        rows = self.param("rows", nn.initializers.normal(), (1, image.shape[1], 1, 1))
        return {
            task: nn.Dense(channels, name=task)(features + rows)
            for task, channels in self.outputs
        }


def build(model, outputs, numerics):
    return Toy(tuple(outputs.items()), model.width)


def check(model, outputs):
    if model.width > 8:
        raise errors.ConfigError(f"model.width is {model.width}: give at most 8")


@pytest.fixture
def toy(monkeypatch):
    """`toy(width=...)`: a network built by its row of the table."""
    monkeypatch.setitem(networks.NETWORKS, "toy", networks.Entry(build, check))
    return functools.partial(make, networks.build, numerics=NUMERICS)


def make(function, *, width=4, **changes):
    # Only what the network and its tasks need: the family's keys are ignored.
    model = types.SimpleNamespace(width=width, contour_head="sigmoid")
    return function("toy", model, tasks=TASKS, structures=2, **changes)


def test_a_network_is_initialised_by_flax(toy):
    variables = parameters.initialise(toy(), 3, SHAPE)
    again = parameters.initialise(toy(), 3, SHAPE)
    jax.tree.map(np.testing.assert_array_equal, variables, again)
    other = parameters.initialise(toy(), 4, SHAPE)["params"]
    params = variables["params"]
    assert params["dose"]["kernel"].shape == (4, 1)
    assert params["rows"].shape == (1, 16, 1, 1)
    for name in ("conv", "dose"):
        assert np.all(params[name]["kernel"] != other[name]["kernel"])
        assert not np.any(params[name]["bias"])
    assert variables["batch_stats"] == {}
    count = 9 * 4 + 4 + 4 * (2 + 1) + 3 + 16
    assert parameters.count(toy(), SHAPE) == count
    shapes = parameters.shapes(toy(), SHAPE)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, shapes)


def test_a_network_brings_its_checks_and_its_operations(toy):
    with pytest.raises(errors.ConfigError, match="width is 9: give at most 8"):
        toy(width=9)
    found = make(networks.multiply_adds, image_shape=SHAPE)
    assert found == 16 * 16 * (9 * 4 + 4 * 3)
    assert networks.describe("toy", None) == "toy"


def test_a_network_without_a_resnet_starts_from_random_weights(toy, caplog):
    variables = parameters.initialise(toy(), 0, SHAPE)
    started, note = pretrained.load(variables, "auto")
    assert started is variables
    assert "no ResNet" in note and "no ResNet" in caplog.text


def test_a_network_trains_and_its_checkpoint_is_read(tiny, toy, tmp_path):
    step = tiny.step(network=toy())
    variables = parameters.initialise(step.network, 0, SHAPE)
    state = states.create(variables, step.transform, tasks=2, metrics=step.metrics)
    (batch,) = tiny.batches(1)
    trained = jax.device_get(jax.jit(step.train)(state, batch))
    assert np.isfinite(trained.window["loss/total"])
    moved = jax.tree.map(
        lambda a, b: bool(np.any(a != b)), trained.params, variables["params"]
    )
    assert all(jax.tree.leaves(moved))
    with checkpoint.Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(1, trained, {}, None)
        checkpoints.wait()
    weights = checkpoint.load_weights(
        tmp_path / "checkpoints" / "1", parameters.shapes(step.network, SHAPE)
    )
    jax.tree.map(np.testing.assert_array_equal, weights, states.weights(trained))


def sums(predicted, batch, counts, options):
    found = dose_loss.sums(predicted, batch, counts, options)
    excess = jnp.maximum(predicted - batch["dose"].astype(predicted.dtype), 0)
    return found | {"excess": (excess * counts).sum()}


def losses(sums, options):
    excess = sums["excess"] / jnp.maximum(sums["voxels"], 1)
    loss = dose_loss.mean_absolute_error(sums) + options["excess_weight"] * excess
    return loss, {"excess": excess}


def test_a_loss_logs_its_parts_by_its_own_tasks_share(tiny, toy, monkeypatch):
    row = objective.TaskLoss(dose_loss.counts, sums, losses, parts=("excess",))
    monkeypatch.setitem(objective.LOSSES, "dose", row)
    options = tiny.step(network=toy()).objective.options | {"excess_weight": 0.5}
    variables = parameters.initialise(toy(), 0, SHAPE)
    (batch,) = tiny.batches(1)
    # Each half takes every second slice: four plans and one.
    batch["has_dose"] = np.array([1, 0, 1, 1, 1, 0, 1, 0], np.float32)
    logged = {}
    for accumulate in (1, 2):
        step = tiny.step(
            network=toy(),
            objective=objective.Objective(TASKS, options),
            accumulate=accumulate,
        )
        state = states.create(variables, step.transform, tasks=2, metrics=step.metrics)
        _, _, logged[accumulate] = jax.jit(step.gradients)(state, batch, jnp.ones(2))
        assert set(logged[accumulate]) < set(step.metrics)
    for name in ("loss/excess", "loss/dose"):
        assert logged[1][name] > 0
        np.testing.assert_allclose(logged[2][name], logged[1][name], rtol=1e-5)
