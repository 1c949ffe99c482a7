"""Moves of known size against array operations, and markers that stay together."""

import dataclasses

import numpy as np
import pytest

from mtl_jax.core import errors, records, sites
from mtl_jax.pipeline import augment

SITE = sites.OPENKBP
STILL = augment.Augment(
    site=SITE,
    flip=0.0,
    rotation_deg=0.0,
    rotation_step_deg=0.0,
    translation_px=0.0,
    scale=0.0,
    ct_noise=0.0,
    ct_std=282.26,
)
IMAGES = ("ct", "dose_gy", "masks")


class Chosen:
    """Chance that always draws the same: flips, and these fractions of the largest."""

    def __init__(self, turn=(0.0, 0.0), shift=(0.0, 0.0), flip=1.0, steps=0):
        self.flip, self.draws, self.steps = flip, [turn, shift], steps

    def random(self):
        return self.flip

    def uniform(self, low, high, count):
        assert (low, high, count) == (-1, 1, 2)
        return np.array(self.draws.pop(0))

    def integers(self, count):
        assert 0 <= self.steps < count
        return self.steps


def bit(name: str) -> int:
    return 1 << SITE.names.index(name)


def disc(centre=(20, 40), radius=6, size=64) -> records.Example:
    """A disc with a CT value, a dose, and the masks of left parotid and PTV70."""
    y, x = np.mgrid[:size, :size]
    inside = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2
    present = np.zeros(10, bool)
    present[SITE.names.index("LeftParotid")] = True
    return records.Example(
        ct=np.where(inside, 1000, 0).astype(np.int16),
        dose_gy=np.where(inside, 70, 0).astype(np.float32),
        masks=np.where(inside, bit("LeftParotid") | bit("PTV70"), 0).astype(np.uint16),
        present=present,
        has_dose=True,
        patient="pt_1",
        slice=0,
        spacing_mm=np.array([2.5, 4.0, 4.0]),
    )


def test_nothing_changes_when_everything_is_zero(example):
    assert STILL(example, np.random.default_rng(0)) is example


def test_a_flip_swaps_left_and_right(example):
    flipped = dataclasses.replace(STILL, flip=1.0)(example, np.random.default_rng(0))
    np.testing.assert_array_equal(flipped["ct"], example["ct"][:, ::-1])
    np.testing.assert_array_equal(flipped["dose_gy"], example["dose_gy"][:, ::-1])
    swap = {"LeftParotid": "RightParotid", "RightParotid": "LeftParotid"}
    for index, name in enumerate(SITE.names):
        before = example["masks"] & bit(swap.get(name, name)) > 0
        np.testing.assert_array_equal(
            flipped["masks"] & bit(name) > 0, before[:, ::-1], err_msg=name
        )
        source = SITE.names.index(swap.get(name, name))
        assert flipped["present"][index] == example["present"][source]
    possible = 1 << len(SITE.names)
    np.testing.assert_array_equal(
        flipped["masks"] & possible, example["masks"][:, ::-1] & possible
    )


def test_two_flips_undo_each_other(example):
    always, rng = dataclasses.replace(STILL, flip=1.0), np.random.default_rng(0)
    twice = always(always(example, rng), rng)
    for name in (*IMAGES, "present"):
        np.testing.assert_array_equal(twice[name], example[name])


def test_flips_come_as_often_as_asked(example):
    often, rng = dataclasses.replace(STILL, flip=0.25), np.random.default_rng(0)
    flips = sum(often(example, rng) is not example for _ in range(2000))
    assert abs(flips - 500) < 4 * np.sqrt(2000 * 0.25 * 0.75)


def test_a_quarter_turn(example):
    quarter = dataclasses.replace(STILL, rotation_deg=90.0)
    turned = quarter(example, Chosen(turn=(1.0, 0.0)))
    for name in IMAGES:
        np.testing.assert_allclose(turned[name], np.rot90(example[name], -1), atol=1e-2)


def test_quarter_turns_are_steps_of_a_rotation(example):
    quarters = dataclasses.replace(STILL, rotation_step_deg=90.0)
    for steps in range(4):
        turned = quarters(example, Chosen(steps=steps))
        for name in IMAGES:
            expected = np.rot90(example[name], -steps)
            np.testing.assert_allclose(turned[name], expected, atol=1e-4, err_msg=name)
        np.testing.assert_array_equal(
            turned["masks"], np.rot90(example["masks"], -steps)
        )
    assert quarters(example, Chosen()) is example


def test_steps_are_added_to_the_rotation_and_come_equally_often():
    beams = dataclasses.replace(STILL, rotation_deg=10.0, rotation_step_deg=40.0)
    both = beams(disc(), Chosen(turn=(0.5, 0.0), steps=2))
    alone = dataclasses.replace(STILL, rotation_deg=170.0)
    expected = alone(disc(), Chosen(turn=(0.5, 0.0)))  # 85 = 2 * 40 + 5 degrees
    for name in IMAGES:
        np.testing.assert_allclose(both[name], expected[name], atol=1e-3)
    centres, rng = [], np.random.default_rng(0)
    pure = dataclasses.replace(STILL, rotation_step_deg=40.0)
    for _ in range(900):
        y, x = np.argwhere(pure(disc(), rng)["masks"]).mean(axis=0) - 31.5
        centres.append(np.rad2deg(np.arctan2(y, x) - np.arctan2(20 - 31.5, 40 - 31.5)))
    turns, counts = np.unique(np.round(centres) // 2 * 2 % 360, return_counts=True)
    assert len(turns) == 9 and counts.min() > 100 - 4 * np.sqrt(100)
    assert all(min(turn % 40, -turn % 40) <= 2 for turn in turns)


def test_without_steps_no_further_number_is_drawn(example):
    """So that runs without the key see the images that they always saw."""
    change = dataclasses.replace(STILL, rotation_deg=10.0, ct_noise=0.1)
    rng, again = np.random.default_rng(3), np.random.default_rng(3)
    moved = change(example, rng)
    again.random(), again.uniform(-1, 1, 2), again.uniform(-1, 1, 2)
    quiet = dataclasses.replace(change, ct_noise=0.0)
    noise = again.standard_normal(example["ct"].shape, np.float32)
    expected = quiet(example, np.random.default_rng(3))["ct"] + noise * np.float32(
        0.1 * 282.26
    )
    np.testing.assert_array_equal(moved["ct"], expected)


def test_a_shift_of_whole_pixels(example):
    example["dose_gy"] += 1  # so that nothing inside is zero
    moved = dataclasses.replace(STILL, translation_px=4.0)(
        example, Chosen(shift=(0.5, -0.75))
    )
    for name in IMAGES:
        np.testing.assert_allclose(moved[name][2:, :-3], example[name][:-2, 3:])
        assert not moved[name][:2].any() and not moved[name][:, -3:].any()


def test_a_larger_disc():
    larger = dataclasses.replace(STILL, scale=0.5)(
        disc(centre=(32, 32), radius=12), Chosen(turn=(0.0, 1.0))
    )
    area = np.count_nonzero(larger["masks"])
    assert area == pytest.approx(np.pi * 18**2, rel=0.03)


def test_masks_dose_and_ct_move_together(rng):
    change = dataclasses.replace(
        STILL, flip=0.5, rotation_deg=30.0, translation_px=6.0, scale=0.2
    )
    for _ in range(20):
        moved = change(disc(), rng)
        mask = moved["masks"] > 0
        both = np.unique(moved["masks"])
        assert len(both) == 2  # both structures moved as one
        side = (
            "LeftParotid" if moved["present"][SITE.names.index("LeftParotid")] else ""
        )
        assert both[1] == bit(side or "RightParotid") | bit("PTV70")
        # Nearest and linear at half height differ in pixels of the edge only.
        for image, half in (("dose_gy", 35), ("ct", 500)):
            assert np.count_nonzero((moved[image] > half) != mask) < 0.25 * mask.sum()
            centre = np.argwhere(moved[image] > half).mean(0)
            np.testing.assert_allclose(centre, np.argwhere(mask).mean(0), atol=0.6)


def test_noise_is_on_the_ct_alone(example):
    example["ct"] = np.full((200, 200), 1000, np.int16)
    noisy = dataclasses.replace(STILL, ct_noise=0.1)(example, np.random.default_rng(0))
    assert noisy["ct"].dtype == np.float32
    assert noisy["ct"].std() == pytest.approx(0.1 * 282.26, rel=0.02)
    assert noisy["ct"].mean() == pytest.approx(1000, abs=0.5)
    assert noisy["dose_gy"] is example["dose_gy"]
    assert noisy["masks"] is example["masks"]


def test_the_same_chance_makes_the_same_change(example):
    change = dataclasses.replace(
        STILL, flip=0.5, rotation_deg=10.0, translation_px=2.0, scale=0.1, ct_noise=0.1
    )
    first, again, other = (change(example, np.random.default_rng(s)) for s in (1, 1, 2))
    for name in IMAGES:
        np.testing.assert_array_equal(first[name], again[name])
        assert not np.array_equal(first[name], other[name])


def test_mistakes_in_the_settings():
    with pytest.raises(errors.ConfigError, match=r"augment.flip 1.5 must lie in"):
        dataclasses.replace(STILL, flip=1.5)
    one_way = dataclasses.replace(
        SITE, structures=(sites.Structure("A", "A", (0, 0, 0), mirror="B"),
                          sites.Structure("B", "B", (0, 0, 0)))
    )  # fmt: skip
    with pytest.raises(errors.ConfigError, match="of A is B, but not vice versa"):
        dataclasses.replace(STILL, site=one_way)
    absent = dataclasses.replace(one_way, structures=one_way.structures[:1])
    with pytest.raises(errors.ConfigError, match="no structure 'B'"):
        dataclasses.replace(STILL, site=absent)
