"""What rewritten operations are made of: products, and maps moved by a pixel.

Maps are [B, H, W, C]; what lies outside of one is 0.
"""

import jax
import jax.numpy as jnp


def times(x: jax.Array, matrix: jax.Array) -> jax.Array:
    """[..., C] times [C, F], added up in float32 at least."""
    product = jax.lax.dot(
        x.reshape(-1, x.shape[-1]), matrix, preferred_element_type=_exact(x.dtype)
    )
    return product.reshape(*x.shape[:-1], matrix.shape[-1])


def sum_of_products(x: jax.Array, y: jax.Array) -> jax.Array:
    """Over all pixels: [B, H, W, C] and [B, H, W, F] to [C, F]."""
    pixels = ((0, 1, 2), (0, 1, 2))
    return jax.lax.dot_general(
        x, y, (pixels, ((), ())), preferred_element_type=_exact(x.dtype)
    )


def _exact(dtype: jnp.dtype) -> jnp.dtype:
    return jnp.promote_types(dtype, jnp.float32)


def beside(x: jax.Array, stride: int) -> jax.Array:
    """What a kernel's three columns see: [B, H, W, C] to [B, H, W / stride, 3 C]."""
    return jnp.concatenate(neighbours(x, stride, axis=2), axis=-1)


def neighbours(
    x: jax.Array, stride: int, axis: int, outside: float = 0.0
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """At stride * i: the pixel before, the pixel, and the one after."""
    if stride == 1:
        return moved(x, 1, axis, outside), x, moved(x, -1, axis, outside)
    even, odd = (jax.lax.slice_in_dim(x, first, None, stride, axis) for first in (0, 1))
    return moved(odd, 1, axis, outside), even, odd


def moved(x: jax.Array, by: int, axis: int, outside: float = 0.0) -> jax.Array:
    """`x` shifted along `axis`; what comes in is `outside`."""
    pads = [(0, 0, 0)] * x.ndim
    pads[axis] = (by, -by, 0)
    return jax.lax.pad(x, jnp.asarray(outside, x.dtype), pads)


def gathered(
    first: jax.Array, second: jax.Array, third: jax.Array, axis: int
) -> jax.Array:
    """What a pixel has of the one before it, of itself, and of the one after it."""
    return moved(first, 1, axis) + second + moved(third, -1, axis)


def interleaved(even: jax.Array, odd: jax.Array, axis: int) -> jax.Array:
    """Pixels of both by turns along `axis`, which becomes twice as long."""
    shape = list(even.shape)
    shape[axis] *= 2
    return jnp.stack([even, odd], axis=axis + 1).reshape(shape)
