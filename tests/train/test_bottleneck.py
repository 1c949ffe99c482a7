"""The cross-task bottleneck stays alive under the optimizer of the configuration."""

import jax
import numpy as np
import pytest

from mtl_jax.configs import common
from mtl_jax.models import multitask, parameters
from mtl_jax.train import module_rms
from mtl_jax.train import state as states

STEPS = 200
LEARNING_RATE = 3e-3  # as of the demo


@pytest.fixture(scope="module")
def trained(tiny):
    """Network, batch and states of a tiny CTAN, before and after training on noise."""
    config = common.get_config()
    network = tiny.network(
        stage_sizes=(2, 2),
        decoder_widths=(8, 4, 4),
        gamma_init=config.model.gamma_init,
    )
    # Noise has nothing that the bottleneck could learn.
    names = ("weight_decay", "no_decay", "b1", "b2", "eps")
    settings = {name: config.optimizer[name] for name in names}
    adam = states.optimizer(learning_rate=LEARNING_RATE, **settings)
    step = tiny.step(network=network, transform=adam)
    variables = parameters.initialise(network, 0, (16, 16, 1))
    start = states.create(variables, step.transform, tasks=2, metrics=step.metrics)
    batches = tiny.batches(20)
    state, update = start, jax.jit(step.train)
    for number in range(STEPS):
        state = update(state, batches[number % len(batches)])
    return network, batches[0], jax.device_get(start), jax.device_get(state)


def test_its_kernels_keep_their_size(trained):
    _, _, start, state = trained
    sizes = {
        module: now / before
        for (module, now), before in zip(
            module_rms.rms(module_rms.kernels(state.params)).items(),
            module_rms.rms(module_rms.kernels(start.params)).values(),
            strict=True,
        )
        if module.startswith("bottleneck")
    }
    assert len(sizes) == 8  # query, key, value, output of two tasks
    assert min(sizes.values()) > 0.5, sizes


def test_outputs_change_when_it_is_cut_out(trained):
    network, batch, _, state = trained
    assert all(abs(gamma) > 0.01 for gamma in multitask.gammas(state.params).values())
    weights = states.weights(state)
    bottleneck = weights["params"]["bottleneck"]
    cut = {n: 0 * x if n.startswith("gamma") else x for n, x in bottleneck.items()}
    without = weights | {"params": weights["params"] | {"bottleneck": cut}}
    apply = jax.jit(lambda weights: network.apply(weights, batch["image"], train=False))
    outputs, others = apply(weights), apply(without)
    for task, output in outputs.items():
        change = np.sqrt(np.mean((output - others[task]) ** 2))
        assert change > 1e-3 * np.std(output), task
