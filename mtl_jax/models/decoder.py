"""U-Net decoder and heads: features of an encoder to a map of the image's size."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.nn import initializers

from mtl_jax.models import layers


def upsample(x: jax.Array) -> jax.Array:
    """Nearest neighbours, twice the size: [B, H, W, C] -> [B, 2H, 2W, C]."""
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


class DecoderBlock(nn.Module):
    """Upsample, join the skip, two 3x3 convolutions."""

    features: int
    numerics: layers.Numerics

    @nn.compact
    def __call__(self, x: jax.Array, *skip: jax.Array, train: bool) -> jax.Array:
        x = jnp.concatenate([upsample(x), *skip], axis=-1)
        for index in (1, 2):
            conv = layers.Conv(
                self.features,
                3,
                self.numerics,
                layers.HE_UNIFORM_INIT,
                name=f"conv{index}",
            )
            norm = layers.batch_norm(self.numerics, train=train, name=f"bn{index}")
            x = nn.relu(norm(conv(x)))
        return x


class Decoder(nn.Module):
    """Deepest features [B, h, w, C] and skips, deepest first, to [B, H, W, widths[-1]].

    Blocks beyond the number of skips have none.
    """

    widths: tuple[int, ...]
    numerics: layers.Numerics

    @nn.compact
    def __call__(
        self, x: jax.Array, skips: Sequence[jax.Array], *, train: bool
    ) -> jax.Array:
        for index, width in enumerate(self.widths):
            block = DecoderBlock(width, self.numerics, name=f"block{index + 1}")
            skip = skips[index : index + 1]
            x = layers.call(block, x, *skip, train=train, numerics=self.numerics)
        return x


class Head(nn.Module):
    """Decoder features [B, H, W, C] to an unbounded map [B, H, W, channels] float32."""

    channels: int
    numerics: layers.Numerics

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        logits = layers.Conv(
            self.channels,
            3,
            self.numerics,
            initializers.glorot_uniform(),
            use_bias=True,
            name="project",
        )(features)
        return logits.astype(self.numerics.output_dtype)
