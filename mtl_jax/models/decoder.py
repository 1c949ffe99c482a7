"""U-Net decoder of segmentation_models.pytorch's layout, and the heads.

Input: an encoder's features. Output: [B, H, W, channels] float32, of the image's size.
"""

from collections.abc import Sequence

import jax
from flax import linen as nn

from mtl_jax.models import layers
from mtl_jax.models.fast import phases


class DecoderBlock(nn.Module):
    """Upsample, concatenate the skip, two 3x3 convolutions."""

    features: int
    numerics: layers.Numerics
    by_phase: bool = False  # the result is phases (models/fast/phases)

    @nn.compact
    def __call__(self, x: jax.Array, *skip: jax.Array, train: bool) -> jax.Array:
        def norm(name: str) -> nn.Module:
            return layers.batch_norm(
                self.numerics, train=train, name=name, by_phase=self.by_phase
            )

        by_phase = self.by_phase
        features, init = self.features, layers.HE_UNIFORM_INIT
        join = layers.JoiningConv(
            features, self.numerics, init, by_phase=by_phase, name="conv1"
        )
        conv = layers.Conv(
            features, 3, self.numerics, init, by_phase=by_phase, name="conv2"
        )
        x = nn.relu(norm("bn1")(join(x, *skip)))
        return nn.relu(norm("bn2")(conv(x)))


class Decoder(nn.Module):
    """Deepest features [B, h, w, C] and skips, deepest first, to [B, H, W, widths[-1]].

    Blocks beyond the number of skips have none. If the numerics say so, the result is
    phases, [B, H / 2, W / 2, 4 widths[-1]], as `Head` then expects them.
    """

    widths: tuple[int, ...]
    numerics: layers.Numerics

    @nn.compact
    def __call__(
        self, x: jax.Array, skips: Sequence[jax.Array], *, train: bool
    ) -> jax.Array:
        last = len(self.widths) - 1
        for index, width in enumerate(self.widths):
            block = DecoderBlock(
                width,
                self.numerics,
                by_phase=self.numerics.rewrites.phases and index == last,
                name=f"block{index + 1}",
            )
            skip = skips[index : index + 1]
            x = layers.call(block, x, *skip, train=train, numerics=self.numerics)
        return x


class Head(nn.Module):
    """Decoder features [B, H, W, C] to unbounded logits [B, H, W, channels] float32."""

    channels: int
    numerics: layers.Numerics

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        by_phase = self.numerics.rewrites.phases
        logits = layers.Conv(
            self.channels,
            3,
            self.numerics,
            layers.GLOROT_INIT,
            use_bias=True,
            by_phase=by_phase,
            name="project",
        )(features)
        logits = logits.astype(self.numerics.output_dtype)
        return phases.to_pixels(logits) if by_phase else logits
