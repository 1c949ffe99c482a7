"""What slices show, and how often they are drawn."""

from collections import Counter

import numpy as np
import pytest

from mtl_jax.pipeline import draws

POSSIBLE = 1 << 10  # the bit after the site's ten structures
BRAINSTEM, LARYNX, PTV70 = 1 << 0, 1 << 5, 1 << 9
HOLDS = (0, POSSIBLE, BRAINSTEM, POSSIBLE | BRAINSTEM, LARYNX | PTV70)


@pytest.fixture
def shown_split(new_split):
    """One patient; its slices hold one voxel with the bits of HOLDS each."""
    split = new_split(slices=(len(HOLDS),))
    for example, bits in zip(split.source, HOLDS, strict=True):
        example["masks"][:] = 0
        example["masks"][3, 4] = bits
    return split


def test_a_slice_shows_a_possible_dose_and_structures_to_contour(shown_split):
    found = draws.shown(shown_split, ("Brainstem", "SpinalCord"))
    assert found.tolist() == [0, 1, 2, 3, 0]
    assert draws.shown(shown_split, ("Larynx",)).tolist() == [0, 1, 0, 1, 2]


def test_without_a_mask_a_dose_is_possible_in_every_slice_of_a_plan(shown_split):
    (entry,) = shown_split.patients
    entry.has_mask = False
    assert draws.shown(shown_split, ("Brainstem",)).tolist() == [1, 1, 3, 3, 1]
    entry.has_dose = False
    assert draws.shown(shown_split, ("Brainstem",)).tolist() == [0, 0, 2, 2, 0]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ((1, 1, 1), [1, 1, 1, 1]),
        ((0, 1, 0), [0, 1, 0, 1]),
        ((1, 1, 2), [1, 1, 2, 2]),
        ((0, 3, 2), [0, 3, 2, 3]),
    ],
)
def test_the_largest_number_of_draws_counts(settings, expected):
    assert draws.times(np.array([0, 1, 2, 3]), settings).tolist() == expected


def test_an_epoch_has_each_slice_as_often_as_it_is_drawn(new_split, new_training):
    times = np.array([0, 1, 2, 5, 0, 1, 1, 2])
    training = new_training(new_split(slices=(8,)), times=times)
    assert training.steps_per_epoch == 3
    for epoch in range(2):
        seen = [training.batch(3 * epoch + step)["slice"] for step in range(3)]
        found = Counter(np.concatenate(seen).tolist())
        assert found == {z: n for z, n in enumerate(times.tolist()) if n}
