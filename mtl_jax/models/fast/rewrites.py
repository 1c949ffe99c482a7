"""Faster forms of the networks' operations, equal to the plain ones to rounding.

Values and gradients are equal. Input and output: feature maps [B, H, W, C], kernels
[size, size, in, out], all paddings as in torch. Which form is faster depends on the
device: `for_platform` chooses. Measurements: docs/explanation/speed.md.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp

from mtl_jax.models.fast import primitives, winograd

# With at most this many channels on either side, XLA's own kernel is faster.
NARROW = 32
# Feature maps with more values than this do not fit into the cores' caches.
LARGE = 2**20
# At most this many output channels are few.
FEW = 4


@dataclasses.dataclass(frozen=True)
class Rewrites:
    """Which operations are computed in their fast form."""

    pointwise: bool  # 1x1 convolutions as one matrix product
    spatial: bool  # 3x3 and its gradients: Winograd, or one matrix product
    upsampled: bool  # 3x3 after upsampling: nine products before upsampling
    few_outputs: bool  # 3x3 to a few channels: nine products, then shifted sums
    pooling: bool  # maxima of pairs: the gradient selects and does not scatter
    phases: bool  # last decoder block and heads: squares of 2 x 2 pixels as channels


PLAIN = Rewrites(*[False] * len(dataclasses.fields(Rewrites)))
CPU = Rewrites(
    pointwise=True,
    spatial=True,
    upsampled=True,
    few_outputs=True,
    pooling=True,
    phases=False,
)
# The form with the fewest cycles, as the compiler for TPUs estimates them; the forms
# for CPUs save operations, but add bytes and cycles. Not timed on a TPU.
TPU = dataclasses.replace(PLAIN, phases=True)
# GPUs use the plain forms, which move the fewest bytes; and XLA of jax 0.10 aborts the
# process when it compiles a strided 1x1 convolution as a product (openxla/xla issue
# 47381).
BY_PLATFORM = {"cpu": CPU, "tpu": TPU}


def for_platform(platform: str) -> Rewrites:
    """The forms for JAX's platform "cpu", "gpu" or "tpu"."""
    return BY_PLATFORM.get(platform, PLAIN)


def conv(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """The plain form: [B, H, W, C] to [B, H / stride, W / stride, F], odd kernel.

    The padding is explicit, half a kernel on every side: "SAME" would pad strided
    layers on one side only, a shift by a pixel from torch with the same shapes.
    """
    pad = kernel.shape[0] // 2
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=((pad, pad), (pad, pad)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def pointwise(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """`conv` with a kernel of 1 x 1."""
    return primitives.matmul(x[:, ::stride, ::stride], kernel[0, 0]).astype(x.dtype)


def conv3x3(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """`conv` with a kernel of 3 x 3 and a stride of 1 or 2.

    The form depends on the shapes and the type alone.
    """
    if stride == 1 and min(kernel.shape[2:]) <= NARROW:
        return conv(x, kernel, stride)
    return _conv3x3(x, kernel, stride)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv3x3(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    if stride == 2:
        return conv(x, kernel, stride)
    channels = x.shape[-1]
    larger_kernel = x.size < channels**2
    if larger_kernel or not _fits_squares(x):
        return _in_rows(x, kernel)
    if x.size > LARGE:
        return winograd.pairs(x, kernel)
    return winograd.squares(x, kernel)


def _conv3x3_forward(x: jax.Array, kernel: jax.Array, stride: int):
    return _conv3x3(x, kernel, stride), (x, kernel)


def _conv3x3_backward(stride: int, saved: tuple[jax.Array, jax.Array], dy: jax.Array):
    x, kernel = saved
    if stride == 2:
        dx = _strided_input_gradient(dy, kernel)
    elif _fits_squares(dy):
        dx = winograd.input_gradient(dy, kernel)
    else:
        dx = _in_rows(dy, jnp.flip(kernel, (0, 1)).swapaxes(2, 3))
    return dx, _weight_gradient(x, dy, stride)


_conv3x3.defvjp(_conv3x3_forward, _conv3x3_backward)


def _fits_squares(x: jax.Array) -> bool:
    """Whether Winograd's squares fit: in half precision its sums would be rounded."""
    return winograd.fits(x) and jnp.finfo(x.dtype).bits >= 32


def _in_rows(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """One product of each row's pixels, summed with the rows above and below."""
    channels, features = kernel.shape[2:]
    rows = kernel.transpose(1, 2, 0, 3).reshape(3 * channels, 3 * features)
    taps = jnp.split(
        primitives.matmul(primitives.stack_columns(x, 1), rows), 3, axis=-1
    )
    return primitives.sum_shifted(*taps, axis=1).astype(x.dtype)


def _weight_gradient(x: jax.Array, dy: jax.Array, stride: int) -> jax.Array:
    """[B, H, W, C] and the output's gradient [B, h, w, F] to [3, 3, C, F]."""
    channels, features = x.shape[-1], dy.shape[-1]

    def taps(x: jax.Array, *dys: jax.Array) -> jax.Array:
        """[3, C, taps, F]: by column of the kernel, then by row."""
        products = primitives.sum_outer_products(
            primitives.stack_columns(x, stride), jnp.concatenate(dys, axis=-1)
        )
        return products.reshape(3, channels, len(dys), features)

    later = primitives.shift(dy, -1, axis=1)
    if stride == 1:
        kernel = taps(x, later, dy, primitives.shift(dy, 1, axis=1))
    else:
        middle, outer = taps(x[:, ::2], dy), taps(x[:, 1::2], later, dy)
        kernel = jnp.concatenate([outer[:, :, :1], middle, outer[:, :, 1:]], axis=2)
    return kernel.transpose(2, 0, 1, 3).astype(x.dtype)


def _strided_input_gradient(dy: jax.Array, kernel: jax.Array) -> jax.Array:
    """[B, h, w, F] to [B, 2h, 2w, C]: each pixel of `dy` adds to 3 x 3 pixels."""

    def spread(first: jax.Array, second: jax.Array, third: jax.Array, axis: int):
        return primitives.interleave(
            second, primitives.shift(first, -1, axis) + third, axis
        )

    return _both_ways(_nine(dy, kernel.swapaxes(2, 3)), spread).astype(dy.dtype)


def upsampled_conv3x3(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`conv` of `x` upsampled to twice its size: [B, h, w, C] to [B, 2h, 2w, F].

    Nearest neighbours. Each pixel of `x` has nine products with the kernel's taps; each
    output pixel is a sum of some of them.
    """

    def spread(first: jax.Array, second: jax.Array, third: jax.Array, axis: int):
        even = primitives.shift(first, 1, axis) + second + third
        odd = first + second + primitives.shift(third, -1, axis)
        return primitives.interleave(even, odd, axis)

    return _both_ways(_nine(x, kernel), spread).astype(x.dtype)


def few_outputs_conv3x3(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`conv` with a kernel of 3 x 3: nine narrow products, then shifted sums."""
    return _both_ways(_nine(x, kernel), primitives.sum_shifted).astype(x.dtype)


def max_pool(x: jax.Array, size: int) -> jax.Array:
    """Largest of 2 x 2 or 3 x 3 pixels, [B, H, W, C] to [B, H / 2, W / 2, C].

    As in the plain form and in torch, the first of equal pixels gets the gradient, and
    a NaN is larger than any number.
    """
    for axis in (2, 1):
        before, even, odd = primitives.neighbours(x, 2, axis, outside=-math.inf)
        x = _first_largest(before, even) if size == 3 else even
        x = _first_largest(x, odd)
    return x


def _first_largest(first: jax.Array, second: jax.Array) -> jax.Array:
    return jnp.where((first >= second) | jnp.isnan(first), first, second)


def _nine(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Every pixel times every tap: [B, H, W, C] and [3, 3, C, F] to [B, H, W, 3, 3, F].

    The kernel's columns come before its rows.
    """
    channels, features = kernel.shape[2:]
    taps = kernel.transpose(2, 1, 0, 3).reshape(channels, 9 * features)
    return primitives.matmul(x, taps).reshape(*x.shape[:-1], 3, 3, features)


def _both_ways(taps: jax.Array, combine) -> jax.Array:
    """Combine the three taps of [B, H, W, 3, 3, F] along W, then along H."""
    x = combine(*(taps[:, :, :, tap] for tap in range(3)), axis=2)
    return combine(*(x[:, :, :, tap] for tap in range(3)), axis=1)
