"""The networks' layers: convolution, batch normalisation and pooling, as in torch.

Input and output: features [B, H, W, C] of `Numerics.dtype`; parameters are float32.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.nn import initializers

from mtl_jax.models.fast import rewrites


@dataclasses.dataclass(frozen=True)
class KernelInit:
    """Variance scaling of kernels [size, size, in, out], by Flax and by NumPy.

    `scale` over the fan is the variance of the distribution.
    """

    scale: float
    fan: Literal["fan_in", "fan_out", "fan_avg"]
    distribution: Literal["normal", "uniform"]

    def __call__(
        self, key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32
    ) -> jax.Array:
        scaled = initializers.variance_scaling
        return scaled(self.scale, self.fan, self.distribution)(key, shape, dtype)

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
        """Kernel of `shape` drawn by NumPy from the same distribution, float32."""
        size = math.prod(shape[:-2])
        fan_in, fan_out = size * shape[-2], size * shape[-1]
        fans = {
            "fan_in": fan_in,
            "fan_out": fan_out,
            "fan_avg": (fan_in + fan_out) / 2,
        }
        spread = np.float32(math.sqrt(self.scale / fans[self.fan]))
        if self.distribution == "normal":
            return spread * rng.standard_normal(shape, np.float32)
        return (
            spread * np.float32(math.sqrt(3)) * (2 * rng.random(shape, np.float32) - 1)
        )


# Initial weights: torchvision's ResNet, torch's default, He uniform, Glorot uniform.
RESNET_INIT = KernelInit(2.0, "fan_out", "normal")
TORCH_INIT = KernelInit(1.0 / 3.0, "fan_in", "uniform")
HE_UNIFORM_INIT = KernelInit(2.0, "fan_in", "uniform")
GLOROT_INIT = KernelInit(1.0, "fan_avg", "uniform")


@dataclasses.dataclass(frozen=True)
class Numerics:
    """How a network is computed; none of it changes a parameter's name or shape."""

    dtype: jnp.dtype  # of the arithmetic; parameters and statistics stay float32
    axis_name: str | None  # pmap's axis, over which batch statistics are averaged
    fast_variance: bool  # E[x^2] - E[x]^2 in batch normalisation: less exact, faster
    remat: bool  # compute activations again in the backward pass
    rewrites: rewrites.Rewrites  # which operations take their fast form

    @property
    def output_dtype(self) -> jnp.dtype:
        """The type of losses and softmax: float32 or better."""
        return jnp.promote_types(self.dtype, jnp.float32)


class Conv(nn.Module):
    """Convolution [B, H, W, C] -> [B, H / stride, W / stride, features], odd kernel."""

    features: int
    kernel_size: int
    numerics: Numerics
    kernel_init: KernelInit
    stride: int = 1
    use_bias: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        dtype = self.numerics.dtype
        y = convolve(
            x.astype(dtype), kernel.astype(dtype), self.stride, self.numerics.rewrites
        )
        if self.use_bias:
            bias = self.param("bias", initializers.zeros, (self.features,), jnp.float32)
            y += bias.astype(dtype).reshape(1, 1, 1, -1)
        return y


class JoiningConv(nn.Module):
    """3x3 convolution of upsampled features and a skip: a decoder block's first.

    [B, h, w, C] and skip [B, 2h, 2w, C'] -> [B, 2h, 2w, features]; nearest neighbours.
    """

    features: int
    numerics: Numerics
    kernel_init: KernelInit

    @nn.compact
    def __call__(self, x: jax.Array, *skip: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        joined = channels + sum(features.shape[-1] for features in skip)
        shape = (3, 3, joined, self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        kernel, x, *skips = (
            array.astype(self.numerics.dtype) for array in (kernel, x, *skip)
        )
        forms = self.numerics.rewrites
        if not forms.upsampled:
            x = jnp.concatenate([upsample(x), *skips], axis=-1)
            return convolve(x, kernel, 1, forms)
        y = rewrites.upsampled_conv3x3(x, kernel[:, :, :channels])
        for features in skips:
            y += convolve(features, kernel[:, :, channels:], 1, forms)
        return y


def convolve(
    x: jax.Array, kernel: jax.Array, stride: int, forms: rewrites.Rewrites
) -> jax.Array:
    """Convolution [B, H, W, C] -> [B, H / stride, W / stride, F] in the form chosen."""
    size, _, _, features = kernel.shape
    if size == 1 and forms.pointwise:
        return rewrites.pointwise(x, kernel, stride)
    if size == 3 and features <= rewrites.FEW and stride == 1 and forms.few_outputs:
        return rewrites.few_outputs_conv3x3(x, kernel)
    if size == 3 and forms.spatial:
        return rewrites.conv3x3(x, kernel, stride)
    return rewrites.conv(x, kernel, stride)


def upsample(x: jax.Array) -> jax.Array:
    """Nearest neighbours, twice the size: [B, H, W, C] -> [B, 2H, 2W, C]."""
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


def batch_norm(numerics: Numerics, *, train: bool, name: str) -> nn.BatchNorm:
    """Batch normalisation with torch's constants (its momentum 0.1 is 0.9 here)."""
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,
        epsilon=1e-5,
        dtype=numerics.dtype,
        axis_name=numerics.axis_name,
        use_fast_variance=numerics.fast_variance,
        name=name,
    )


def max_pool(x: jax.Array, size: int, forms: rewrites.Rewrites) -> jax.Array:
    """Maximum of `size` x `size` pixels, [B, H, W, C] -> [B, H / 2, W / 2, C]."""
    if forms.pooling:
        return rewrites.max_pool(x, size)
    pad = (size - 1) // 2
    return jax.lax.reduce_window(
        x,
        -jnp.inf,
        jax.lax.max,
        window_dimensions=(1, size, size, 1),
        window_strides=(1, 2, 2, 1),
        padding=((0, 0), (pad, pad), (pad, pad), (0, 0)),
    )


def call(
    module: nn.Module, *inputs: jax.Array, train: bool, numerics: Numerics
) -> jax.Array:
    """Call `module`; with `remat`, the backward pass recomputes its activations."""

    def run(module: nn.Module, *inputs: jax.Array) -> jax.Array:
        return module(*inputs, train=train)

    return (nn.remat(run) if numerics.remat else run)(module, *inputs)
