"""Calibration of probabilities, by hand."""

import math

import numpy as np
import pytest

from mtl_jax.metrics import calibration


def test_probabilities_that_come_true(rng):
    probabilities = rng.uniform(0, 1, (20, 40, 50))
    inside = rng.uniform(0, 1, probabilities.shape) < probabilities
    found = calibration.Reliability()
    found.add(probabilities, inside)
    predicted, observed = found.points
    assert np.all(np.diff(predicted) > 0) and predicted.size == calibration.BINS
    # About 4000 voxels a bin: three standard deviations are below 0.025.
    assert np.abs(predicted - observed).max() < 0.025
    assert found.error < 0.015


def test_bins_by_hand():
    found = calibration.Reliability()
    found.add(
        np.array([0.0, 0.009, 0.15, 0.15, 1.0]),
        np.array([True, True, True, False, True]),
    )
    predicted, observed = found.points
    assert predicted == pytest.approx([0.15, 1.0])  # less than 0.01 does not count
    assert observed == pytest.approx([0.5, 1.0])
    assert found.error == pytest.approx(2 / 3 * 0.35)


def test_patients_add_up_and_lack_structures():
    found: dict[str, calibration.Reliability] = {}
    sure, mask = np.full((1, 2, 2), 0.95, np.float16), np.ones((1, 2, 2), bool)
    calibration.add(found, {"A": sure, "B": sure}, {"A": mask})
    calibration.add(found, {"A": sure}, {"A": ~mask})
    assert set(found) == {"A"}
    assert found["A"].points[1] == pytest.approx([0.5])
    assert math.isnan(calibration.Reliability().error)
