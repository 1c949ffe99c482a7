"""A prediction against a patient, worked by hand on eight voxels of 0.2 cc."""

import dataclasses
import json
import math

import numpy as np
import pytest

import mtl_jax
from mtl_jax.evaluation import scoring
from mtl_jax.interface import patients
from tests.evaluation import eight_voxels

GRID, mask = eight_voxels.GRID, eight_voxels.mask
DOSE_GY = np.array([60, 50, 40, 30, 20, 10, 0, 0], np.float32).reshape(GRID.shape)
PATIENT = mtl_jax.Patient(
    np.full(GRID.shape, -1000, np.float32),
    GRID,
    structures={"Brainstem": mask(0, 1), "PTV70": mask(2, 3), "LeftParotid": mask(5)},
    dose_gy=DOSE_GY,
    possible_dose_mask=mask(0, 1, 2, 3),
    patient_id="pt_1",
)
# 2 Gy too high; of the Brainstem one voxel of two is right, the parotid is missed.
PREDICTION = mtl_jax.Prediction(
    DOSE_GY + 2,
    {"Brainstem": mask(1, 2), "LeftParotid": mask(), "SpinalCord": mask(7)},
)


def evaluated():
    return mtl_jax.evaluate(PREDICTION, PATIENT, site="openkbp")


def test_the_official_dose_scores():
    found = evaluated()
    # Four voxels 2 Gy too high; in the others, 20 and 10 Gy become 0.
    assert found.dose_error_gy == pytest.approx((4 * 2 + 20 + 10) / 4)
    # Brainstem and target are 2 Gy too high; the parotid's 10 Gy become 0.
    errors_gy = [2, 2, 2, 2, 2, 10, 10]
    assert found.dvh_error_gy == pytest.approx(np.mean(errors_gy))
    assert found.dvh_errors["PTV70"]["openkbp:D_95"] == pytest.approx(2)
    assert found.dvh_errors["Brainstem"]["exact:D_mean"] == pytest.approx(2)


def test_contours_and_what_has_no_value():
    found = evaluated()
    assert found.dice == {"Brainstem": 0.5, "LeftParotid": 0.0, "SpinalCord": None}
    assert found.mean_dice == 0.25
    # The miss costs the diagonal of the grid, from edge to edge.
    size_mm = np.multiply(GRID.shape, GRID.spacing_mm)
    assert found.hd95_mm["LeftParotid"] == pytest.approx(math.hypot(*size_mm))
    assert found.hd95_mm["SpinalCord"] is None
    notes = {(r.structure, r.metric): r.note for r in found.rows}
    assert notes["LeftParotid", "dice"] == "missed"
    assert notes["SpinalCord", "dice"] == "not contoured"
    assert found.dvh_errors["Larynx"]["openkbp:D_mean"] is None


def test_the_rows_are_those_of_the_evaluation():
    """`scoring.score`, as it scores a split, is the second way to them."""
    record = patients.as_record(PATIENT, eight_voxels.SITE)
    rules = scoring.Rules.of_volumes(eight_voxels.SITE, "")
    rows = scoring.score_arrays(
        record, PREDICTION.dose_gy, {"": PREDICTION.masks}, rules
    )
    # repr: NaN is not equal to itself.
    assert repr(list(evaluated().rows)) == repr([r for r in rows if not r.variant])


def test_it_goes_through_json():
    found = evaluated()
    values = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert values["patient_id"] == "pt_1"
    assert values["dice"] == found.dice and values["mean_dice"] == 0.25
    (row,) = [
        row
        for row in values["metrics"]
        if (row["structure"], row["metric"]) == ("SpinalCord", "dice")
    ]
    assert (row["prediction"], row["note"]) == (None, "not contoured")


def test_it_can_be_read():
    head, *lines = repr(evaluated()).split("\n")
    assert head == "pt_1: dose error 9.5 Gy, DVH error 4.29 Gy, mean Dice 0.25"
    (brainstem,) = [line for line in lines if line.startswith("Brainstem")]
    assert brainstem.endswith("D_0.1cc 2 Gy  D_mean 2 Gy")
    assert "Dice 0.5  HD95" in brainstem
    assert "Larynx        not contoured" in lines


def test_what_is_not_there_is_not_scored():
    contours = dataclasses.replace(PREDICTION, dose_gy=None)
    found = mtl_jax.evaluate(contours, PATIENT, site="openkbp")
    assert (found.dose_error_gy, found.dvh_error_gy) == (None, None)
    assert found.dvh_errors == {} and found.mean_dice == 0.25
    dose = dataclasses.replace(PREDICTION, masks={}, site=eight_voxels.SITE)
    found = mtl_jax.evaluate(dose, PATIENT)
    assert found.dice == {} and found.mean_dice is None
    assert found.dose_error_gy == pytest.approx(9.5)


def test_a_file_chooses_the_metrics(write_as):
    path = write_as("metrics.toml")('patient = ["dose_mae_10gy"]\n')
    found = mtl_jax.evaluate(PREDICTION, PATIENT, site="openkbp", metrics=path)
    of_patient = {row.metric: row.error for row in found.rows if not row.structure}
    # From 10 Gy on: four voxels 2 Gy too high, and 20 and 10 Gy that became 0.
    assert of_patient == {
        "dose_mae_10gy": pytest.approx((4 * 2 + 20 + 10) / 6),
        "dose_error": pytest.approx(9.5),
    }


@pytest.mark.parametrize(
    ("prediction", "site", "message"),
    [
        (PREDICTION, None, "site is not known: give"),
        (PREDICTION, "opnkbp", "did you mean 'openkbp'"),
        (mtl_jax.Prediction(DOSE_GY[:, :1], {}), "openkbp", r"shape \(1, 1, 4\)"),
        (mtl_jax.Prediction(DOSE_GY * np.nan, {}), "openkbp", "NaN"),
        (mtl_jax.Prediction(None, {"Brain": mask(1)}), "openkbp", "no structure"),
        (mtl_jax.Prediction(None, {"Larynx": mask(1)[0]}), "openkbp", "same grid"),
    ],
)
def test_what_cannot_be_compared(prediction, site, message):
    larynx = dataclasses.replace(PATIENT, structures={"Larynx": mask(1)})
    with pytest.raises(mtl_jax.MtlError, match=message):
        mtl_jax.evaluate(prediction, larynx, site=site)


def test_a_patient_has_hounsfield_units_and_its_record_what_is_stored():
    record = patients.as_record(PATIENT, eight_voxels.SITE)
    np.testing.assert_array_equal(record.ct, 24)  # OpenKBP's offset is 1024
    again = patients.of_record(record, eight_voxels.SITE)
    np.testing.assert_array_equal(again.ct_hu, PATIENT.ct_hu)
    assert again.site is eight_voxels.SITE and again.grid == GRID
    assert repr(again) == (
        "<mtl_jax.Patient pt_1: CT 1 x 2 x 4, 2 x 10 x 10 mm, 3 structures, dose up to "
        "60.0 Gy>"
    )
    broken = dataclasses.replace(PATIENT, dose_gy=DOSE_GY[0])
    with pytest.raises(mtl_jax.MtlError, match=r"dose_gy has shape \(2, 4\)"):
        patients.as_record(broken, eight_voxels.SITE)
