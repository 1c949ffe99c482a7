"""Building blocks of the fast forms: matrix products, and shifts by a pixel.

Input and output: feature maps [B, H, W, C]. Pixels outside of a map are 0.
"""

import functools

import jax
import jax.numpy as jnp


def matmul(x: jax.Array, matrix: jax.Array) -> jax.Array:
    """[..., C] times [C, F] to [..., F], accumulated in float32 or better."""
    product = einsum("pc,cf->pf", x.reshape(-1, x.shape[-1]), matrix)
    return product.reshape(*x.shape[:-1], matrix.shape[-1])


def sum_outer_products(x: jax.Array, y: jax.Array) -> jax.Array:
    """Sum over all pixels: [B, H, W, C] and [B, H, W, F] to [C, F]."""
    return einsum("bhwc,bhwf->cf", x, y)


def einsum(formula: str, x: jax.Array, y: jax.Array) -> jax.Array:
    """The product of `x` and `y`, both of one type, in float32 or better.

    Each axis is in two of the three arrays. The product of halves is float32, and so
    would be its gradient: the backward products would have a float32 operand, at half
    the rate or less. They get the gradient rounded to a half, as every other layer
    does, and are again accumulated in float32.
    """
    if accumulator(x.dtype) == x.dtype:
        return jnp.einsum(formula, x, y, preferred_element_type=x.dtype)
    return _product_of_halves(formula, x, y)


def accumulator(dtype: jnp.dtype) -> jnp.dtype:
    """The type of sums of products of `dtype`: float32 or better."""
    return jnp.promote_types(dtype, jnp.float32)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _product_of_halves(formula: str, x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.einsum(formula, x, y, preferred_element_type=accumulator(x.dtype))


def _product_forward(formula: str, x: jax.Array, y: jax.Array):
    return _product_of_halves(formula, x, y), (x, y)


def _product_backward(formula: str, saved: tuple[jax.Array, jax.Array], dz: jax.Array):
    (x, y), dz = saved, dz.astype(saved[0].dtype)
    first, second, product = formula.replace("->", ",").split(",")

    def multiply(formula: str, *pair: jax.Array) -> jax.Array:
        wide = jnp.einsum(formula, *pair, preferred_element_type=accumulator(x.dtype))
        return wide.astype(x.dtype)

    dx = multiply(f"{product},{second}->{first}", dz, y)
    dy = multiply(f"{first},{product}->{second}", x, dz)
    return dx, dy


_product_of_halves.defvjp(_product_forward, _product_backward)


def stack_columns(x: jax.Array, stride: int) -> jax.Array:
    """The pixels under a kernel's three columns as channels.

    [B, H, W, C] to [B, H, W / stride, 3 C].
    """
    return jnp.concatenate(neighbours(x, stride, axis=2), axis=-1)


def neighbours(
    x: jax.Array, stride: int, axis: int, outside: float = 0.0
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """For each pixel at stride * i along `axis`: the one before, itself, the one after.

    `outside` is the value beyond the border.
    """
    if stride == 1:
        return shift(x, 1, axis, outside), x, shift(x, -1, axis, outside)
    even, odd = (jax.lax.slice_in_dim(x, first, None, stride, axis) for first in (0, 1))
    return shift(odd, 1, axis, outside), even, odd


def shift(x: jax.Array, by: int, axis: int, outside: float = 0.0) -> jax.Array:
    """`x` shifted by `by` pixels along `axis`; the gap is filled with `outside`."""
    pads = [(0, 0, 0)] * x.ndim
    pads[axis] = (by, -by, 0)
    return jax.lax.pad(x, jnp.asarray(outside, x.dtype), pads)


def sum_shifted(
    first: jax.Array, second: jax.Array, third: jax.Array, axis: int
) -> jax.Array:
    """Sum of `first` at the previous pixel, `second`, and `third` at the next one."""
    return shift(first, 1, axis) + second + shift(third, -1, axis)


def interleave(even: jax.Array, odd: jax.Array, axis: int) -> jax.Array:
    """The pixels of `even` and `odd` in turn; `axis` becomes twice as long."""
    shape = list(even.shape)
    shape[axis] *= 2
    return jnp.stack([even, odd], axis=axis + 1).reshape(shape)
