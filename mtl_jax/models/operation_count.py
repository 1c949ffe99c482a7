"""Operations of a network, counted from its configuration: convolutions and products.

What an implementation saves or adds changes nothing here, so that shares of the peak
can be compared. Batch normalisation and the like are left out: 1-2 %.
"""

from typing import Any

EXPANSION, REDUCTION = 4, 4  # of a bottleneck's output, of a gate's middle


def per_image(config: Any, network: str, tasks: int, logits: int, channels: int) -> int:
    """Multiply-adds of a forward pass for one image of `config.data.image_size`.

    Args:
        config: a run's configuration.
        network: one of `multitask.NETWORKS`.
        tasks: how many decoders there are.
        logits: channels of all outputs together.
        channels: of the image.
    """
    height, width = config.data.image_size
    pixels, model = height * width, config.model
    found = encoder(model, pixels, channels)
    if network in ("mtan", "ctan"):
        found += tasks * attention(model, pixels)
    if network == "ctan" and model.bottleneck:
        found += tasks * cross_task(model, pixels)
    found += tasks * decoder(model, pixels)
    return found + 9 * model.decoder_widths[-1] * logits * pixels


def training_step(forward: int) -> int:
    """Operations of a training step, from a forward pass's multiply-adds.

    Each multiply-add is two operations; the gradients of weights and of inputs cost as
    much as the forward pass, each.
    """
    return 3 * 2 * forward


def widths(model: Any) -> list[int]:
    """Channels of each stage's output."""
    return [EXPANSION * model.width * 2**s for s in range(len(model.stage_sizes))]


def bottleneck(entering: int, width: int, pixels: int, *, stride: int, first: bool):
    """1x1, 3x3 with the stride, 1x1; `pixels` go out; `first` has a projection."""
    features = EXPANSION * width
    found = entering * width * pixels * stride**2
    found += 9 * width * width * pixels + width * features * pixels
    return found + first * entering * features * pixels


def encoder(model: Any, pixels: int, channels: int) -> int:
    """The ResNet of an image of `pixels`."""
    found, entering = 49 * channels * model.width * (pixels // 4), model.width
    for stage, blocks in enumerate(model.stage_sizes):
        width, seen = model.width * 2**stage, pixels // 4 ** (stage + 2)
        for block in range(blocks):
            stride = 2 if block == 0 and stage > 0 else 1
            found += bottleneck(entering, width, seen, stride=stride, first=block == 0)
            entering = EXPANSION * width
    return found


def attention(model: Any, pixels: int) -> int:
    """One task's gates, and the blocks that carry its features on."""
    found, stages = 0, widths(model)
    for stage, features in enumerate(stages):
        seen = pixels // 4 ** (stage + 2)
        entering = features if stage == 0 else 2 * features
        middle = features // REDUCTION
        found += (entering + features) * middle * seen
        if stage < len(stages) - 1:
            narrow = 2 * features // EXPANSION
            found += bottleneck(features, narrow, seen, stride=1, first=True)
    return found


def cross_task(model: Any, pixels: int) -> int:
    """One task's attention to the other's deepest features."""
    deepest, width = widths(model)[-1], model.bottleneck_width
    seen = pixels // 4 ** (len(model.stage_sizes) + 1)
    return 4 * deepest * width * seen + 2 * seen * seen * width


def decoder(model: Any, pixels: int) -> int:
    """One task's decoder, without its head."""
    *skips, entering = widths(model)
    found, joined = 0, [*reversed(skips), model.width, 0]
    for block, (width, skip) in enumerate(
        zip(model.decoder_widths, joined, strict=True)
    ):
        seen = pixels // 4 ** (len(joined) - 1 - block)
        found += 9 * (entering + skip + width) * width * seen
        entering = width
    return found
