"""The further channels of an image: their order, their values, how they are changed."""

import dataclasses

import numpy as np

from mtl_jax.pipeline import image_channels

NO_FURTHER = image_channels.NO_FURTHER
ALL = image_channels.Further((900.0, 1300.0), 50.0)


def further(**changes) -> image_channels.Further:
    return dataclasses.replace(NO_FURTHER, **changes)


def test_the_order_of_all_channels(new_preprocess):
    pre = new_preprocess(beside_ct="painted", further=ALL)
    assert pre.channel_names == (
        "CT",
        *("Brainstem", "SpinalCord", "Parotid_R", "Parotid_L", "Esophagus"),
        *("Larynx", "Bone_Mandible", "painted prescription"),
        "CT, second window",
        "distance to the targets",
    )
    assert pre.channels == 11
    # In a mirror image only the parotids change places.
    assert pre.mirrored_channels.tolist() == [0, 1, 2, 4, 3, *range(5, 11)]


def test_without_further_ones_there_are_those_of_the_paper(new_preprocess):
    assert new_preprocess().channel_names == ("CT",)
    names = new_preprocess(beside_ct="reference").channel_names
    assert names == ("CT", "Brainstem", "SpinalCord", "Parotid_L", "Parotid_R")


def test_the_second_window_is_scaled_to_1(example, new_preprocess, to_row):
    example["ct"][0, :6] = [-1000, 900, 1000, 1100, 1300, 2000]
    pre = new_preprocess(
        beside_ct="reference", further=further(ct_second_window=(900.0, 1300.0))
    )
    row, plain = to_row(pre, example, 0), to_row(new_preprocess(), example, 0)
    assert pre.channels == 6
    assert row["image"][0, :6, 5].tolist() == [-1, -1, -0.5, 0, 1, 1]
    np.testing.assert_array_equal(row["image"][..., 0], plain["image"][..., 0])
    # In HU, the window is given in HU.
    in_hu = dataclasses.replace(
        pre, ct_values="hu", further=further(ct_second_window=(-124.0, 276.0))
    )
    np.testing.assert_array_equal(
        to_row(in_hu, example, 0)["image"][..., 5], row["image"][..., 5]
    )
