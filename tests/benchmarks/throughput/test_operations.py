"""Counts of operations, compared with PyTorch's counter and with a count by hand."""

import ml_collections
import pytest

from benchmarks.throughput import __main__ as command
from benchmarks.throughput import cases
from mtl_jax.models import operation_count


def count(network, part="inference"):
    case = cases.Case(part, "cpu", network, 8, 128, "default", "full")
    return command.count_operations(case)


@pytest.mark.parametrize(
    ("network", "giga"),
    [("single", 2.632), ("hps", 3.963), ("mtan", 6.647), ("ctan", 6.715)],
)
def test_multiply_adds_of_the_networks(network, giga):
    assert count(network) == pytest.approx(2e9 * giga, rel=2e-4)


def test_a_training_step_is_three_forward_passes():
    assert count("single", "train") == 3 * count("single")
    assert count("", "pipeline") is None


def test_a_bottleneck_by_hand():
    # 4 pixels: 8 -> 2 (16 each), 3x3 2 -> 2 (36), 2 -> 8 (16), projection 8 -> 8 (64).
    assert operation_count.bottleneck(8, 2, 4, stride=1, first=True) == 4 * 132
    # With a stride, the first convolution sees four times the pixels.
    assert operation_count.bottleneck(8, 2, 1, stride=2, first=False) == 64 + 36 + 16


@pytest.mark.parametrize("network", ["single", "ctan"])
def test_as_many_as_pytorch_counts(network):
    torch = pytest.importorskip("torch")
    from torch.nn import attention
    from torch.utils import flop_counter

    from benchmarks.throughput import torch_workloads, workload

    case = cases.Case("inference", "cpu", network, 1, 32, "default", "tiny")
    mode = cases.Mode(cases.PYTORCH, "eager", "float32")
    config: ml_collections.ConfigDict = cases.make_config(case, mode)
    spec = workload.Spec(case, mode, 1, 0.0, None)
    model = torch_workloads.make_network(spec, config, torch.device("cpu")).eval()
    counter = flop_counter.FlopCounterMode(display=False)
    as_products = attention.sdpa_kernel(attention.SDPBackend.MATH)
    with counter, as_products, torch.no_grad():
        model(torch.zeros(1, 1, 32, 32))
    assert counter.get_total_flops() == command.count_operations(case)
