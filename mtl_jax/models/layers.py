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

from mtl_jax.models.fast import phases, rewrites


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
    # Slices that share their batch-norm statistics in training; 0: the global batch.
    norm_slices: int = 0

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
    by_phase: bool = False  # `x` and the result are phases; 3x3, stride 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1] // (phases.PHASES if self.by_phase else 1)
        shape = (self.kernel_size, self.kernel_size, channels, self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        forms, dtype = self.numerics.rewrites, self.numerics.dtype
        if self.by_phase:
            kernel, forms = phases.kernel_of_phases(kernel), rewrites.PLAIN
        y = convolve(x.astype(dtype), kernel.astype(dtype), self.stride, forms)
        if self.use_bias:
            bias = self.param("bias", initializers.zeros, (self.features,), jnp.float32)
            bias = jnp.tile(bias, y.shape[-1] // self.features)
            y += bias.astype(dtype).reshape(1, 1, 1, -1)
        return y


class JoiningConv(nn.Module):
    """3x3 convolution of upsampled features and a skip: a decoder block's first.

    [B, h, w, C] and skip [B, 2h, 2w, C'] -> [B, 2h, 2w, features]; nearest neighbours.
    """

    features: int
    numerics: Numerics
    kernel_init: KernelInit
    by_phase: bool = False  # the result is phases, [B, h, w, 4 features]

    @nn.compact
    def __call__(self, x: jax.Array, *skip: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        joined = channels + sum(features.shape[-1] for features in skip)
        shape = (3, 3, joined, self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        if self.by_phase:
            return self.as_phases(kernel, x, *skip)
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

    def as_phases(self, kernel: jax.Array, x: jax.Array, *skip: jax.Array) -> jax.Array:
        """The convolution as phases; neither map is enlarged nor joined."""
        dtype, channels = self.numerics.dtype, x.shape[-1]
        # Taps are added before they are rounded.
        enlarging = phases.kernel_of_enlarged(kernel[:, :, :channels])
        y = rewrites.conv(x.astype(dtype), enlarging.astype(dtype), 1)
        for features in skip:
            beside = phases.kernel_of_phases(kernel[:, :, channels:])
            features = phases.from_pixels(features.astype(dtype))
            y += rewrites.conv(features, beside.astype(dtype), 1)
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


MOMENTUM, EPSILON = 0.9, 1e-5  # torch's (its momentum 0.1 is 0.9 here)


def batch_norm(
    numerics: Numerics, *, train: bool, name: str, by_phase: bool = False
) -> nn.Module:
    """Batch normalisation with torch's constants, of pixels or of phases."""
    if by_phase or numerics.norm_slices:
        parts = phases.PHASES if by_phase else 1
        return BatchNorm(numerics, parts, use_running_average=not train, name=name)
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=MOMENTUM,
        epsilon=EPSILON,
        dtype=numerics.dtype,
        axis_name=numerics.axis_name,
        use_fast_variance=numerics.fast_variance,
        name=name,
    )


class BatchNorm(nn.Module):
    """`flax.linen.BatchNorm` of phases, or of groups of slices; the same variables.

    `x` is [B, H, W, P C]; the statistics of a channel are those of its P phases
    together. With `Numerics.norm_slices`, each group of so many slices is normalised by
    its own statistics, and the running statistics are left as those of the groups,
    [G, C], of which the step takes the mean.
    """

    numerics: Numerics
    phases_of_channel: int  # P
    use_running_average: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1] // self.phases_of_channel
        mean, var = (
            self.variable("batch_stats", name, start, channels, jnp.float32)
            for name, start in (("mean", jnp.zeros), ("var", jnp.ones))
        )
        scale = self.param("scale", initializers.ones, (channels,), jnp.float32)
        bias = self.param("bias", initializers.zeros, (channels,), jnp.float32)

        def normalise(x: jax.Array, mean: jax.Array, var: jax.Array) -> jax.Array:
            factor = jax.lax.rsqrt(var + EPSILON) * scale
            y = (x - self.tile(mean)) * self.tile(factor) + self.tile(bias)
            return y.astype(self.numerics.dtype)

        def by_its_own(
            x: jax.Array, *before: jax.Array
        ) -> tuple[jax.Array, list[jax.Array]]:
            used = self.statistics(x.astype(self.numerics.output_dtype))
            running = [
                MOMENTUM * old + (1 - MOMENTUM) * new
                for old, new in zip(before, used, strict=True)
            ]
            return normalise(x, *used), running

        if self.use_running_average:
            return normalise(x, mean.value, var.value)
        if not self.numerics.norm_slices or self.is_initializing():
            y, running = by_its_own(x, mean.value, var.value)
        else:
            # Under pmap a device may have a part of a group only.
            slices = min(self.numerics.norm_slices, len(x))
            groups = x.reshape(-1, slices, *x.shape[1:])
            # Already by group if the layer is called for the second time in a step.
            before = (
                jnp.broadcast_to(value, (len(groups), channels))
                for value in (mean.value, var.value)
            )
            y, running = jax.vmap(by_its_own)(groups, *before)
            y = y.reshape(x.shape)
        if not self.is_initializing():
            mean.value, var.value = running
        return y

    def statistics(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Mean and variance [C] of all pixels of `x` and of what other devices have."""

        def mean_of(x: jax.Array) -> jax.Array:
            mean = x.mean((0, 1, 2)).reshape(self.phases_of_channel, -1).mean(0)
            return self.over_devices(mean, slices=len(x))

        mean = mean_of(x)
        if self.numerics.fast_variance:
            return mean, jnp.maximum(0, mean_of(jnp.square(x)) - jnp.square(mean))
        return mean, mean_of(jnp.square(x - self.tile(mean)))

    def over_devices(self, mean: jax.Array, slices: int) -> jax.Array:
        """The mean over the devices of pmap that share a group, `slices` on each."""
        axis_name, norm_slices = self.numerics.axis_name, self.numerics.norm_slices
        if axis_name is None or norm_slices == slices or self.is_initializing():
            return mean
        if not norm_slices:
            return jax.lax.pmean(mean, axis_name)
        size = norm_slices // slices
        firsts = range(0, jax.lax.axis_size(axis_name), size)
        groups = [[*range(first, first + size)] for first in firsts]
        return jax.lax.pmean(mean, axis_name, axis_index_groups=groups)

    def tile(self, channels: jax.Array) -> jax.Array:
        """Values [C] as [1, 1, 1, P C], the same for every phase."""
        return jnp.tile(channels, self.phases_of_channel).reshape(1, 1, 1, -1)


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
