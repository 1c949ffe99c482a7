"""U-Net decoder of segmentation_models.pytorch's layout, and the heads.

Input: an encoder's features. Output: [B, H, W, channels] float32, of the image's size.
"""

from collections.abc import Sequence

import jax
from flax import linen as nn

from mtl_jax.models import layers


class DecoderBlock(nn.Module):
    """Upsample, concatenate the skip, two 3x3 convolutions."""

    features: int
    numerics: layers.Numerics

    @nn.compact
    def __call__(self, x: jax.Array, *skip: jax.Array, train: bool) -> jax.Array:
        def norm(name: str) -> nn.Module:
            return layers.batch_norm(self.numerics, train=train, name=name)

        features, init = self.features, layers.HE_UNIFORM_INIT
        join = layers.JoiningConv(features, self.numerics, init, name="conv1")
        conv = layers.Conv(features, 3, self.numerics, init, name="conv2")
        x = nn.relu(norm("bn1")(join(x, *skip)))
        return nn.relu(norm("bn2")(conv(x)))


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
    """Decoder features [B, H, W, C] to unbounded logits [B, H, W, channels] float32."""

    channels: int
    numerics: layers.Numerics

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        logits = layers.Conv(
            self.channels,
            3,
            self.numerics,
            layers.GLOROT_INIT,
            use_bias=True,
            name="project",
        )(features)
        return logits.astype(self.numerics.output_dtype)
