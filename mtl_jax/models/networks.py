"""The table of networks: how each is built, checked and counted.

Input: a network's name, the configuration's `model` section, the tasks, and how many
structures are contoured. Output: a Flax module that is called as
`network(image, train=...)` with images [B, H, W, C] and returns
{task: [B, H, W, channels] float32}.

To add a network, write its file and add its row to `NETWORKS`
(docs/how-to/extend.md).
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from mtl_jax.core import errors
from mtl_jax.models import layers, multitask, operation_count, parameters
from mtl_jax.models.fast import rewrites

CONTOUR_HEADS = ("sigmoid", "softmax")

Network = nn.Module  # called as network(image, train=...)
Outputs = Mapping[str, int]  # task: channels of its output


def _accept(model: Any, outputs: Outputs) -> None:
    """The check of a network that can be built from any configuration."""


def _no_description(model: Any) -> str:
    return ""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A row of the table; `model` is the configuration's section of that name."""

    build: Callable[[Any, Outputs, layers.Numerics], Network]
    # Raises a ConfigError if the network cannot be built from `model`.
    check: Callable[[Any, Outputs], None] = _accept
    # Multiply-adds of a forward pass for one image; None: counted by tracing it.
    multiply_adds: Callable[[Any, Outputs, parameters.ImageShape], int] | None = None
    # The network's size in words, for the model card.
    describe: Callable[[Any], str] = _no_description


def _entry(kind: multitask.Kind) -> Entry:
    return Entry(kind.build, kind.check, kind.multiply_adds, multitask.describe)


_FAMILY = (
    #              name, tasks, attention, exchanged masks, bottleneck
    multitask.Kind("single", 1, False, False, False),
    multitask.Kind("hps", 2, False, False, False),
    multitask.Kind("mtan", 2, True, False, False),
    multitask.Kind("ctan_own_masks", 2, True, False, True),
    multitask.Kind("ctan_no_bottleneck", 2, True, True, False),
    multitask.Kind("ctan", 2, True, True, True),
)
NETWORKS: dict[str, Entry] = {kind.name: _entry(kind) for kind in _FAMILY}


def build(
    name: str,
    model: Any,
    *,
    tasks: Sequence[str],
    structures: int,
    numerics: layers.Numerics,
) -> Network:
    """The network called `name`, without variables (`parameters.initialise`).

    Raises:
        ConfigError: as `check`.
    """
    check(name, model, tasks=tasks, structures=structures)
    return NETWORKS[name].build(
        model, output_channels(model, tasks, structures), numerics
    )


def check(name: str, model: Any, *, tasks: Sequence[str], structures: int) -> None:
    """Check that the network called `name` can be built.

    Raises:
        ConfigError: an unknown network, contour head or task, or a value of `model`
            that the network cannot take.
    """
    if name not in NETWORKS:
        raise errors.ConfigError(
            f"unknown network {name!r}{errors.nearest(name, NETWORKS)}; "
            f"networks: {', '.join(NETWORKS)}"
        )
    NETWORKS[name].check(model, output_channels(model, tasks, structures))


def output_channels(
    model: Any, tasks: Sequence[str], structures: int
) -> dict[str, int]:
    """Channels of each task's output, in the order of `tasks`.

    Contours have a logit for each structure and, with the "softmax" head, one for the
    background before them. The dose has one channel.

    Raises:
        ConfigError: an unknown contour head or task.
    """
    if model.contour_head not in CONTOUR_HEADS:
        raise errors.ConfigError(
            f"unknown model.contour_head {model.contour_head!r}; "
            f"heads: {', '.join(CONTOUR_HEADS)}"
        )
    channels = {"contours": structures + (model.contour_head == "softmax"), "dose": 1}
    if unknown := [task for task in tasks if task not in channels]:
        raise errors.ConfigError(
            f"the tasks of a network are contours and dose, got {', '.join(unknown)}"
        )
    return {task: channels[task] for task in tasks}


def multiply_adds(
    name: str,
    model: Any,
    *,
    tasks: Sequence[str],
    structures: int,
    image_shape: parameters.ImageShape,
) -> int:
    """Multiply-adds of a forward pass for one image [H, W, C].

    Raises:
        ConfigError: as `check`.
    """
    check(name, model, tasks=tasks, structures=structures)
    outputs, entry = output_channels(model, tasks, structures), NETWORKS[name]
    if entry.multiply_adds is not None:
        return entry.multiply_adds(model, outputs, image_shape)
    plain = layers.Numerics(
        dtype=jnp.dtype(jnp.float32),
        axis_name=None,
        fast_variance=True,
        remat=False,
        rewrites=rewrites.PLAIN,
    )
    return operation_count.traced(entry.build(model, outputs, plain), image_shape)


def describe(name: str, model: Any) -> str:
    """The network's name and, if its row gives it, its size in words."""
    size = NETWORKS[name].describe(model)
    return f"{name}, {size}" if size else name
