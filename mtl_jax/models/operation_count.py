"""Multiply-adds of a network: convolutions and matrix products.

Input: the configuration's `model` section, or a Flax module. Output: a whole number.
The count does not depend on how an implementation computes a layer, so shares of a
device's peak can be compared. Batch normalisation and the like (1-2 %) are left out.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

EXPANSION, REDUCTION = 4, 4  # of a bottleneck's output, of a gate's middle


def per_image(
    model: Any,
    image_shape: tuple[int, int, int],
    *,
    tasks: int,
    logits: int,
    attention: bool,
    bottleneck: bool,
) -> int:
    """Multiply-adds of a forward pass of the family's network for one image.

    Args:
        model: the configuration's section of that name.
        image_shape: H, W, C of the image.
        tasks: how many decoders there are.
        logits: channels of all outputs together.
        attention: whether each task has gates, as `multitask.Kind` says.
        bottleneck: whether a bottleneck exchanges the tasks' features.
    """
    height, width, channels = image_shape
    pixels = height * width
    total = encoder(model, pixels, channels)
    if attention:
        total += tasks * gates(model, pixels)
    if bottleneck:
        total += tasks * cross_attention(model, pixels)
    total += tasks * decoder(model, pixels, channels)
    return total + 9 * model.decoder_widths[-1] * logits * pixels


def traced(network: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """Multiply-adds of any network's forward pass for one image [H, W, C].

    The network is traced but not run; a loop's body counts once an iteration.
    """
    image = jnp.zeros((1, *image_shape), jnp.float32)
    variables = jax.eval_shape(
        lambda key: network.init(key, image, train=False), jax.random.key(0)
    )
    program = jax.make_jaxpr(lambda v: network.apply(v, image, train=False))(variables)
    return _in_program(program.jaxpr)


def _in_program(program: Any) -> int:
    total = 0
    for equation in program.eqns:
        if equation.primitive.name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            features = equation.params["dimension_numbers"].rhs_spec[0]
            total += _size(equation) * math.prod(kernel) // kernel[features]
        elif equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            total += _size(equation) * math.prod(shape[axis] for axis in contracted)
        repeats = equation.params.get("length", 1)
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple) else (value,):
                inner = getattr(inner, "jaxpr", inner)  # of a closed one
                total += repeats * _in_program(inner) if hasattr(inner, "eqns") else 0
    return total


def _size(equation: Any) -> int:
    return math.prod(equation.outvars[0].aval.shape)


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
    """1x1, 3x3 with the stride, 1x1; `pixels` of output; `first` has a projection."""
    features = EXPANSION * width
    total = entering * width * pixels * stride**2
    total += 9 * width * width * pixels + width * features * pixels
    return total + first * entering * features * pixels


def encoder(model: Any, pixels: int, channels: int) -> int:
    """The ResNet of an image of `pixels`."""
    total, entering = 49 * channels * model.width * (pixels // 4), model.width
    for stage, blocks in enumerate(model.stage_sizes):
        width, size = model.width * 2**stage, pixels // 4 ** (stage + 2)
        for block in range(blocks):
            stride = 2 if block == 0 and stage > 0 else 1
            total += bottleneck(entering, width, size, stride=stride, first=block == 0)
            entering = EXPANSION * width
    return total


def gates(model: Any, pixels: int) -> int:
    """One task's gates, and the blocks between them."""
    total, stages = 0, widths(model)
    for stage, features in enumerate(stages):
        seen = pixels // 4 ** (stage + 2)
        entering = features if stage == 0 else 2 * features
        middle = features // REDUCTION
        total += (entering + features) * middle * seen
        if stage < len(stages) - 1:
            narrow = 2 * features // EXPANSION
            total += bottleneck(features, narrow, seen, stride=1, first=True)
    return total


def cross_attention(model: Any, pixels: int) -> int:
    """One task's attention to the other's deepest features."""
    deepest, width = widths(model)[-1], model.bottleneck_width
    seen = pixels // 4 ** (len(model.stage_sizes) + 1)
    return 4 * deepest * width * seen + 2 * seen * seen * width


def decoder(model: Any, pixels: int, channels: int) -> int:
    """One task's decoder for an image of `pixels` and `channels`, without its head."""
    *skips, entering = widths(model)
    total, joined = 0, [*reversed(skips), model.width, model.image_skip * channels]
    for block, (width, skip) in enumerate(
        zip(model.decoder_widths, joined, strict=True)
    ):
        seen = pixels // 4 ** (len(joined) - 1 - block)
        total += 9 * (entering + skip + width) * width * seen
        entering = width
    return total
