"""The prostate site through evaluation and tables, worked by hand."""

import math

import numpy as np
import pytest

from mtl_jax.configs import prostate
from mtl_jax.core import config as configs
from mtl_jax.core import geometry, records, sites
from mtl_jax.evaluation import scoring, summary
from mtl_jax.inference import volumes
from mtl_jax.study import published
from tests.study import evaluation_rows

SITE = sites.PROSTATE
GRID = geometry.Grid((1, 10, 13), (3.0, 2.0, 2.5))
RULES = scoring.Rules.of(configs.check(prostate.get_config()))

# Voxels by structure, with reference and predicted dose.
DOSES = {
    # 100 voxels, a tenth of a gray apart; the prediction is 1 Gy more.
    "Prostate": (50 + np.arange(100) / 10, 51 + np.arange(100) / 10),
    # 5, 10 ... 50 Gy; the prediction has 10 Gy more in the hotter half.
    "Rectum": (np.arange(5, 55, 5), np.arange(5, 55, 5) + ([0] * 5 + [10] * 5)),
    # 2, 4 ... 20 Gy, and twice that.
    "Femur_L": (np.arange(2, 22, 2), np.arange(4, 44, 4)),
}
# Of n voxels, half of voxel k (from 0, by rising dose) has more than d_k: D_x is at
# place n (1 - x) - 1/2, V is the inverse. Reference, prediction:
BY_HAND = {
    ("Prostate", "exact:D_99"): (50.05, 51.05),  # place 1/2
    ("Prostate", "exact:D_mean"): (54.95, 55.95),
    ("Rectum", "exact:D_30"): (37.5, 47.5),  # place 6 1/2: 35 and 40; 45 and 50
    ("Rectum", "exact:D_50"): (27.5, 32.5),  # place 4 1/2: 25 and 30; 25 and 40
    ("Rectum", "exact:V_30Gy"): (45.0, 155 / 3),  # at place 5; at place 4 1/3
    ("Rectum", "exact:D_mean"): (27.5, 32.5),
    ("Femur_L", "exact:D_5"): (20.0, 40.0),  # place 9
    ("Femur_L", "exact:V_14Gy"): (35.0, 70.0),  # at place 6; at place 2 1/2
    ("Femur_L", "exact:V_22Gy"): (0.0, 50.0),  # nowhere; at place 4 1/2
    ("Femur_L", "exact:D_mean"): (11.0, 22.0),
}


def make_patient(name="a1b2", draw=("Prostate", "Rectum", "Femur_L")):
    """A patient with the reference doses above, and a prediction with the others."""
    doses = np.zeros((2, 130), np.float32)
    structures, first = {}, 0
    for structure, pair in DOSES.items():
        voxels = slice(first, first + len(pair[0]))
        doses[:, voxels] = pair
        mask = np.zeros(130, bool)
        mask[voxels] = True
        structures[structure] = mask.reshape(GRID.shape)
        first = voxels.stop
    reference, predicted = doses.reshape(2, *GRID.shape)
    kept = {n: mask for n, mask in structures.items() if n in draw}
    ct = np.zeros(GRID.shape, np.float32)
    patient = records.Patient(name, GRID, ct, kept, reference, None)
    records.check_patient(patient, SITE.names)
    drawn = np.stack([structures[n] for n in DOSES]).astype(np.float16)
    return patient, volumes.Prediction(GRID, predicted, drawn, tuple(DOSES))


def by_key(rows):
    return {(row.structure, row.metric): row for row in rows}


def test_metrics_of_table_1_by_hand():
    rows = by_key(scoring.score(*make_patient(), RULES))
    for (structure, metric), (reference, prediction) in BY_HAND.items():
        row = rows[structure, metric]
        found = (row.reference, row.prediction)
        assert found == pytest.approx((reference, prediction), abs=1e-5), metric
        assert row.error == pytest.approx(abs(prediction - reference), abs=1e-5)
        assert row.unit == ("%" if ":V_" in metric else "Gy")
    assert rows["Bladder", "exact:D_30"].note == "not contoured"
    assert {key for key in rows if key[0] in BY_HAND} <= {*SITE.dose_table}
    # 100 voxels are 1 Gy off, 5 by 10 Gy, ten by 11 Gy in the mean; of the grid's 130.
    whole = rows["", "dose_error"]
    assert whole.error == pytest.approx((100 + 50 + 110) / 130)
    assert "per voxel of the grid" in whole.note
    # 5 Gy and more in the reference: 100 x 1, 5 x 0, 5 x 10, then 6 + 8 ... + 20 in 8.
    assert rows["", "dose_mae_5gy"].error == pytest.approx((100 + 50 + 104) / 118)
    # The stored CT is in HU: 0 is a body, all of the grid.
    assert rows["", "dose_mae_body"].error == pytest.approx(260 / 130)


def test_the_summary_has_no_scores_of_the_challenge():
    rows = scoring.score(*make_patient(), RULES)
    found = scoring.summarise(rows, SITE)
    assert not [name for name in found if "openkbp" in name]
    assert found["dose_error"] == pytest.approx(2.0)
    assert found["mean_dice"] == 1.0
    about = {"split": "test", "step": 1, "yardsticks": {}}
    lines = summary.text(found | about, SITE).splitlines()
    assert [line.split() for line in lines if line.startswith("Femur_L")] == [
        ["Femur_L", "D_mean,", "error", "in", "Gy", "11.000", "1"],
        ["Femur_L", "D_5,", "error", "in", "Gy", "20.000", "1"],
        ["Femur_L", "V_14Gy,", "error", "in", "%", "35.000", "1"],
        ["Femur_L", "V_22Gy,", "error", "in", "%", "50.000", "1"],
        ["Femur_L", "Dice", "1.000", "1"],
        ["Femur_L", "HD95,", "mm", "0.000", "1"],
    ]
    assert any(line.startswith("dose error, Gy") for line in lines)


def test_table_2_from_a_scored_patient():
    rows = scoring.score(*make_patient(), RULES)
    tables = evaluation_rows.build({"multi": [rows]}, site=SITE)
    table = tables["table2"]
    assert evaluation_rows.values(table, "ROI")[:10] == [name for name, _ in BY_HAND]
    assert evaluation_rows.values(table, "metric")[:10] == [
        metric for _, metric in BY_HAND
    ]
    wanted = [abs(b - a) for a, b in BY_HAND.values()]
    averages = [
        np.mean(wanted),
        np.mean([1, 1, 10, 5, 5, 20, 11]),  # the rows in Gy
        np.mean([20 / 3, 35, 50]),  # in percent
    ]
    ours = evaluation_rows.values(table, "model: Multi-Automated")[:13]
    assert ours == pytest.approx([*wanted, *averages], abs=1e-5)
    assert "table4" in tables and "openkbp" not in tables
    dose = tables["dose"]
    assert dose.title == "Error of the dose in the whole patient"
    assert evaluation_rows.values(dose, "as configured: dose error, Gy") == [
        pytest.approx(2.0)
    ]
    assert not [c.title for c in dose.columns if "DVH" in c.title or "score" in c.title]
    assert "OpenKBP" not in " ".join(dose.caption)


def everything(scale):
    """An error of `scale` in each row of the site's table, and contours."""
    rows = [
        evaluation_rows.dose_row(
            who, name, metric, scale, unit="%" if ":V_" in metric else "Gy"
        )
        for who in evaluation_rows.PATIENTS
        for name, metric in SITE.dose_table
    ]
    for who in evaluation_rows.PATIENTS:
        for name in SITE.contoured:
            rows += [
                evaluation_rows.dice_row(who, name, 0.8),
                evaluation_rows.hd_row(who, name, 5.0),
            ]
    return rows


def test_tables_2_and_4_stand_beside_the_papers():
    results = {name: [everything(2.0)] for name in ("baseline", "seq_auto", "multi")}
    results["contour"] = [everything(0.0)]
    tables = evaluation_rows.build(results, site=SITE)
    paper = published.load()
    dvh, dice = paper.table("prostate", "dvh"), paper.table("prostate", "dice")
    assert dvh is not None and dice is not None
    for role, label in (("multi", "Multi-Automated"), ("seq_auto", "Seq-Automated")):
        shown = evaluation_rows.values(tables["table2"], f"paper: {label}")[:18]
        assert shown == [row.values[role].value for row in dvh.rows]
    assert (
        evaluation_rows.values(tables["table2"], "paper: Multi-Automated")[18] == 3.528
    )
    assert (
        evaluation_rows.values(tables["table2"], "model: Multi-Automated")[:19]
        == [2.0] * 19
    )
    claim = evaluation_rows.values(tables["table2"], "paper: Multi-Automated")[-2]
    assert claim == pytest.approx(19.82, abs=0.005)
    assert evaluation_rows.values(tables["table4"], "ROI")[:5] == list(SITE.contoured)
    table = tables["table4"]
    shown = evaluation_rows.values(table, "paper, Hausdorff distance: Multi-Automated")
    assert shown == [2.9, 5.603, 4.849, 10.452, 36.441, 12.049]
    assert (
        evaluation_rows.values(tables["table2-tests-seq_auto"], "comparisons")
        == [18] * 18
    )
    assert (
        evaluation_rows.values(tables["table4-tests-contour"], "comparisons")
        == [5] * 10
    )


def test_what_a_patient_lacks_is_left_out_of_the_means():
    rows = [
        row
        for who, draw in (("a1", ("Prostate",)), ("b2", ("Prostate", "Rectum")))
        for row in scoring.score(*make_patient(who, draw), RULES)
    ]
    table = evaluation_rows.build({"multi": [rows]}, site=SITE)["table2"]
    assert evaluation_rows.values(table, "n")[:6] == [2, 2, 1, 1, 1, 1]
    assert "Femur_L" not in evaluation_rows.values(table, "ROI")
    found = scoring.summarise(rows, SITE)
    assert found["metrics"]["exact:D_30/Rectum"]["n"] == 1
    assert math.isclose(found["metrics"]["exact:D_30/Rectum"]["mean"], 10, abs_tol=1e-5)
