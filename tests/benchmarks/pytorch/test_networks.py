"""PyTorch networks by themselves: initial weights, layouts, types, what is refused."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install -e .[torch]")

from benchmarks.pytorch import cases, networks
from mtl_jax.core import errors

FLOAT32 = np.dtype("float32")
CTAN = cases.CASES["ctan"]


@pytest.fixture(scope="module")
def network() -> networks.MultiTask:
    torch.manual_seed(0)
    return cases.torch_network(CTAN, cases.TINY, FLOAT32).eval()


@pytest.fixture
def image() -> torch.Tensor:
    return torch.randn(2, 1, 16, 24, generator=torch.Generator().manual_seed(0))


def test_outputs_by_task(network, image) -> None:
    with torch.inference_mode():
        shapes = {task: x.shape for task, x in network(image).items()}
    assert shapes == {"contours": (2, 4, 16, 24), "dose": (2, 1, 16, 24)}


@pytest.mark.parametrize(
    "name, fan, factor",
    [
        ("encoder.layer2.0.conv2", 9 * 8, 2),  # He, fan out
        ("decoder.dose.block1.conv1", 9 * (32 + 16), 2),  # He, fan in
        ("attention.gate2.dose.conv1", 64, 1 / 3),  # torch's own, fan in
        ("bottleneck.value.dose", 32, 1 / 3),
        ("head.contours.project", 9 * (4 + 4) / 2, 1),  # Xavier
    ],
)
def test_initial_weights(name: str, fan: float, factor: float) -> None:
    torch.manual_seed(0)
    drawn = [
        cases.torch_network(CTAN, cases.TINY, FLOAT32).get_parameter(f"{name}.weight")
        for _ in range(10)
    ]
    deviation = torch.stack(drawn).std().item()
    assert deviation == pytest.approx(math.sqrt(factor / fan), rel=0.1)


def test_biases_and_gammas_start_at_zero(network) -> None:
    for name, parameter in network.named_parameters():
        if name.endswith(".bias") or ".gamma." in name:
            assert not parameter.any(), name


def test_channels_last_changes_nothing(network, image) -> None:
    with torch.inference_mode():
        expected = network(image)
        memory = network.to(memory_format=torch.channels_last)
        found = memory(image.to(memory_format=torch.channels_last))
    for task, output in expected.items():
        torch.testing.assert_close(found[task], output, rtol=1e-4, atol=1e-5)


def test_autocast_is_near_and_outputs_stay_float32(network, image) -> None:
    with torch.inference_mode():
        expected = network(image)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = network(image)
    for task, output in expected.items():
        assert found[task].dtype == torch.float32
        difference = torch.linalg.norm(found[task] - output)
        assert 0 < difference < 0.1 * torch.linalg.norm(output)


def test_softmax_has_a_channel_for_the_background() -> None:
    sizes = CTAN.sizes(cases.TINY) | {"contour_head": "softmax"}
    network = networks.build_network(**sizes)
    assert network.head["contours"].project.out_channels == cases.STRUCTURES + 1


def test_an_image_that_cannot_be_halved_is_refused(network) -> None:
    with pytest.raises(ValueError, match=r"\(1, 1, 20, 24\).*multiples of 8"):
        network(torch.zeros(1, 1, 20, 24))


def test_what_cannot_be_built_is_said() -> None:
    with pytest.raises(errors.ConfigError, match="unknown network 'ctna'"):
        networks.build_network(**CTAN.sizes(cases.TINY) | {"network": "ctna"})
