"""The encoder against a ResNet-50 of torchvision's structure and names, in torch."""

import jax
import numpy as np
import pytest

from mtl_jax.models import resnet, torch_names

torch = pytest.importorskip("torch")
nn = torch.nn

CLOSE = 1e-4  # of a feature's norm


class Bottleneck(nn.Module):
    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = None
        if channels != 4 * width:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, 4 * width, 1, stride, bias=False),
                nn.BatchNorm2d(4 * width),
            )

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet50(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        channels = 64
        for stage, blocks in enumerate((3, 4, 6, 3)):
            width = 64 * 2**stage
            layer = []
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                layer.append(Bottleneck(channels, width, stride))
                channels = 4 * width
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layer))
        self.fc = nn.Linear(2048, 1000)

    def forward(self, x):
        """The stem, and of each stage what enters and what leaves its last block."""
        stem = torch.relu(self.bn1(self.conv1(x)))
        x = self.maxpool(stem)
        stages = []
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            before = layer[:-1](x)
            x = layer[-1](before)
            stages.append((before, x))
        return stem, stages


@pytest.fixture(scope="module")
def reference() -> ResNet50:
    torch.manual_seed(0)
    network = ResNet50().eval()
    for name, value in network.state_dict().items():
        if name.endswith("conv1.weight") or ".conv" in name:
            nn.init.kaiming_normal_(value)
        elif name.endswith("running_var") or (
            value.ndim == 1 and name.endswith("weight")
        ):
            value.uniform_(0.5, 1.5)
        elif value.is_floating_point() and value.ndim == 1:
            value.normal_(0.0, 0.3)
    return network


def as_rgb(image: np.ndarray) -> np.ndarray:
    """The RGB image [B, H, W, 3] that `image` is to an encoder with adapted kernels.

    One channel is a grey image; of five, R sees the first and fourth, G the second and
    fifth, B the third, all scaled by 3 / 5.
    """
    if image.shape[-1] == 1:
        return np.repeat(image, 3, axis=-1)
    a, b, c, d, e = np.moveaxis(image, -1, 0)
    return 0.6 * np.stack([a + d, b + e, c], axis=-1)


@pytest.mark.parametrize("channels", [1, 5])
def test_features_of_every_stage_equal_torchs(
    reference, build, shapes, rng, channels
) -> None:
    network = build("single", full=True)
    like = {
        collection: tree["encoder"]
        for collection, tree in shapes(network, channels).items()
    }
    state = {name: value.numpy() for name, value in reference.state_dict().items()}
    encoder = torch_names.to_flax(state, like)
    # 96 x 64: not square, and stage 4 is larger than one pixel.
    image = rng.standard_normal((2, 96, 64, channels)).astype(np.float32)

    module = resnet.ResNet((3, 4, 6, 3), 64, network.numerics)
    seen = jax.jit(lambda v, x: module.apply(v, x, train=False))(encoder, image)
    with torch.no_grad():
        rgb = torch.from_numpy(as_rgb(image).astype(np.float32)).permute(0, 3, 1, 2)
        stem, stages = reference(rgb)

    pairs = [("stem", seen.stem, stem)]
    for index, (ours, (before, after)) in enumerate(
        zip(seen.stages, stages, strict=True), start=1
    ):
        pairs += [
            (f"before {index}", ours.before, before),
            (f"{index}", ours.after, after),
        ]
    for name, ours, theirs in pairs:
        theirs = theirs.permute(0, 2, 3, 1).numpy()
        assert ours.shape == theirs.shape, name
        difference = np.linalg.norm(np.asarray(ours) - theirs)
        assert difference < CLOSE * np.linalg.norm(theirs), name
