"""torchvision's names and our tree, there and back; what does not fit is named."""

import numpy as np
import pytest
from flax import traverse_util

from mtl_jax.core import errors
from mtl_jax.models import torch_names


@pytest.fixture(scope="module")
def encoder(build, random_variables):
    network = build("single", stage_sizes=(1, 2, 3, 1), width=4)
    variables = random_variables(network, 3)
    return {collection: tree["encoder"] for collection, tree in variables.items()}


def test_resnet50_has_torchvisions_names_and_shapes(build, shapes) -> None:
    encoder = {
        collection: tree["encoder"]
        for collection, tree in shapes(build("single", full=True), 3).items()
    }
    names = {
        torch_names.torch_name(path): leaf.shape
        for path, leaf in traverse_util.flatten_dict(encoder).items()
    }
    assert len(names) == 53 + 4 * 53
    assert names["conv1.weight"] == (7, 7, 3, 64)
    assert names["bn1.running_var"] == (64,)
    assert names["layer1.0.downsample.0.weight"] == (1, 1, 64, 256)
    assert names["layer1.0.downsample.1.bias"] == (256,)
    assert names["layer4.2.conv2.weight"] == (3, 3, 512, 512)
    assert "layer2.1.downsample.0.weight" not in names
    assert torch_names.size(encoder) == ((3, 4, 6, 3), 64)


def test_there_and_back(encoder) -> None:
    state = torch_names.to_torch(encoder)
    assert state["layer1.0.conv3.weight"].shape == (16, 4, 1, 1)
    state["fc.weight"] = np.zeros((10, 128))
    state["layer1.0.bn1.num_batches_tracked"] = np.int64(7)
    back = torch_names.to_flax(state, encoder)
    np.testing.assert_equal(back, encoder)


def test_transposes_kernels_only(encoder) -> None:
    state = torch_names.to_torch(encoder)
    kernel = encoder["params"]["layer2_0"]["conv2"]["kernel"]
    assert state["layer2.0.conv2.weight"][5, 3, 0, 2] == kernel[0, 2, 3, 5]
    mean = encoder["batch_stats"]["layer2_0"]["downsample_bn"]["mean"]
    np.testing.assert_array_equal(state["layer2.0.downsample.1.running_mean"], mean)


def test_first_convolution_of_other_channels_by_hand() -> None:
    rgb = np.array([1.0, 10.0, 100.0], np.float32).reshape(1, 1, 3, 1)

    def adapted(channels: int) -> list[float]:
        return torch_names.adapt_first_conv(rgb, channels)[0, 0, :, 0].tolist()

    assert adapted(1) == [111.0]
    assert adapted(2) == [1.5, 15.0]
    assert adapted(3) == [1.0, 10.0, 100.0]
    np.testing.assert_allclose(adapted(5), [0.6, 6.0, 60.0, 0.6, 6.0], rtol=1e-6)
    assert adapted(6) == [0.5, 5.0, 50.0, 0.5, 5.0, 50.0]


def test_a_file_of_as_many_channels_is_taken_as_it_is(encoder) -> None:
    state = torch_names.to_torch(encoder)
    state["conv1.weight"] = np.ones((4, 5, 7, 7), np.float32)
    with pytest.raises(errors.WeightsError, match=r"conv1.weight is \(7, 7, 5, 4\)"):
        torch_names.to_flax(state, encoder)


def test_names_what_is_missing_extra_misshapen_and_broken(encoder) -> None:
    state = torch_names.to_torch(encoder)
    state["layer1.0.conv1.weigth"] = state.pop("layer1.0.conv1.weight")
    state["layer2.0.bn1.bias"] = np.zeros(9, np.float32)
    state["layer3.1.bn2.running_var"] = np.full(16, np.nan, np.float32)
    with pytest.raises(errors.WeightsError) as caught:
        torch_names.to_flax(state, encoder)
    message = str(caught.value)
    assert "1 missing (layer1.0.conv1.weight)" in message
    assert "1 extra (layer1.0.conv1.weigth; did you mean 'layer1.0.conv1.w" in message
    assert "1 misshapen (layer2.0.bn1.bias is (9,), expected (8,))" in message
    assert "1 not finite (layer3.1.bn2.running_var)" in message


def test_many_names_are_cut_short(encoder) -> None:
    with pytest.raises(errors.WeightsError, match=r"130 missing \(.*, \.\.\.\)"):
        torch_names.to_flax({"fc.bias": np.zeros(3)}, encoder)
