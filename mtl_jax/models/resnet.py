"""ResNet encoder of torchvision's layout (He et al. 2016, with the stride on the 3x3).

Input: images [B, H, W, C]. Output: features at 1/2, 1/4, ... of their size.
"""

from typing import NamedTuple

import jax
from flax import linen as nn

from mtl_jax.models import layers

EXPANSION = 4  # a bottleneck's output is 4 times as wide as its 3x3 convolution


class Stage(NamedTuple):
    """Features of one stage, [B, H, W, C]."""

    before: jax.Array  # input of the last bottleneck
    after: jax.Array  # its output


class Features(NamedTuple):
    """The encoder's features of images [B, H, W, C]."""

    stem: jax.Array  # [B, H/2, W/2, width]
    stages: tuple[Stage, ...]  # at 1/4, 1/8, ...; widths 4, 8, 16, 32 times `width`


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1 convolutions beside a shortcut."""

    width: int
    stride: int
    project: bool  # a 1x1 convolution on the shortcut
    numerics: layers.Numerics
    kernel_init: layers.KernelInit = layers.RESNET_INIT

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        def conv(features: int, kernel_size: int, stride: int, name: str) -> nn.Module:
            return layers.Conv(
                features,
                kernel_size,
                self.numerics,
                self.kernel_init,
                stride=stride,
                name=name,
            )

        def norm(name: str) -> nn.Module:
            return layers.batch_norm(self.numerics, train=train, name=name)

        features = EXPANSION * self.width
        y = nn.relu(norm("bn1")(conv(self.width, 1, 1, "conv1")(x)))
        y = nn.relu(norm("bn2")(conv(self.width, 3, self.stride, "conv2")(y)))
        y = norm("bn3")(conv(features, 1, 1, "conv3")(y))
        if self.project:
            x = conv(features, 1, self.stride, "downsample_conv")(x)
            x = norm("downsample_bn")(x)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """ResNet of bottlenecks without its classifier; names are torchvision's."""

    stage_sizes: tuple[int, ...]  # bottlenecks of each stage
    width: int  # of the stem and of the first stage's bottlenecks
    numerics: layers.Numerics

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Features:
        stem = layers.Conv(
            self.width, 7, self.numerics, layers.RESNET_INIT, stride=2, name="conv1"
        )(image)
        stem = nn.relu(layers.batch_norm(self.numerics, train=train, name="bn1")(stem))
        x = layers.max_pool(stem, 3, self.numerics.rewrites)
        stages = []
        for stage, blocks in enumerate(self.stage_sizes):
            before = x
            for block in range(blocks):
                before = x
                first = block == 0
                bottleneck = Bottleneck(
                    self.width * 2**stage,
                    stride=2 if first and stage > 0 else 1,
                    project=first,
                    numerics=self.numerics,
                    name=f"layer{stage + 1}_{block}",
                )
                x = layers.call(bottleneck, x, train=train, numerics=self.numerics)
            stages.append(Stage(before, x))
        return Features(stem, tuple(stages))
