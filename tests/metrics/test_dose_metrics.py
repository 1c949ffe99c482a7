"""DVH metrics and official scores by hand, and against the plain definition."""

import numpy as np
import pytest

from mtl_jax.core import geometry, records, sites
from mtl_jax.metrics import dvh, openkbp, overlap


def test_percentages_of_a_ladder():
    values = np.arange(101.0)  # 0, 1, ... 100 Gy
    assert dvh.d_percent(values, 99) == 1.0
    assert dvh.d_percent(values, 95) == 5.0
    assert dvh.d_percent(values, 1) == 99.0
    assert dvh.d_mean(values) == 50.0


def test_a_tenth_of_a_cc_is_a_percentile_of_whole_voxels():
    values = np.arange(100.0)
    # 100 mm3 of 40 mm3 voxels: 2.5, rounded half to even: 2 of 100 voxels, p = 98.
    assert dvh.d_cc(values, 0.1, 40.0) == pytest.approx(np.percentile(values, 98))
    # Less than a voxel counts as one.
    assert dvh.d_cc(values, 0.1, 1000.0) == pytest.approx(np.percentile(values, 99))


def test_a_structure_smaller_than_the_volume_gives_its_minimum():
    assert dvh.d_cc(np.array([3.0, 7.0]), 0.1, 10.0) == 3.0


def test_dose_outside_the_mask_is_punished():
    reference = np.zeros((1, 2, 2), np.float32)
    predicted = np.full((1, 2, 2), 2.0, np.float32)
    mask = np.array([[[True, False], [False, False]]])
    assert openkbp.dose_error(reference, predicted, mask) == 8.0


def test_scores_pool_cells_and_average_patients():
    assert openkbp.dose_score([1.0, 3.0]) == 2.0
    assert openkbp.dvh_score([-1.0, 2.0, 3.0]) == 2.0


def test_metrics_follow_the_reference_structures():
    shape = (1, 1, 4)
    masks = {"Larynx": [1, 1, 0, 0], "PTV70": [0, 0, 1, 1], "PTV63": [0, 0, 0, 0]}
    patient = records.Patient(
        patient_id="pt_1",
        grid=geometry.Grid(shape, (2.0, 10.0, 10.0)),
        ct=np.zeros(shape, np.float32),
        structures={k: np.array(v, bool).reshape(shape) for k, v in masks.items()},
        dose_gy=None,
        possible_dose_mask=None,
    )
    dose = np.array([10.0, 20.0, 60.0, 70.0], np.float32).reshape(shape)
    found = openkbp.dvh_metrics(dose, patient, sites.OPENKBP)
    assert found["Larynx", "D_mean"] == 15.0
    assert found["Larynx", "D_0.1cc"] == 15.0  # one of two voxels of 200 mm3: p = 50
    assert found["PTV70", "D_95"] == pytest.approx(60.5)
    assert not any(name == "PTV63" for name, _ in found)  # empty: no value


def test_dice_of_half_overlapping_cubes():
    a, b = np.zeros((2, 4, 4, 4), bool)
    a[:, :, 0:2] = b[:, :, 1:3] = True  # 32 voxels each, 16 shared
    assert overlap.dice(a, b) == 0.5
    assert overlap.dice(a, ~a) == 0.0
    assert np.isnan(overlap.dice(a & ~a, b & ~b))
