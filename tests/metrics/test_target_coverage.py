"""Coverage, homogeneity and conformity of targets, by hand."""

import math

import numpy as np
import pytest

from mtl_jax.core import geometry, records, reported_metrics, sites
from mtl_jax.metrics import dose_metrics

GRID = geometry.Grid((1, 1, 10), (1.0, 1.0, 1.0))
TARGETS = ("target:D_95", "target:HI", "target:CI")
TEMPLATE = reported_metrics.Template(
    patient=(),
    dvh={"PTV70": TARGETS, "PTV56": TARGETS, "Larynx": TARGETS},
    contours={},
    dose_table={},
)


def mask(*voxels: int) -> np.ndarray:
    found = np.zeros(GRID.shape, bool)
    found[0, 0, list(voxels)] = True
    return found


def score(dose_gy: list[float]):
    """The values of a patient whose plan has exactly the prescriptions."""
    plan = np.array([[[0, 0, 56, 56, 70, 70, 0, 0, 0, 0]]], np.float32)
    patient = records.Patient(
        "pt_1",
        GRID,
        np.zeros(GRID.shape, np.float32),
        {"PTV70": mask(4, 5), "PTV56": mask(2, 3), "Larynx": mask(8)},
        plan,
        None,
    )
    predicted = np.array([[dose_gy]], np.float32)
    values = dose_metrics.score(plan, predicted, patient, sites.OPENKBP, TEMPLATE)
    return {(v.structure, v.metric): v for v in values}


def test_a_plan_of_the_prescriptions_is_perfect():
    found = score([0, 0, 56, 56, 70, 70, 0, 0, 0, 0])
    for target in ("PTV70", "PTV56"):
        assert found[target, "target:D_95"].prediction == pytest.approx(100)
        assert found[target, "target:HI"].prediction == 0
        # The isodose of 56 Gy holds both targets, which is its target volume.
        assert found[target, "target:CI"].prediction == 1


def test_a_dose_that_misses_by_hand():
    found = score([0, 0, 28, 28, 63, 77, 70, 70, 70, 70])
    assert found["PTV56", "target:D_95"].prediction == pytest.approx(50)
    assert found["PTV56", "target:D_95"].error == pytest.approx(50)
    assert found["PTV56", "target:D_95"].unit == "%"
    # Two voxels, D_98 = D_95 = 63, D_2 = 77, D_50 between them.
    assert found["PTV70", "target:D_95"].prediction == pytest.approx(90)
    assert found["PTV70", "target:HI"].prediction == pytest.approx(14 / 70)
    # 5 voxels of 70 Gy, 2 in the target, 1 in both.
    assert found["PTV70", "target:CI"].prediction == pytest.approx(1 / (2 * 5))
    # 6 voxels of 56 Gy, 4 in the targets of 56 or more, 2 in both.
    assert found["PTV56", "target:CI"].prediction == pytest.approx(4 / (4 * 6))


def test_without_dose_and_without_a_prescription():
    found = score([0.0] * 10)
    assert found["PTV70", "target:CI"].prediction == 0
    assert math.isnan(found["PTV70", "target:HI"].prediction)
    assert found["PTV70", "target:HI"].note == "no dose in the target"
    assert found["Larynx", "target:D_95"].note == "not a target"
    assert math.isnan(found["Larynx", "target:D_95"].error)
