"""Parts of the networks in PyTorch: encoder, attention, decoder, head.

Input and output: features [B, C, H, W]. The modules are named as in `mtl_jax.models`,
with a dot for an underscore: torchvision's names in the encoder, and the parts of a
task under the task's name.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

EXPANSION = 4  # a bottleneck's output is 4 times as wide as its 3x3 convolution
GATE_REDUCTION = 4  # a gate's middle is this much narrower than its output


def conv(
    channels: int, features: int, size: int, *, stride: int = 1, bias: bool = False
) -> nn.Conv2d:
    """[B, channels, H, W] to [B, features, H / stride, W / stride]; odd `size`."""
    return nn.Conv2d(
        channels, features, size, stride=stride, padding=size // 2, bias=bias
    )


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1 convolutions beside a shortcut."""

    def __init__(self, channels: int, width: int, *, stride: int, project: bool):
        super().__init__()
        features = EXPANSION * width
        self.conv1 = conv(channels, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3, stride=stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv(width, features, 1)
        self.bn3 = nn.BatchNorm2d(features)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = (
            nn.Sequential(
                conv(channels, features, 1, stride=stride), nn.BatchNorm2d(features)
            )
            if project
            else nn.Identity()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, channels, H, W] to [B, 4 width, H / stride, W / stride]."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += self.downsample(x)
        return self.relu(y)


class ResNet(nn.Module):
    """Encoder of torchvision's layout and names, without the classifier."""

    def __init__(self, channels: int, stage_sizes: Sequence[int], width: int):
        super().__init__()
        self.conv1 = conv(channels, width, 7, stride=2)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.stages = [f"layer{stage + 1}" for stage in range(len(stage_sizes))]
        entering = width
        for stage, blocks in enumerate(stage_sizes):
            stage_width = width * 2**stage
            layer = nn.Sequential()
            for block in range(blocks):
                stride = 2 if block == 0 and stage > 0 else 1
                layer.append(
                    Bottleneck(entering, stage_width, stride=stride, project=block == 0)
                )
                entering = EXPANSION * stage_width
            self.add_module(self.stages[stage], layer)

    def forward(
        self, image: torch.Tensor
    ) -> tuple[torch.Tensor, list[tuple[torch.Tensor, torch.Tensor]]]:
        """The stem [B, width, H/2, W/2], and input and output of each stage's last
        bottleneck, [B, C, h, w], at 1/4, 1/8, ... of the image's size.
        """
        stem = self.relu(self.bn1(self.conv1(image)))
        x = self.maxpool(stem)
        stages = []
        for stage in self.stages:
            before = x
            for block in getattr(self, stage):
                before, x = x, block(x)
            stages.append((before, x))
        return stem, stages


class Gate(nn.Module):
    """Features [B, channels, H, W] to a mask [B, features, H, W] in (0, 1)."""

    def __init__(self, channels: int, features: int):
        super().__init__()
        middle = features // GATE_REDUCTION
        self.conv1 = conv(channels, middle, 1, bias=True)
        self.bn1 = nn.BatchNorm2d(middle)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv(middle, features, 1, bias=True)
        self.bn2 = nn.BatchNorm2d(features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The mask."""
        x = self.relu(self.bn1(self.conv1(x)))
        return torch.sigmoid(self.bn2(self.conv2(x)))


class AttentionEncoder(nn.Module):
    """MTAN's gates, one per task and stage, and the blocks between them.

    A gate reads the input of the stage's last bottleneck and, from the second stage on,
    the task's features of the previous stage after a bottleneck shared by the tasks.
    """

    def __init__(self, tasks: Sequence[str], widths: Sequence[int], cross_gating: bool):
        super().__init__()
        self.tasks = tuple(tasks)
        self.sources = dict(
            zip(tasks, reversed(tasks) if cross_gating else tasks, strict=True)
        )
        self.depth = len(widths)
        for stage, features in enumerate(widths, start=1):
            channels = features if stage == 1 else 2 * features
            gates = {task: Gate(channels, features) for task in tasks}
            self.add_module(f"gate{stage}", nn.ModuleDict(gates))
            if stage < self.depth:
                block = Bottleneck(
                    features, 2 * features // EXPANSION, stride=1, project=True
                )
                self.add_module(f"block{stage}", block)

    def forward(
        self, stages: Sequence[tuple[torch.Tensor, torch.Tensor]]
    ) -> dict[str, list[torch.Tensor]]:
        """Each task's features of each stage, of the shape of the stage's output."""
        attended: dict[str, list[torch.Tensor]] = {task: [] for task in self.tasks}
        inputs = {task: stages[0][0] for task in self.tasks}
        for stage, (_, after) in enumerate(stages, start=1):
            gates = getattr(self, f"gate{stage}")
            masks = {task: gates[task](inputs[task]) for task in self.tasks}
            for task in self.tasks:
                attended[task].append(masks[self.sources[task]] * after)
            if stage < self.depth:
                block = getattr(self, f"block{stage}")
                before = stages[stage][0]
                for task in self.tasks:
                    carried = functional.max_pool2d(block(attended[task][-1]), 2)
                    inputs[task] = torch.cat([before, carried], dim=1)
        return attended


class CrossTaskBottleneck(nn.Module):
    """Each task's deepest features attend to the other task's: x + gamma * attention.

    One head over all positions; query from the task, key and value from the other.
    """

    def __init__(
        self, tasks: Sequence[str], channels: int, width: int, gamma_init: float
    ):
        super().__init__()
        self.others = dict(zip(tasks, reversed(tasks), strict=True))

        def project(channels: int, features: int) -> nn.ModuleDict:
            convs = {task: conv(channels, features, 1, bias=True) for task in tasks}
            return nn.ModuleDict(convs)

        self.query = project(channels, width)
        self.key = project(channels, width)
        self.value = project(channels, width)
        self.output = project(width, channels)
        self.gamma = nn.ParameterDict(
            {task: nn.Parameter(torch.tensor(gamma_init)) for task in tasks}
        )

    def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Features [B, C, h, w] of both tasks, mixed."""
        mixed = {}
        for task, other in self.others.items():
            own, source = features[task], features[other]
            attended = functional.scaled_dot_product_attention(
                _tokens(self.query[task](own)),
                _tokens(self.key[task](source)),
                _tokens(self.value[task](source)),
            )
            attended = attended[:, 0].transpose(1, 2).unflatten(2, own.shape[2:])
            mixed[task] = own + self.gamma[task] * self.output[task](attended)
        return mixed


def _tokens(x: torch.Tensor) -> torch.Tensor:
    """[B, C, H, W] to [B, one head, H * W, C]."""
    return x.flatten(2).transpose(1, 2).unsqueeze(1)


class DecoderBlock(nn.Module):
    """Upsample, concatenate the skip if there is one, two 3x3 convolutions."""

    def __init__(self, channels: int, features: int):
        super().__init__()
        self.conv1 = conv(channels, features, 3)
        self.bn1 = nn.BatchNorm2d(features)
        self.conv2 = conv(features, features, 3)
        self.bn2 = nn.BatchNorm2d(features)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor, skip: torch.Tensor | None) -> torch.Tensor:
        """[B, C, H, W] and a skip [B, C', 2H, 2W] to [B, features, 2H, 2W]."""
        x = functional.interpolate(x, scale_factor=2, mode="nearest")
        if skip is not None:
            x = torch.cat([x, skip], dim=1)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)))


class Decoder(nn.Module):
    """U-Net decoder of segmentation_models.pytorch's layout.

    `skips` are the channels of each block's skip; 0 for a block without one.
    """

    def __init__(self, channels: int, skips: Sequence[int], widths: Sequence[int]):
        super().__init__()
        self.depth = len(widths)
        for block, (width, skip) in enumerate(zip(widths, skips, strict=True), 1):
            self.add_module(f"block{block}", DecoderBlock(channels + skip, width))
            channels = width

    def forward(
        self, x: torch.Tensor, skips: Sequence[torch.Tensor | None]
    ) -> torch.Tensor:
        """Deepest features and skips, deepest first, to [B, widths[-1], H, W]."""
        for block, skip in enumerate(skips, start=1):
            x = getattr(self, f"block{block}")(x, skip)
        return x


class Head(nn.Module):
    """Decoder features [B, C, H, W] to unbounded logits [B, channels, H, W]."""

    def __init__(self, features: int, channels: int):
        super().__init__()
        self.project = conv(features, channels, 3, bias=True)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """The logits, in float32 or better also under autocast, for the losses."""
        projected = self.project(features)
        return projected.to(torch.promote_types(projected.dtype, torch.float32))
