"""Maps with their squares of 2 x 2 pixels as channels, and kernels for them.

A map [B, 2H, 2W, C] is kept as [B, H, W, 4 C]: first the C channels of the upper left
pixel of each square, its phase 0, then those of the upper right, lower left and lower
right one. Few channels fill only a part of a TPU's 128 lanes; four times as many fill
more. A 3x3 convolution of the map is one of its phases, with a larger kernel of which
many taps are 0, and has the same values and gradients.
"""

import jax
import jax.numpy as jnp

PHASES = 4


def from_pixels(x: jax.Array) -> jax.Array:
    """[B, 2H, 2W, C] to [B, H, W, 4 C]."""
    batch, height, width, channels = x.shape
    squares = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    squares = squares.transpose(0, 1, 3, 2, 4, 5)
    return squares.reshape(batch, height // 2, width // 2, PHASES * channels)


def to_pixels(x: jax.Array) -> jax.Array:
    """[B, H, W, 4 C] to [B, 2H, 2W, C]."""
    batch, height, width, channels = x.shape
    squares = x.reshape(batch, height, width, 2, 2, channels // PHASES)
    squares = squares.transpose(0, 1, 3, 2, 4, 5)
    return squares.reshape(batch, 2 * height, 2 * width, channels // PHASES)


def kernel_of_phases(kernel: jax.Array) -> jax.Array:
    """[3, 3, C, F] to [3, 3, 4 C, 4 F], from the phases to the phases of the result."""
    channels, features = kernel.shape[2:]
    taps = _by_phase(kernel).transpose(2, 4, 3, 5, 6, 0, 1, 7)
    return taps.reshape(3, 3, PHASES * channels, PHASES * features)


def kernel_of_enlarged(kernel: jax.Array) -> jax.Array:
    """[3, 3, C, F] to [3, 3, C, 4 F], for a map that is to be enlarged first.

    By nearest neighbours: all phases of the enlarged map are the map itself.
    """
    channels, features = kernel.shape[2:]
    taps = _by_phase(kernel).sum((3, 5)).transpose(2, 3, 4, 0, 1, 5)
    return taps.reshape(3, 3, channels, PHASES * features)


def _by_phase(kernel: jax.Array) -> jax.Array:
    """[3, 3, C, F] to [oy, ox, dy, iy, dx, ix, C, F].

    A tap that the phase (oy, ox) of the result has at the phase (iy, ix) of the map, dy
    squares below and dx to the right, counted from the one above and to the left. Along
    an axis the three taps of phase 0 are at iy = 1 of the square before, and at 0 and 1
    of its own; those of phase 1 are one pixel on.
    """

    def along(kernel: jax.Array, axis: int) -> jax.Array:
        """A new first axis, and six pixels of three squares along `axis`."""
        pads = [[(0, 0)] * kernel.ndim for _ in range(2)]
        pads[0][axis], pads[1][axis] = (1, 2), (2, 1)
        return jnp.stack([jnp.pad(kernel, each) for each in pads])

    # Columns first: then rows are the axis after the new one, and come out before it.
    taps = along(along(kernel, axis=1), axis=1)
    return taps.reshape(2, 2, 3, 2, 3, 2, *kernel.shape[2:])
