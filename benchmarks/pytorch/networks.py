"""The networks in PyTorch: image [B, C, H, W] to {task: [B, channels, H, W]}.

Written independently of `mtl_jax.models`, so that each can be checked against the
other; `weights` converts the parameters.
"""

import types
from collections.abc import Sequence

import torch
from torch import nn

from benchmarks.pytorch import modules
from mtl_jax.models import networks as flax_networks


class MultiTask(nn.Module):
    """One encoder; a decoder and a head per task, and with attention its own view."""

    def __init__(
        self,
        outputs: dict[str, int],  # task: channels
        *,
        channels: int,
        stage_sizes: Sequence[int],
        width: int,
        decoder_widths: Sequence[int],
        attention: bool,
        cross_gating: bool,
        attended_skips: bool,
        bottleneck_width: int,  # 0: no bottleneck
        gamma_init: float,
        image_skip: bool,
    ):
        super().__init__()
        tasks = tuple(outputs)
        widths = [
            modules.EXPANSION * width * 2**stage for stage in range(len(stage_sizes))
        ]
        skips = [*reversed(widths[:-1]), width, image_skip * channels]
        self.image_skip = image_skip
        self.multiple = 2 ** len(decoder_widths)
        self.attended_skips = attended_skips
        self.encoder = modules.ResNet(channels, stage_sizes, width)
        self.attention = self.bottleneck = None
        if attention:
            self.attention = modules.AttentionEncoder(tasks, widths, cross_gating)
        if attention and bottleneck_width:
            self.bottleneck = modules.CrossTaskBottleneck(
                tasks, widths[-1], bottleneck_width, gamma_init
            )
        self.decoder = nn.ModuleDict(
            {task: modules.Decoder(widths[-1], skips, decoder_widths) for task in tasks}
        )
        self.head = nn.ModuleDict(
            {task: modules.Head(decoder_widths[-1], outputs[task]) for task in tasks}
        )

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Image [B, C, H, W] to {task: [B, channels, H, W]}, float32 or better.

        Raises:
            ValueError: H or W cannot be halved as often as the decoder doubles them.
        """
        if image.shape[2] % self.multiple or image.shape[3] % self.multiple:
            raise ValueError(
                f"the image has shape {tuple(image.shape)}, expected [B, C, H, W] with "
                f"H and W multiples of {self.multiple}"
            )
        stem, stages = self.encoder(image)
        whole = [after for _, after in stages]
        shared = {task: whole for task in self.decoder}
        views = shared if self.attention is None else self.attention(stages)
        deepest = {task: features[-1] for task, features in views.items()}
        if self.bottleneck is not None:
            deepest = self.bottleneck(deepest)
        skips = views if self.attended_skips else shared
        last = image if self.image_skip else None
        return {
            task: self.head[task](
                decoder(deepest[task], [*reversed(skips[task][:-1]), stem, last])
            )
            for task, decoder in self.decoder.items()
        }


def build_network(
    *,
    network: str,
    tasks: Sequence[str],
    structures: int,
    channels: int = 1,
    stage_sizes: Sequence[int],
    width: int,
    decoder_widths: Sequence[int],
    cross_gating: bool,
    attended_skips: bool,
    bottleneck: bool,
    bottleneck_width: int,
    gamma_init: float,
    image_skip: bool,
    contour_head: str,
) -> MultiTask:
    """The network called `network` with random weights, for images of `channels`.

    The arguments are keys of the configuration's `model` section, the tasks, and how
    many structures are contoured; the weights have the distributions of `mtl_jax`.

    Raises:
        ConfigError: a network, head or size that cannot be built.
    """
    model = types.SimpleNamespace(
        contour_head=contour_head,
        stage_sizes=stage_sizes,
        decoder_widths=decoder_widths,
    )
    flax_networks.check(network, model, tasks=tasks, structures=structures)
    crossed = network == "ctan"
    built = MultiTask(
        flax_networks.output_channels(model, tasks, structures),
        channels=channels,
        stage_sizes=stage_sizes,
        width=width,
        decoder_widths=decoder_widths,
        attention=network in ("mtan", "ctan"),
        cross_gating=crossed and cross_gating,
        attended_skips=attended_skips,
        bottleneck_width=bottleneck_width if crossed and bottleneck else 0,
        gamma_init=gamma_init,
        image_skip=image_skip,
    )
    initialise(built)
    return built


def initialise(network: MultiTask) -> None:
    """Draw the weights as torchvision and segmentation_models.pytorch do.

    Attention keeps torch's own distribution, and every bias starts at 0.
    """
    for name, module in network.named_modules():
        if not isinstance(module, nn.Conv2d):
            continue
        if name.startswith("encoder."):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif name.startswith("decoder."):
            nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
        elif name.startswith("head."):
            nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
