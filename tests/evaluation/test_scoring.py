"""Scores of predictions by hand, their summary and their files."""

import dataclasses
import math

import numpy as np
import pytest

from mtl_jax.configs import common
from mtl_jax.core import config as configs
from mtl_jax.core import records
from mtl_jax.evaluation import scoring, summary
from mtl_jax.inference import volumes
from tests.evaluation import eight_voxels

GRID, SITE, RULES = eight_voxels.GRID, eight_voxels.SITE, eight_voxels.RULES
mask = eight_voxels.mask


def make_patient(name="pt_1", dose=10.0):
    return records.Patient(
        patient_id=name,
        grid=GRID,
        ct=np.zeros(GRID.shape, np.float32),
        structures={"Brainstem": mask(0, 1), "PTV70": mask(2)},
        dose_gy=np.where(mask(0, 1, 2, 3), np.float32(dose), np.float32(0)),
        possible_dose_mask=mask(0, 1, 2, 3),
    )


def make_prediction(dose, *drawn):
    contours = np.stack([mask(*drawn), mask()]).astype(np.float16)
    return volumes.Prediction(
        GRID, np.full(GRID.shape, dose, np.float32), contours, ("Brainstem", "Larynx")
    )


def by_key(rows, variant=""):
    return {(r.structure, r.metric): r for r in rows if r.variant == variant}


def test_scores_worked_by_hand():
    rows = by_key(scoring.score(make_patient(), make_prediction(13.0, 1, 2), RULES))
    assert rows["", "dose_error"].error == pytest.approx(3.0)
    assert rows["Brainstem", "openkbp:D_mean"].error == pytest.approx(3.0)
    assert rows["PTV70", "openkbp:D_95"].reference == pytest.approx(10.0)
    assert rows["Brainstem", "dice"].prediction == 0.5
    # A structure that was not contoured has no Dice, and says so.
    assert math.isnan(rows["Larynx", "dice"].prediction)
    assert rows["Larynx", "dice"].note == "not contoured"


def test_dose_outside_the_mask_counts_unless_it_is_applied():
    # 4 voxels inside are 3 Gy off, 4 outside 13 Gy; per 4 voxels of the mask.
    unmasked = pytest.approx((4 * 3 + 4 * 13) / 4)
    found = scoring.score(make_patient(), make_prediction(13.0), RULES)
    assert by_key(found)["", "dose_error"].error == pytest.approx(3.0)
    assert by_key(found, scoring.WITHOUT_MASK)["", "dose_error"].error == unmasked
    rules = dataclasses.replace(RULES, apply_possible_dose_mask=False)
    found = scoring.score(make_patient(), make_prediction(13.0), rules)
    assert by_key(found)["", "dose_error"].error == unmasked
    assert by_key(found, scoring.WITH_MASK)["", "dose_error"].error == 3.0


def test_contours_are_scored_with_and_without_their_stray_pieces():
    # The brainstem is [0, 1]; drawn are [0, 1] and, apart, [3].
    found = scoring.score(make_patient(), make_prediction(10.0, 0, 1, 3), RULES)
    assert by_key(found)["Brainstem", "dice"].prediction == pytest.approx(0.8)
    cleaned = by_key(found, scoring.LARGEST)
    assert cleaned["Brainstem", "dice"].prediction == 1.0
    rules = dataclasses.replace(RULES, largest_component=True)
    found = scoring.score(make_patient(), make_prediction(10.0, 0, 1, 3), rules)
    assert by_key(found)["Brainstem", "dice"].prediction == 1.0
    kept = by_key(found, scoring.ALL_PIECES)["Brainstem", "dice"]
    assert kept.prediction == pytest.approx(0.8)


def test_softmax_contours_are_scored_where_they_are_the_most_probable():
    contours = np.stack([0.4 * mask(0, 1), 0.35 * mask(1)]).astype(np.float16)
    prediction = volumes.Prediction(GRID, None, contours, ("Brainstem", "Larynx"))
    cut = by_key(scoring.score(make_patient(), prediction, RULES))
    assert cut["Brainstem", "dice"].prediction == 0.0
    rules = dataclasses.replace(RULES, contour_head="softmax")
    # In voxel 0 the background has 0.6, in voxel 1 it has 0.25.
    found = by_key(scoring.score(make_patient(), prediction, rules))
    assert found["Brainstem", "dice"].prediction == pytest.approx(2 / 3)
    config = common.get_config()
    config.model.contour_head = "softmax"
    assert scoring.Rules.of(configs.check(config)).contour_head == "softmax"


def test_a_perfect_prediction_has_no_error():
    patient = make_patient()
    prediction = volumes.Prediction(
        GRID,
        patient.dose_gy,
        patient.structures["Brainstem"][None].astype(np.float16),
        ("Brainstem",),
    )
    found = scoring.summarise(scoring.score(patient, prediction, RULES), SITE)
    assert found["openkbp_dose_score"] == 0.0
    assert found["openkbp_dvh_score"] == 0.0
    assert found["mean_dice"] == 1.0


def test_a_missed_structure_counts_as_zero():
    rows = by_key(scoring.score(make_patient(), make_prediction(1.0), RULES))
    assert rows["Brainstem", "dice"].prediction == 0.0
    assert rows["Brainstem", "dice"].note == "missed"


def test_patients_are_the_unit_of_the_summary():
    rows = [
        *scoring.score(make_patient("pt_1"), make_prediction(12.0, 0, 1), RULES),
        *scoring.score(make_patient("pt_2"), make_prediction(16.0, 0), RULES),
    ]
    found = scoring.summarise(rows, SITE)
    assert found["patients"] == 2
    assert found["openkbp_dose_score"] == pytest.approx(4.0)
    dice = found["metrics"]["dice/Brainstem"]
    assert dice["n"] == 2
    assert dice["mean"] == pytest.approx((1 + 2 / 3) / 2)
    assert dice["std"] == pytest.approx(np.std([1, 2 / 3], ddof=1))
    assert "dice/Larynx" not in found["metrics"]
    about = {"split": "test", "step": 3, "yardsticks": {}}
    text = summary.text(found | about, SITE)
    assert "4.000" in text
    assert "2 patients, step 3" in text


def test_the_table_survives_its_file(tmp_path):
    rows = scoring.score(make_patient(), make_prediction(13.0, 1, 2), RULES)
    path = tmp_path / "evaluation" / "test.csv"
    scoring.write_csv(rows, path)
    assert scoring.summarise(scoring.read_csv(path), SITE) == scoring.summarise(
        rows, SITE
    )
    head = path.read_text().splitlines()[0]
    assert head == (
        "patient,structure,metric,unit,reference,prediction,error,note,variant"
    )


def test_official_scores_and_dice_are_there_whatever_a_file_leaves_out(tmp_path):
    config = common.get_config()
    path = tmp_path / "few.toml"
    path.write_text(
        'patient = ["dose_mae_body"]\n[dvh]\nBrainstem = ["exact:D_50"]\nPTV70 = []\n'
        "[dose_table]\n[contours]\nBrainstem = []\n"
    )
    config.evaluate.metrics = str(path)
    rules = scoring.Rules.of(configs.check(config))
    few = scoring.score(make_patient(), make_prediction(13.0, 1, 2), rules)
    every = scoring.score(make_patient(), make_prediction(13.0, 1, 2), RULES)
    found, expected = (scoring.summarise(rows, SITE) for rows in (few, every))
    for key in ("openkbp_dose_score", "openkbp_dvh_score", "mean_dice"):
        assert found[key] == expected[key]
    assert ("Brainstem", "exact:D_50") in by_key(few)
    assert ("Brainstem", "hd100") not in by_key(few)
