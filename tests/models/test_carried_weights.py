"""Weights carried into another network, on small trees, channel by channel."""

import numpy as np
import pytest

from mtl_jax.models import carried_weights


def network(*, inputs: int, contours: int, width: int = 2, first: float = 0.0) -> dict:
    """A tree with paths of the paper's family; each array counts up from `first`."""

    def count(*shape: int) -> np.ndarray:
        return (first + np.arange(np.prod(shape))).reshape(shape).astype(np.float32)

    head = {"kernel": count(1, 1, width, contours), "bias": count(contours)}
    norm = {"scale": count(width), "bias": count(width)}
    statistics = {"mean": count(width), "var": count(width)}
    return {
        "params": {
            "encoder": {"conv1": {"kernel": count(1, 1, inputs, width)}, "bn1": norm},
            "head_contours": {"project": head},
        },
        "batch_stats": {"encoder": {"bn1": statistics}},
    }


def channels(inputs: tuple[str, ...], contours: tuple[str, ...], image_skip: str = ""):
    outputs = {"contours": contours, "dose": ("dose",)}
    return carried_weights.Channels(inputs, outputs, image_skip)


ONE = channels(("CT",), ("A", "B"))


def test_all_of_the_same_network_is_carried():
    fresh = network(inputs=1, contours=2)
    earlier = network(inputs=1, contours=2, first=100)
    carried = carried_weights.carry_over(fresh, earlier, ONE, ONE)
    np.testing.assert_equal(carried.variables, earlier)
    assert (carried.carried, carried.parameters) == (12, 12)
    assert (carried.kernels, carried.anew) == (2, ())
    assert fresh["params"]["encoder"]["bn1"]["scale"].tolist() == [0, 1]


def test_channels_go_where_their_names_are():
    fresh = network(inputs=3, contours=3)
    earlier = network(inputs=2, contours=2, first=100)
    carried = carried_weights.carry_over(
        fresh,
        earlier,
        channels(("CT", "A", "B"), ("C", "B", "A")),
        channels(("CT", "B"), ("A", "B")),
    )
    params = carried.variables["params"]
    # Input CT is 100, 101 and B 102, 103; A stays as it was, 2, 3.
    assert params["encoder"]["conv1"]["kernel"][0, 0].tolist() == [
        [100, 101],
        [2, 3],
        [102, 103],
    ]
    # By feature, outputs A and B were 100, 101 and 102, 103; C stays 0 and 3.
    head = params["head_contours"]["project"]
    assert head["kernel"][0, 0].tolist() == [[0, 101, 100], [3, 103, 102]]
    assert head["bias"].tolist() == [0, 101, 100]
    assert carried.anew == ("encoder/conv1: A", "head_contours/project: C")
    # 4 of 6, 4 of 4, 4 of 6 and 2 of 3.
    assert (carried.carried, carried.parameters) == (4 + 4 + 4 + 2, 19)


def test_equal_shapes_of_another_meaning_are_not_carried():
    fresh = network(inputs=1, contours=2)
    earlier = network(inputs=1, contours=2, first=100)
    other = channels(("CT",), ("C", "D"))
    carried = carried_weights.carry_over(fresh, earlier, other, ONE)
    for part in ("kernel", "bias"):
        np.testing.assert_array_equal(
            carried.variables["params"]["head_contours"]["project"][part],
            fresh["params"]["head_contours"]["project"][part],
        )
    assert carried.anew == ("head_contours",)


def test_what_is_absent_or_of_another_shape_starts_anew():
    fresh = network(inputs=1, contours=2, width=3)
    fresh["params"]["gamma"] = np.float32(0.5).reshape(())
    earlier = network(inputs=1, contours=2, first=100)
    earlier["params"]["scale"] = np.ones((), np.float32)
    fresh["params"]["scale"] = np.zeros((), np.float32)
    carried = carried_weights.carry_over(fresh, earlier, ONE, ONE)
    assert carried.variables["params"].pop("scale").shape == ()
    del fresh["params"]["scale"]
    expected = {**fresh, "params": {**fresh["params"]}}
    bias = earlier["params"]["head_contours"]["project"]["bias"]
    expected["params"]["head_contours"] = {
        "project": fresh["params"]["head_contours"]["project"] | {"bias": bias}
    }
    np.testing.assert_equal(carried.variables, expected)
    assert (carried.carried, carried.kernels) == (3, 0)
    assert carried.anew == ("encoder", "head_contours/project/kernel", "gamma")


@pytest.mark.parametrize("names", [("CT",), ("CT", "A", "B")])
def test_names_that_do_not_count_the_channels_are_not_used(names):
    """As in a network of another kind, which has something else at this path."""
    fresh = network(inputs=2, contours=2)
    earlier = network(inputs=2, contours=2, first=100)
    odd = channels(names, ("A", "B"))
    carried = carried_weights.carry_over(fresh, earlier, odd, odd)
    np.testing.assert_equal(carried.variables, earlier)


def test_the_image_s_channels_come_after_the_features_that_it_is_joined_with():
    def decoder(inputs: int, first: float) -> dict:
        """Two features and the image, in; one feature out."""
        kernel = first + np.arange(2 + inputs, dtype=np.float32).reshape(1, 1, -1, 1)
        block = {"block5": {"conv1": {"kernel": kernel}}}
        return {"params": {"decoder_dose": block}, "batch_stats": {}}

    carried = carried_weights.carry_over(
        decoder(3, 0),
        decoder(2, 100),
        channels(("CT", "A", "B"), (), "block5"),
        channels(("CT", "B"), (), "block5"),
    )
    kernel = carried.variables["params"]["decoder_dose"]["block5"]["conv1"]["kernel"]
    assert kernel.ravel().tolist() == [100, 101, 102, 3, 103]
    assert carried.anew == ("decoder_dose/block5/conv1: A",)
