"""The further channels of an image: their order, their values, how they are changed."""

import dataclasses

import numpy as np
import pytest

from mtl_jax.core import errors, sites
from mtl_jax.pipeline import augment, batches, image_channels

SITE = sites.OPENKBP
NO_FURTHER = image_channels.NO_FURTHER
ALL = image_channels.Further((900.0, 1300.0), 2, 0.0, 50.0)
RAW = dict(ct_window=(0.0, 4000.0), ct_mean=0.0, ct_std=1.0)


def further(**changes) -> image_channels.Further:
    return dataclasses.replace(NO_FURTHER, **changes)


@pytest.fixture
def numbered(new_split):
    """A patient of 6 slices and one of 5, whose CT is 100 * patient + z + 1."""
    split = new_split(slices=(6, 5))
    for patient, entry in enumerate(split.patients):
        for z in range(entry.slices):
            value = 100 * patient + z + 1
            split.source[entry.start + z]["ct"] = np.full((16, 16), value, np.int16)
    return split


def images(split, pre):
    return next(iter(batches.evaluation(split, preprocess=pre, batch_size=11)))["image"]


def test_the_order_of_all_channels(new_preprocess):
    pre = new_preprocess(beside_ct="painted", further=ALL)
    assert pre.channel_names == (
        "CT",
        *("Brainstem", "SpinalCord", "Parotid_R", "Parotid_L", "Esophagus"),
        *("Larynx", "Bone_Mandible", "painted prescription"),
        "CT, second window",
        *("CT, slice -2", "CT, second window, slice -2"),
        *("CT, slice -1", "CT, second window, slice -1"),
        *("CT, slice +1", "CT, second window, slice +1"),
        *("CT, slice +2", "CT, second window, slice +2"),
        "distance to the targets",
    )
    assert pre.channels == 19
    # In a mirror image only the parotids change places.
    assert pre.mirrored_channels.tolist() == [0, 1, 2, 4, 3, *range(5, 19)]


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


def test_neighbours_are_the_slices_around_of_the_same_patient(numbered, new_preprocess):
    pre = new_preprocess(**RAW, further=further(neighbours=2))
    seen = images(numbered, pre)
    assert (seen == seen[:, :1, :1]).all()
    # The slice itself, then two to the feet and two to the head.
    expected = [
        *([1, 1, 1, 2, 3], [2, 1, 1, 3, 4], [3, 1, 2, 4, 5]),
        *([4, 2, 3, 5, 6], [5, 3, 4, 6, 6], [6, 4, 5, 6, 6]),
        *([101, 101, 101, 102, 103], [102, 101, 101, 103, 104]),
        *([103, 101, 102, 104, 105], [104, 102, 103, 105, 105]),
        [105, 103, 104, 105, 105],
    ]
    assert seen[:, 0, 0].tolist() == expected


@pytest.mark.parametrize(
    ("distance_mm", "expected"),
    # Slices are 2.5 mm apart: at 4 mm the nearest are 4 / 2.5 = 1.6 and 3.2 away.
    [(4.0, [-3, -2, 2, 3]), (5.0, [-4, -2, 2, 4]), (2.0, [-2, -1, 1, 2])],
)
def test_neighbours_at_a_distance_are_the_nearest_slices(distance_mm, expected):
    around = further(neighbours=2, neighbour_mm=distance_mm)
    assert around.neighbouring(10, 50, 2.5) == [10 + step for step in expected]


def test_neighbours_are_seen_in_every_window(numbered, new_preprocess):
    windows = further(neighbours=1, ct_second_window=(2.0, 4.0))
    seen = images(numbered, new_preprocess(**RAW, further=windows))[:, 0, 0]
    # Slice 4 of the first patient: 4; in the second window 1; 3 and 0; 5 and 1.
    assert seen[3].tolist() == [4, 1, 3, 0, 5, 1]


def test_a_slice_whose_neighbours_were_not_read_is_refused(
    example, new_preprocess, to_row
):
    pre = new_preprocess(further=further(neighbours=1))
    with pytest.raises(errors.RecordError, match="neighbours of this slice"):
        to_row(pre, example, 0)


@pytest.mark.parametrize("size", [16, 32], ids=["own grid", "other grid"])
def test_random_changes_move_neighbours_with_the_slice(
    new_split, new_training, new_preprocess, size
):
    """All slices of a patient are equal: the neighbours must stay so."""
    split = new_split(slices=(4, 4))
    for entry in split.patients:
        for z in range(entry.slices):
            split.source[entry.start + z]["ct"] = split.source[entry.start]["ct"]
    changes = augment.Augment(
        site=SITE, flip=0.5, rotation_deg=20.0, rotation_step_deg=0.0,
        translation_px=3.0, scale=0.2, ct_noise=0.0, ct_std=282.26,
    )  # fmt: skip
    pre = new_preprocess(
        image_size=(size, size),
        image_spacing_mm=4.0 if size == 16 else 3.0,
        further=further(neighbours=1),
    )
    batch = new_training(split, preprocess=pre, augment=changes, batch_size=8).batch(0)
    image = batch["image"]
    assert image[..., 0].std() > 0.1
    np.testing.assert_array_equal(image[..., 1], image[..., 0])
    np.testing.assert_array_equal(image[..., 2], image[..., 0])
    # Each slice has noise of its own, and the first channel's is as without neighbours.
    noisy = dataclasses.replace(changes, ct_noise=0.1)
    image = new_training(split, preprocess=pre, augment=noisy).batch(0)["image"]
    alone = dataclasses.replace(pre, further=NO_FURTHER)
    other = new_training(split, preprocess=alone, augment=noisy).batch(0)["image"]
    np.testing.assert_array_equal(image[..., :1], other)
    spread = (image[..., 1] - image[..., 0]).std()
    assert 0.08 < spread < 0.16  # the root of 2 times 0.1, less where it is clipped


def test_reading_neighbours_leaves_the_stored_slices_alone(numbered, new_preprocess):
    before = [set(example) for example in numbered.source]
    images(numbered, new_preprocess(further=further(neighbours=1)))
    assert [set(example) for example in numbered.source] == before
