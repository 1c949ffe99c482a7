"""Figures of a prediction, worked by hand."""

import numpy as np
import pytest

from mtl_jax.core import geometry, records
from mtl_jax.predict import output_files

GRID = geometry.Grid((1, 10, 10), (2.5, 2.0, 1.0))  # 0.005 cubic centimetres a voxel


def test_volumes_and_doses_by_hand(network):
    model = network("multi", "prostate").model
    rectum, empty = np.zeros(GRID.shape, bool), np.zeros(GRID.shape, bool)
    rectum[0, 0] = True  # 10 voxels: 5, 10 ... 50 Gy
    dose = np.zeros(GRID.shape, np.float32)
    dose[0, 0] = np.arange(5, 55, 5)
    found = records.PredictedVolumes(dose, {"Rectum": rectum, "Bladder": empty})
    said = output_files.structure_statistics(model, GRID, found, {})
    assert said["Rectum"]["volume_cc"] == pytest.approx(0.05)
    assert said["Rectum"]["contours"] == "predicted"
    # Half of voxel k (from 0) has more: D_x is at place n (1 - x) - 1/2.
    values = {name: one["value"] for name, one in said["Rectum"]["dose"].items()}
    assert values == pytest.approx(
        {
            "exact:D_30": 37.5,
            "exact:D_50": 27.5,
            "exact:V_30Gy": 45.0,
            "exact:V_50Gy": 5.0,
            **dict.fromkeys([f"exact:V_{gy}Gy" for gy in (60, 65, 70, 75)], 0.0),
            "exact:D_mean": 27.5,
        }
    )
    assert said["Rectum"]["dose"]["exact:V_30Gy"]["unit"] == "%"
    assert said["Bladder"] == {
        "tg263": "Bladder",
        "contours": "predicted",
        "volume_cc": 0.0,
        "dose": {},
    }
    assert output_files.dose_statistics(dose, 4e-8) == {
        "highest_gy": 50.0,
        "rounded_by_at_most_gy": 2e-8,
    }


@pytest.mark.parametrize(
    ("role", "origin"),
    [("seq_human", "given"), ("seq_auto", "drawn by its contour network")],
)
def test_a_role_without_contours_says_whose_they_are(network, role, origin):
    model = network(role, "prostate").model
    dose = np.full(GRID.shape, 20, np.float32)
    told = {"Femur_L": np.ones(GRID.shape, bool)}
    said = output_files.structure_statistics(
        model, GRID, records.PredictedVolumes(dose), told
    )
    assert said["Femur_L"]["contours"] == origin
    assert said["Femur_L"]["dose"]["exact:D_mean"]["value"] == 20.0
