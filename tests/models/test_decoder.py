"""The U-Net's block against torch, and which skip goes where."""

import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax.models import decoder, layers
from tests.models import numerics

torch = pytest.importorskip("torch")


def test_upsampling_repeats_pixels() -> None:
    x = jnp.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2, 1)
    expected = [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    np.testing.assert_array_equal(layers.upsample(x)[0, :, :, 0], expected)


def test_a_block_is_nearest_upsampling_concatenation_and_two_convolutions(rng) -> None:
    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    x, skip = draw(1, 3, 4, 5), draw(1, 6, 8, 2)
    kernels = draw(3, 3, 7, 6), draw(3, 3, 6, 6)
    params, stats = {}, {}
    for i, kernel in enumerate(kernels, start=1):
        params[f"conv{i}"] = {"kernel": kernel}
        params[f"bn{i}"] = {"scale": draw(6), "bias": draw(6)}
        stats[f"bn{i}"] = {"mean": draw(6), "var": 1 + draw(6) ** 2}
    block = decoder.DecoderBlock(6, numerics.PLAIN)
    ours = block.apply({"params": params, "batch_stats": stats}, x, skip, train=False)

    def torched(array: np.ndarray, *axes: int):
        return torch.from_numpy(array.transpose(axes).copy())

    y = torch.nn.functional.interpolate(torched(x, 0, 3, 1, 2), scale_factor=2)
    y = torch.cat([y, torched(skip, 0, 3, 1, 2)], dim=1)
    for i, kernel in enumerate(kernels, start=1):
        y = torch.nn.functional.conv2d(y, torched(kernel, 3, 2, 0, 1), padding=1)
        bn = {**params[f"bn{i}"], **stats[f"bn{i}"]}
        bn = {name: torch.from_numpy(value) for name, value in bn.items()}
        y = torch.relu(
            torch.nn.functional.batch_norm(
                y, bn["mean"], bn["var"], bn["scale"], bn["bias"], eps=1e-5
            )
        )
    np.testing.assert_allclose(
        ours, y.permute(0, 2, 3, 1).numpy(), rtol=1e-4, atol=1e-4
    )
