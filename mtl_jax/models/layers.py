"""Convolution and batch normalisation as torch pads and counts them, in one place."""

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
        """The same without a compiler, float32."""
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


# Of new weights: torchvision's ResNet, torch's default, its He and its Glorot uniform.
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
    rewrites: rewrites.Rewrites  # operations in other forms, equal to rounding

    @property
    def output_dtype(self) -> jnp.dtype:
        """At least float32: what losses and softmax are computed in."""
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
    """3x3 convolution of [x at twice its size, skip]: a decoder block's first.

    [B, h, w, C] and skips [B, 2h, 2w, C'] -> [B, 2h, 2w, features]; nearest neighbours.
    """

    features: int
    numerics: Numerics
    kernel_init: KernelInit

    @nn.compact
    def __call__(self, x: jax.Array, *skip: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        joined = channels + sum(other.shape[-1] for other in skip)
        shape = (3, 3, joined, self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        kernel, x, *others = (
            array.astype(self.numerics.dtype) for array in (kernel, x, *skip)
        )
        chosen = self.numerics.rewrites
        if not chosen.upsampled:
            x = jnp.concatenate([upsample(x), *others], axis=-1)
            return convolve(x, kernel, 1, chosen)
        y = rewrites.upsampled_conv3x3(x, kernel[:, :, :channels])
        for other in others:
            y += convolve(other, kernel[:, :, channels:], 1, chosen)
        return y


def convolve(
    x: jax.Array, kernel: jax.Array, stride: int, chosen: rewrites.Rewrites
) -> jax.Array:
    """`rewrites.conv`, in the form that is chosen for its kernel."""
    size, _, _, features = kernel.shape
    if size == 1 and chosen.pointwise:
        return rewrites.pointwise(x, kernel, stride)
    if size == 3 and features <= rewrites.FEW and stride == 1 and chosen.few_outputs:
        return rewrites.few_outputs_conv3x3(x, kernel)
    if size == 3 and chosen.spatial:
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


def max_pool(x: jax.Array, size: int, chosen: rewrites.Rewrites) -> jax.Array:
    """Largest of `size` x `size` pixels, [B, H, W, C] -> [B, H / 2, W / 2, C]."""
    if chosen.pooling:
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
    """Call `module`; with `remat`, the backward pass computes its insides again."""

    def run(module: nn.Module, *inputs: jax.Array) -> jax.Array:
        return module(*inputs, train=train)

    return (nn.remat(run) if numerics.remat else run)(module, *inputs)
