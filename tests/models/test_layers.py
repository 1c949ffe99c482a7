"""Padding, batch statistics and pooling as torch has them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.nn import initializers

from mtl_jax.models import layers
from mtl_jax.models.fast import rewrites
from tests.models import numerics

torch = pytest.importorskip("torch")


def to_torch(x: np.ndarray):
    return torch.from_numpy(np.asarray(x)).permute(0, 3, 1, 2)


def from_torch(x) -> np.ndarray:
    return x.permute(0, 2, 3, 1).detach().numpy()


@pytest.mark.parametrize("size, stride", [(7, 2), (3, 1), (3, 2), (1, 1), (1, 2)])
def test_convolution_pads_as_torch(rng, size, stride) -> None:
    x = rng.standard_normal((2, 12, 8, 3)).astype(np.float32)
    kernel = rng.standard_normal((size, size, 3, 4)).astype(np.float32)
    bias = rng.standard_normal(4).astype(np.float32)
    conv = layers.Conv(
        4, size, numerics.PLAIN, initializers.zeros, stride, use_bias=True
    )
    ours = conv.apply({"params": {"kernel": kernel, "bias": bias}}, x)
    theirs = torch.nn.functional.conv2d(
        to_torch(x),
        torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()),
        torch.from_numpy(bias),
        stride=stride,
        padding=size // 2,
    )
    np.testing.assert_allclose(ours, from_torch(theirs), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [2, 3])
def test_max_pool_pads_as_torch_below_zero_too(rng, size) -> None:
    x = -1.0 - rng.random((1, 8, 6, 2)).astype(np.float32)
    pool = torch.nn.MaxPool2d(size, 2, padding=(size - 1) // 2)
    np.testing.assert_array_equal(
        layers.max_pool(jnp.asarray(x), size, rewrites.PLAIN),
        from_torch(pool(to_torch(x))),
    )


def test_batch_norm_normalises_and_remembers_as_torch(rng) -> None:
    x = rng.normal(3.0, 2.0, (4, 5, 5, 6)).astype(np.float32)
    norm = layers.batch_norm(numerics.PLAIN, train=True, name="bn")
    variables = norm.init(jax.random.key(0), x)
    ours, updated = norm.apply(variables, x, mutable=["batch_stats"])
    reference = torch.nn.BatchNorm2d(6).train()
    theirs = reference(to_torch(x))
    np.testing.assert_allclose(ours, from_torch(theirs), atol=1e-5)
    stats = updated["batch_stats"]
    np.testing.assert_allclose(stats["mean"], reference.running_mean, rtol=1e-5)
    # torch remembers the unbiased variance, n / (n - 1) times Flax's.
    seen_here = stats["var"] - 0.9
    seen_there = reference.running_var.numpy() - 0.9
    np.testing.assert_allclose(seen_here * 100 / 99, seen_there, rtol=1e-4)
