"""The paper's family of networks: one encoder and, for each task, a U-Net decoder.

Input: images [B, H, W, C]. Output: {task: [B, H, W, channels] float32}. A `Kind` builds
a member of the family from the configuration, checks it and counts its operations.
Sources: Kim et al. 2024 and, for MTAN, Liu et al. 2019; docs/explanation/network.md.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
from flax import linen as nn

from mtl_jax.core import errors
from mtl_jax.models import attention, decoder, layers, operation_count, resnet

GAMMA = "gamma_"  # begins the name of a bottleneck's residual scale


class MultiTask(nn.Module):
    """Image [B, H, W, C] to {task: [B, H, W, channels] float32}; H, W multiples of 32.

    One encoder, one decoder and head per task. With `attention`, each task has its own
    view of the encoder's features (models/attention).
    """

    channels: tuple[tuple[str, int], ...]  # task, channels of its output
    stage_sizes: tuple[int, ...]
    width: int
    decoder_widths: tuple[int, ...]
    attention: bool
    cross_gating: bool
    attended_skips: bool
    bottleneck: bool
    bottleneck_width: int
    gamma_init: float
    image_skip: bool
    numerics: layers.Numerics

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> dict[str, jax.Array]:
        check_image(image.shape, len(self.decoder_widths))
        encoder = resnet.ResNet(
            self.stage_sizes, self.width, self.numerics, name="encoder"
        )
        features = encoder(image, train=train)
        views = self.attend(features, train=train)
        outputs = {}
        for task, channels in self.channels:
            *skips, deepest = views[task]
            skips = [*reversed(skips), features.stem, *([image] * self.image_skip)]
            decoded = decoder.Decoder(
                self.decoder_widths, self.numerics, name=f"decoder_{task}"
            )(deepest, skips, train=train)
            head = decoder.Head(channels, self.numerics, name=f"head_{task}")
            outputs[task] = head(decoded)
        return outputs

    def attend(
        self, features: resnet.Features, *, train: bool
    ) -> dict[str, list[jax.Array]]:
        """For each task's decoder the features [B, H, W, C] by stage, shallow first."""
        tasks = tuple(task for task, _ in self.channels)
        shared = [stage.after for stage in features.stages]
        if not self.attention:
            return dict.fromkeys(tasks, shared)
        attended = attention.AttentionEncoder(
            tasks, self.cross_gating, self.numerics, name="attention"
        )(features.stages, train=train)
        deepest = {task: attended[task][-1] for task in tasks}
        if self.bottleneck:
            deepest = attention.CrossTaskBottleneck(
                tasks,
                self.bottleneck_width,
                self.gamma_init,
                self.numerics,
                name="bottleneck",
            )(deepest)
        skips = attended if self.attended_skips else dict.fromkeys(tasks, shared)
        return {task: [*skips[task][:-1], deepest[task]] for task in tasks}


@dataclasses.dataclass(frozen=True)
class Kind:
    """A member of the family: how it differs from the others.

    `model` is the configuration's section of that name; `outputs` has the channels of
    each task's output. Attention's flags have no effect on a kind without attention.
    """

    name: str
    tasks: int
    attention: bool  # each task has its own view of the encoder's features
    # What the tasks exchange, if the configuration's flags of these names allow it.
    cross_gating: bool
    bottleneck: bool

    def build(
        self, model: Any, outputs: Mapping[str, int], numerics: layers.Numerics
    ) -> MultiTask:
        """The network, without variables."""
        return MultiTask(
            channels=tuple(outputs.items()),
            stage_sizes=tuple(model.stage_sizes),
            width=model.width,
            decoder_widths=tuple(model.decoder_widths),
            attention=self.attention,
            cross_gating=model.cross_gating and self.cross_gating,
            attended_skips=model.attended_skips,
            bottleneck=model.bottleneck and self.bottleneck,
            bottleneck_width=model.bottleneck_width,
            gamma_init=model.gamma_init,
            image_skip=model.image_skip,
            numerics=numerics,
        )

    def check(self, model: Any, outputs: Mapping[str, int]) -> None:
        """Check that the network can be built.

        Raises:
            ConfigError: the number of tasks, of stages or of blocks does not fit.
        """
        if len(outputs) != self.tasks:
            raise errors.ConfigError(
                f"network {self.name!r} needs {self.tasks} of the tasks contours and "
                f"dose, got {', '.join(outputs) or 'none'}"
            )
        if len(model.decoder_widths) != len(model.stage_sizes) + 1:
            raise errors.ConfigError(
                f"model.decoder_widths has {len(model.decoder_widths)} entries, "
                f"model.stage_sizes {len(model.stage_sizes)}; the decoder needs one "
                "block more than the encoder has stages, for the stem"
            )
        fewest = 2 if self.attention else 1
        if min(model.stage_sizes) < fewest:
            raise errors.ConfigError(
                f"model.stage_sizes is {tuple(model.stage_sizes)}, but network "
                f"{self.name!r} needs {fewest} or more blocks in every stage"
                + (": gates read the input of the last block" if self.attention else "")
            )

    def multiply_adds(
        self,
        model: Any,
        outputs: Mapping[str, int],
        image_shape: tuple[int, int, int],
    ) -> int:
        """Multiply-adds of a forward pass for one image [H, W, C]."""
        return operation_count.per_image(
            model,
            image_shape,
            tasks=self.tasks,
            logits=sum(outputs.values()),
            attention=self.attention,
            bottleneck=model.bottleneck and self.bottleneck,
        )


def describe(model: Any) -> str:
    """The size of a network of the family in words."""
    return f"encoder of width {model.width} and stages {tuple(model.stage_sizes)}"


def gammas(params: Mapping[str, Any]) -> dict[str, jax.Array]:
    """The bottleneck's residual scale of each task; {} without a bottleneck."""
    return {
        name.removeprefix(GAMMA): value
        for name, value in params.get("bottleneck", {}).items()
        if name.startswith(GAMMA)
    }


def check_image(shape: tuple[int, ...], halvings: int) -> None:
    """Check that an image of `shape` can be halved `halvings` times.

    Raises:
        ConfigError: it cannot.
    """
    multiple = 2**halvings
    if len(shape) != 4 or shape[1] % multiple or shape[2] % multiple:
        raise errors.ConfigError(
            f"the network's image has shape {shape}, expected [B, H, W, C] with H and "
            f"W multiples of {multiple}; set data.image_size accordingly"
        )
