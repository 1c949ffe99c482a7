"""Yardsticks by hand: mean maps, painted targets, prior maps and mean shapes."""

import dataclasses

import numpy as np
import pytest

from mtl_jax.core import geometry, records, sites
from mtl_jax.evaluation import yardsticks

GRID = geometry.Grid((1, 2, 4), (2.0, 10.0, 10.0))
SITE = sites.OPENKBP


def mask(*voxels, shape=GRID.shape):
    flat = np.zeros(np.prod(shape), bool)
    flat[list(voxels)] = True
    return flat.reshape(shape)


def make_patient(dose=10.0, covers=(0, 1, 2, 3), **structures):
    return records.Patient(
        patient_id="pt_1",
        grid=GRID,
        ct=np.zeros(GRID.shape, np.float32),
        structures=structures or {"Brainstem": mask(0, 1), "PTV70": mask(2)},
        dose_gy=np.where(mask(*covers), np.float32(dose), np.float32(0)),
        possible_dose_mask=mask(*covers),
    )


@dataclasses.dataclass(frozen=True)
class FakeEntry:
    grid: geometry.Grid


class FakeSplit:
    name = "train"

    def __init__(self, *patients):
        self._patients = patients
        self.patients = tuple(FakeEntry(p.grid) for p in patients)

    def volume(self, index):
        return self._patients[index]


def fit(*patients, structures=("Brainstem",)):
    split = FakeSplit(*patients)
    return yardsticks.fit(split, SITE, structures, on=split)


def test_the_mean_dose_map_is_over_the_patients_whose_mask_covers_the_voxel():
    other = make_patient(dose=30.0, covers=(0, 5))
    without = dataclasses.replace(make_patient(), dose_gy=None)
    found = fit(make_patient(), other, without)["mean_dose_map"]
    dose_gy = found.predict(make_patient()).dose_gy
    np.testing.assert_allclose(dose_gy.ravel(), [20, 10, 10, 10, 0, 30, 0, 0])


def test_the_plain_mean_is_over_all_patients_with_a_dose():
    other = make_patient(dose=30.0, covers=(0, 5))
    without = dataclasses.replace(make_patient(), dose_gy=None)
    found = fit(make_patient(), other, without)["plain_mean_dose_map"]
    dose_gy = found.predict(make_patient()).dose_gy
    np.testing.assert_allclose(dose_gy.ravel(), [20, 5, 5, 5, 0, 15, 0, 0])


def test_targets_are_painted_on_it_the_highest_last():
    found = fit(make_patient())["mean_dose_map_with_prescriptions"]
    patient = make_patient(PTV70=mask(2), PTV56=mask(1, 2), Larynx=mask(0))
    dose_gy = found.predict(patient).dose_gy
    np.testing.assert_allclose(dose_gy.ravel(), [10, 56, 70, 10, 0, 0, 0, 0])


SMALL = geometry.Grid((1, 2, 2), (2.0, 10.0, 10.0), (70.0, 80.0, 90.0))


def make_small(dose=30.0, **structures):
    """Half as wide, about the same centre: its columns are the large one's 1 and 2."""
    return records.Patient(
        patient_id="pt_2",
        grid=SMALL,
        ct=np.zeros(SMALL.shape, np.float32),
        structures=structures,
        dose_gy=np.full(SMALL.shape, dose, np.float32),
        possible_dose_mask=None,
    )


def test_arrays_of_other_shapes_are_laid_on_each_other_by_their_centres():
    large = make_patient(covers=range(8), Brainstem=mask(1))
    small = make_small(Brainstem=mask(0, shape=SMALL.shape))
    found = fit(large, small)
    dose_gy = found["mean_dose_map"].predict(large).dose_gy
    np.testing.assert_allclose(dose_gy.ravel(), [10, 20, 20, 10] * 2)
    dose_gy = found["mean_dose_map"].predict(small).dose_gy
    np.testing.assert_allclose(dose_gy.ravel(), [20, 20] * 2)
    dose_gy = found["plain_mean_dose_map"].predict(large).dose_gy
    np.testing.assert_allclose(dose_gy.ravel(), [5, 20, 20, 5] * 2)
    # Targets are painted on the patient's own voxels.
    target = make_small(PTV70=mask(3, shape=SMALL.shape))
    dose_gy = found["mean_dose_map_with_prescriptions"].predict(target).dose_gy
    np.testing.assert_allclose(dose_gy.ravel(), [20, 20, 20, 70])
    for patient in (large, small):
        drawn = found["prior_map"].predict(patient)
        assert drawn.grid == patient.grid
        np.testing.assert_array_equal(
            drawn.contours[0], patient.structures["Brainstem"]
        )
    moved = make_patient(Brainstem=mask(7))
    drawn = found["mean_shape_at_true_centroid"].predict(moved).contours[0]
    np.testing.assert_array_equal(drawn, moved.structures["Brainstem"])


def test_one_shape_to_train_on_and_another_to_score():
    here, there = FakeSplit(make_patient(covers=range(8))), FakeSplit(make_small())
    found = yardsticks.fit(here, SITE, ("Brainstem",), on=there)
    dose_gy = found["mean_dose_map"].predict(make_small()).dose_gy
    np.testing.assert_allclose(dose_gy.ravel(), [10] * 4)


def test_the_prior_map_is_over_the_patients_that_have_the_structure():
    first = make_patient(Brainstem=mask(0, 1))
    second = make_patient(Brainstem=mask(1, 2))
    found = fit(first, second, structures=("Brainstem", "Larynx"))["prior_map"]
    np.testing.assert_array_equal(
        found.inside["Brainstem"].ravel(), [1, 2, 1, 0, 0, 0, 0, 0]
    )
    assert found.patients == {"Brainstem": 2, "Larynx": 0}
    assert not found.inside["Larynx"].any()
    # All three voxels: Dice 4/5 for both patients; the one in both: 2/3.
    assert found.threshold["Brainstem"] <= 50
    drawn = found.predict(first).contours
    np.testing.assert_array_equal(drawn[0].ravel(), [1, 1, 1, 0, 0, 0, 0, 0])
    assert not drawn[1].any()


def test_the_mean_shape_goes_to_the_true_centroid():
    # The same bar of three voxels at different places: its shape is known exactly.
    first = make_patient(Brainstem=mask(0, 1, 2))
    second = make_patient(Brainstem=mask(5, 6, 7))
    found = fit(first, second)["mean_shape_at_true_centroid"]
    for patient in (first, second):
        drawn = found.predict(patient).contours[0]
        np.testing.assert_array_equal(drawn, patient.structures["Brainstem"])
    # Beside the border it is cut off; without a voxel there is no centroid.
    edge = found.predict(make_patient(Brainstem=mask(3))).contours[0]
    np.testing.assert_array_equal(edge.ravel(), [0, 0, 1, 1, 0, 0, 0, 0])
    for empty in (make_patient(Brainstem=mask()), make_patient(PTV70=mask(1))):
        assert not found.predict(empty).contours.any()


def test_the_threshold_has_the_highest_dice_of_all_levels():
    rng = np.random.default_rng(3)
    chance = rng.random((4, 5, 6))
    masks = [rng.random((4, 5, 6)) < chance for _ in range(7)]
    inside = np.sum(masks, axis=0)
    found = yardsticks._best_threshold(inside, [np.argwhere(m) for m in masks])

    def mean_dice(percent):
        drawn = 100 * inside >= percent * len(masks)
        return np.mean([2 * (drawn & m).sum() / (drawn.sum() + m.sum()) for m in masks])

    best = max(mean_dice(percent) for percent in range(1, 100))
    assert mean_dice(found) == pytest.approx(best)
