"""Convolution and batch normalisation as torch pads and counts them, in one place."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.nn import initializers

# Inits of new weights: torchvision's ResNet, torch's default, and its He uniform.
RESNET_INIT = initializers.variance_scaling(2.0, "fan_out", "normal")
TORCH_INIT = initializers.variance_scaling(1.0 / 3.0, "fan_in", "uniform")
HE_UNIFORM_INIT = initializers.variance_scaling(2.0, "fan_in", "uniform")


@dataclasses.dataclass(frozen=True)
class Numerics:
    """How a network is computed; none of it changes a parameter's name or shape."""

    dtype: jnp.dtype  # of the arithmetic; parameters and statistics stay float32
    axis_name: str | None  # pmap's axis, over which batch statistics are averaged
    fast_variance: bool  # E[x^2] - E[x]^2 in batch normalisation: less exact, faster
    remat: bool  # compute activations again in the backward pass

    @property
    def output_dtype(self) -> jnp.dtype:
        """At least float32: what losses and softmax are computed in."""
        return jnp.promote_types(self.dtype, jnp.float32)


class Conv(nn.Module):
    """Convolution [B, H, W, C] -> [B, H / stride, W / stride, features], odd kernel.

    The padding is explicit, kernel_size // 2 on every side: "SAME" would pad strided
    layers on one side only, a shift by a pixel from torch with the same shapes.
    """

    features: int
    kernel_size: int
    numerics: Numerics
    kernel_init: initializers.Initializer
    stride: int = 1
    use_bias: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        size, stride, pad = self.kernel_size, self.stride, self.kernel_size // 2
        shape = (size, size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        x = x.astype(self.numerics.dtype)
        kernel = kernel.astype(self.numerics.dtype)
        if size == 1:  # a matrix product: faster than XLA's convolution on CPUs
            x = x[:, ::stride, ::stride]
            y = jnp.dot(x.reshape(-1, x.shape[-1]), kernel[0, 0])
            y = y.reshape(*x.shape[:-1], self.features)
        else:
            y = jax.lax.conv_general_dilated(
                x,
                kernel,
                window_strides=(stride, stride),
                padding=((pad, pad), (pad, pad)),
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
        if self.use_bias:
            bias = self.param("bias", initializers.zeros, (self.features,), jnp.float32)
            y += bias.astype(self.numerics.dtype).reshape(1, 1, 1, -1)
        return y


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


def max_pool(x: jax.Array, size: int) -> jax.Array:
    """Largest of `size` x `size` pixels, [B, H, W, C] -> [B, H / 2, W / 2, C]."""
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
