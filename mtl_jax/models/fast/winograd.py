"""3x3 convolutions of stride 1 with fewer products: Winograd's minimal filtering.

Two neighbouring outputs of three taps each need four products, not six:

    y0 = m0 + m1 + m2        m0 = (x0 - x2) g0        m1 = (x1 + x2) (g0 + g1 + g2) / 2
    y1 = m1 - m2 - m3        m3 = (x1 - x3) g2        m2 = (x2 - x1) (g0 - g1 + g2) / 2

In both directions that is 16 instead of 36 for a square of 2 x 2. No factor exceeds 1,
so rounding errors are about those of the plain form. Source: F(2, 3) and
F(2 x 2, 3 x 3) of Lavin and Gray, "Fast algorithms for convolutional neural networks"
(CVPR 2016).

Input: feature maps [B, H, W, C] with even H and W, and kernels [3, 3, C, F].
Output: [B, H, W, F].
"""

from collections.abc import Iterable

import jax
import jax.numpy as jnp

from mtl_jax.models.fast import primitives

H, W = 1, 2  # axes of a feature map


def fits(x: jax.Array) -> bool:
    """Whether `x` consists of whole squares of 2 x 2 pixels."""
    return x.shape[H] % 2 == x.shape[W] % 2 == 0


def squares(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The convolution with 16 products for each square of 2 x 2 outputs."""
    return _squares(x, _for_squares(kernel))


def input_gradient(dy: jax.Array, kernel: jax.Array) -> jax.Array:
    """[B, H, W, F] to [B, H, W, C], with the matrices of `squares`.

    The kernel of the gradient is flipped, which swaps g0 and g2, and so the matrices.
    """
    matrices, flipped = _for_squares(kernel), (3, 1, 2, 0)
    return _squares(dy, [[matrices[i, j].T for j in flipped] for i in flipped])


def pairs(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The convolution with 12 products for each pair of outputs along W.

    Intermediate results are twice as large as `x`; in `squares` four times.
    """
    channels, features = kernel.shape[2:]
    matrices = _along(kernel, axis=1).transpose(1, 2, 0, 3)
    products = [
        primitives.matmul(part, matrix.reshape(channels, 3 * features))
        for part, matrix in zip(_parts(x, W), matrices, strict=True)
    ]
    rows = (jnp.split(product, 3, axis=-1) for product in products)
    return _outputs([primitives.sum_shifted(*three, axis=H) for three in rows], W)


def _squares(x: jax.Array, matrices: Iterable[Iterable[jax.Array]]) -> jax.Array:
    """`matrices`: 4 x 4 matrices [C, F], by row and by column."""
    return _outputs(
        [
            _outputs(
                [
                    primitives.matmul(*pair)
                    for pair in zip(_parts(part, W), row, strict=True)
                ],
                W,
            )
            for part, row in zip(_parts(x, H), matrices, strict=True)
        ],
        H,
    )


def _for_squares(kernel: jax.Array) -> jax.Array:
    """[3, 3, C, F] to the matrices [4, 4, C, F], by row and by column."""
    return _along(_along(kernel, axis=0), axis=1)


def _along(kernel: jax.Array, axis: int) -> jax.Array:
    """Three taps along `axis` to the four factors g0, ..., g2 of the products."""
    first, middle, last = jnp.split(kernel, 3, axis)
    ends, middle = (first + last) / 2, middle / 2
    return jnp.concatenate([first, ends + middle, ends - middle, last], axis)


def _parts(x: jax.Array, axis: int) -> tuple[jax.Array, ...]:
    """For each pair of pixels along `axis`, the other factors of its four products."""
    before, even, odd = primitives.neighbours(x, 2, axis)
    after = primitives.shift(even, -1, axis)
    return before - odd, even + odd, odd - even, even - after


def _outputs(products: list[jax.Array], axis: int) -> jax.Array:
    """The outputs y0 and y1 of each pair, in order along `axis`."""
    first, second, third, fourth = products
    return primitives.interleave(first + second + third, second - third - fourth, axis)
