"""Weights from Flax to PyTorch and back; both networks have the same tensors."""

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install -e .[torch]")

from benchmarks.pytorch import cases, networks, weights
from mtl_jax.core import errors
from mtl_jax.models import parameters, torch_names

FLOAT32 = np.dtype("float32")


@pytest.mark.parametrize("name", cases.CASES)
def test_at_full_size_both_have_the_same_tensors(name: str) -> None:
    case = cases.CASES[name]
    flax_network = cases.flax_network(case, cases.FULL, FLOAT32)
    shapes = parameters.shapes(flax_network, case.image_shape(cases.FULL))
    flat = jax.tree_util.tree_flatten_with_path(shapes)[0]
    expected = {
        torch_names.torch_name(tuple(key.key for key in path)): leaf.shape
        for path, leaf in flat
    }
    with torch.device("meta"):
        network = networks.build_network(
            **case.sizes(cases.FULL), channels=case.channels
        )
    found = {
        name: tuple(tensor.shape)
        if tensor.ndim < 4
        else tuple(tensor.permute(2, 3, 1, 0).shape)
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    assert found == expected


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_there_and_back(dtype: str) -> None:
    case = cases.CASES["ctan"]
    variables = cases.draw_variables(case, cases.TINY, np.dtype(dtype))
    network = cases.torch_network(case, cases.TINY, np.dtype(dtype))
    network.load_state_dict(weights.to_torch(variables))
    back = weights.to_flax(network.state_dict(), variables)
    np.testing.assert_equal(back, variables)
    assert {leaf.dtype for leaf in jax.tree.leaves(back)} == {np.dtype(dtype)}


def test_the_state_dict_is_a_copy() -> None:
    variables = cases.draw_variables(cases.CASES["ctan"], cases.TINY, FLOAT32)
    state = weights.to_torch(variables)
    for tensor in state.values():
        tensor.zero_()
    assert all(np.any(leaf) for leaf in jax.tree.leaves(variables))


def test_names_what_does_not_fit() -> None:
    variables = cases.draw_variables(cases.CASES["ctan"], cases.TINY, FLOAT32)
    state = weights.to_torch(variables)
    state["bottleneck.gama.dose"] = state.pop("bottleneck.gamma.dose")
    state["head.dose.project.bias"] = torch.zeros(2)
    with pytest.raises(errors.WeightsError) as caught:
        weights.to_flax(state, variables)
    message = str(caught.value)
    assert "1 missing (bottleneck.gamma.dose)" in message
    assert "1 extra (bottleneck.gama.dose; did you mean 'bottleneck.gamma.d" in message
    assert "1 misshapen (head.dose.project.bias is (2,), expected (1,))" in message


def test_the_first_convolution_of_a_network_is_not_adapted() -> None:
    variables = cases.draw_variables(
        cases.CASES["single: dose, 5 inputs"], cases.TINY, FLOAT32
    )
    state = weights.to_torch(variables)
    state["encoder.conv1.weight"] = state["encoder.conv1.weight"][:, :3]
    with pytest.raises(errors.WeightsError, match=r"conv1.weight is \(7, 7, 3, 4\)"):
        weights.to_flax(state, variables)
