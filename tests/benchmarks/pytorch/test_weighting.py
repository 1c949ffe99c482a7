"""DWA in PyTorch: the paper's numbers, and step for step as ours."""

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install -e .[torch]")

from benchmarks.pytorch import weighting
from mtl_jax.losses import weighting as ours


def average(interval: int, tasks: int = 2) -> weighting.DynamicWeightAverage:
    return weighting.DynamicWeightAverage(
        tasks, temperature=2.0, interval=interval, dtype=torch.float64
    )


def test_weights_by_hand() -> None:
    dwa = average(interval=1)
    assert dwa.weights.tolist() == [1, 1]
    dwa.update(torch.tensor([1.0, 1.0]))
    assert dwa.weights.tolist() == [1, 1]
    dwa.update(torch.tensor([0.5, 1.0]))
    np.testing.assert_allclose(dwa.weights, [0.8756, 1.1244], atol=1e-4)


def test_a_loss_of_zero_stands_still() -> None:
    dwa = average(interval=1)
    for losses in ([0.0, 1.0], [0.0, 1.0]):
        dwa.update(torch.tensor(losses))
    assert dwa.weights.tolist() == [1, 1]


@pytest.mark.parametrize("interval", [1, 2, 3])
def test_weights_are_ours(interval: int, rng: np.random.Generator) -> None:
    dwa = average(interval, tasks=3)
    with jax.enable_x64(True):
        state = ours.start(3)
        for losses in rng.uniform(0.1, 3.0, (10, 3)):
            expected = ours.weights(state, temperature=2.0)
            np.testing.assert_allclose(dwa.weights, expected, rtol=1e-12)
            state = ours.update(state, losses, interval=interval)
            dwa.update(torch.tensor(losses))
    assert np.ptp(dwa.weights.numpy()) > 0.01
