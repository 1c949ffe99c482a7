"""Tables of contours and of official scores, worked by hand."""

import numpy as np
import pytest
from scipy import stats

from mtl_jax.evaluation import scoring
from tests.study import evaluation_rows


def test_table_5_counts_what_was_missed():
    rows = evaluation_rows.contour_rows(0.8, 8.0)
    rows[0] = evaluation_rows.dice_row("pt_1", "Brainstem", 0.0, "missed")
    rows[1] = evaluation_rows.hd_row("pt_1", "Brainstem", 900.0, "missed")
    tables = evaluation_rows.build(
        {"contour": [evaluation_rows.contour_rows(0.7, 9.0)], "multi": [rows]}
    )
    table = tables["table5"]
    # pt_1's 0, and 0.79, 0.76, 0.71 of the others: never left out.
    assert evaluation_rows.values(table, "Dice ↑: Multi-Automated")[0] == pytest.approx(
        2.26 / 4
    )
    distance = evaluation_rows.values(
        table, "Hausdorff distance, mm ↓: Multi-Automated"
    )[0]
    assert distance == pytest.approx((900 + 9 + 12 + 17) / 4)
    assert evaluation_rows.values(table, "missed: Multi-Automated") == [1, 0, 0, 0, 1]
    assert evaluation_rows.values(table, "missed: DL-Baseline") == [0] * 5
    assert evaluation_rows.column(table, "Dice ↑: DL-Baseline")[0].best
    assert evaluation_rows.column(table, "Dice ↑: Multi-Automated")[1].best
    assert evaluation_rows.values(table, "paper, Dice: Multi-Automated")[-1] == 0.716
    tests = tables["table5-tests-contour"]
    assert evaluation_rows.values(tests, "comparisons") == [4] * 8
    assert evaluation_rows.values(tests, "mean difference")[1] == pytest.approx(
        0.1
    )  # of 1 - Dice


def test_variants_have_their_own_table_and_leave_the_others_alone():
    rows = evaluation_rows.contour_rows(0.7, 9.0)
    rows += [
        evaluation_rows.dice_row(w, s, 0.9, "", "largest_component")
        for w in evaluation_rows.PATIENTS
        for s in evaluation_rows.OARS
    ]
    tables = evaluation_rows.build({"contour": [rows]})
    assert evaluation_rows.values(tables["table5"], "Dice ↑: DL-Baseline")[
        0
    ] == pytest.approx(0.665)
    cleaned = tables["table5-largest_component"]
    assert evaluation_rows.values(cleaned, "Dice ↑: DL-Baseline") == pytest.approx(
        [0.9] * 5
    )


def whole(patient, error, variant=""):
    return scoring.Row(
        patient,
        "",
        "dose_error",
        "Gy",
        evaluation_rows.NAN,
        evaluation_rows.NAN,
        error,
        "",
        variant,
    )


def test_official_scores_pool_cells_and_keep_published_ones_to_informed():
    def rows(scale):
        kept = [whole("pt_1", 1.0 * scale), whole("pt_2", 3.0 * scale)]
        kept += [
            whole(w, 9.0 * scale, "without_possible_dose_mask")
            for w in evaluation_rows.PATIENTS[:2]
        ]
        # Three cells of pt_1 and one of pt_2; what was added to the report is no cell.
        kept += [
            evaluation_rows.dose_row("pt_1", "PTV70", f"openkbp:D_{x}", scale)
            for x in (1, 95, 99)
        ]
        kept.append(
            evaluation_rows.dose_row("pt_2", "Larynx", "openkbp:D_mean", 5.0 * scale)
        )
        kept.append(evaluation_rows.dose_row("pt_2", "Larynx", "openkbp:D_2", 77.0))
        without = "without_possible_dose_mask"
        kept.append(
            evaluation_rows.dose_row("pt_2", "PTV70", "openkbp:D_1", 8 * scale, without)
        )
        return kept

    tables = evaluation_rows.build(
        {"multi": [rows(1)], "informed": [rows(0.5)]}, {"mean dose map": rows(2)}
    )
    table = tables["openkbp"]
    assert evaluation_rows.values(table, "method") == [
        "Multi-Automated",
        "informed (not in the paper)",
        "published: DCNN, 2D network",
        "published: C3D, cascade of 3D networks (the challenge's winner)",
        "mean dose map",
    ]
    dose = "as configured: dose score, Gy"
    assert evaluation_rows.values(table, dose) == [2.0, 1.0, 2.75, 2.43, 4.0]
    dvh = evaluation_rows.column(table, "as configured: DVH score, Gy")
    assert [cell.value for cell in dvh] == [2.0, 1.0, 1.68, 1.48, 4.0]
    assert dvh[0].spread == pytest.approx(np.std([1, 5], ddof=1))
    assert evaluation_rows.values(table, "DVH cells")[0] == 4
    masked = evaluation_rows.values(table, "without possible dose mask: dose score, Gy")
    assert masked == [9.0, 4.5, None, None, 18.0]
    dvh = evaluation_rows.values(table, "without possible dose mask: DVH score, Gy")
    assert dvh == [8.0, 4.0, None, None, 16.0]
    assert "Published scores" in " ".join(table.caption)
    alone = evaluation_rows.build({"multi": [rows(1)]})["openkbp"]
    assert evaluation_rows.values(alone, "method") == ["Multi-Automated"]
    assert "Published scores" not in " ".join(alone.caption)


def test_roles_are_tested_against_the_yardsticks(rng):
    patients = [f"pt_{i}" for i in range(12)]
    errors = {
        name: dict(zip(patients, rng.gamma(4.0, scale, 12), strict=True))
        for name, scale in (("baseline", 1.0), ("multi", 0.8), ("map", 2.0))
    }
    rows = {name: [whole(w, e) for w, e in by.items()] for name, by in errors.items()}
    tables = evaluation_rows.build(
        {"multi": [rows["multi"]], "baseline": [rows["baseline"]]},
        {"mean dose map": rows["map"], "zero dose": rows["map"][:5]},
    )
    table = tables["openkbp-tests"]
    pairs = list(
        zip(
            evaluation_rows.values(table, "method"),
            evaluation_rows.values(table, "against"),
            strict=True,
        )
    )
    assert pairs == [
        ("Baseline", "mean dose map"),
        ("Baseline", "zero dose"),
        ("Multi-Automated", "mean dose map"),
        ("Multi-Automated", "zero dose"),
    ]
    a, b = ([errors[name][w] for w in patients] for name in ("map", "multi"))
    p = stats.ttest_rel(a, b, alternative="greater").pvalue
    found = evaluation_rows.values(table, "corrected p: better")[2]
    assert found == pytest.approx(min(1, 4 * p))
    assert evaluation_rows.values(table, "n") == [12, 5, 12, 5]
    assert evaluation_rows.values(table, "left out") == [0, 7, 0, 7]


def test_tests_average_a_patient_over_the_seeds():
    def rows(*dices):
        return [
            evaluation_rows.dice_row(w, "Brainstem", d)
            for w, d in zip(evaluation_rows.PATIENTS, dices, strict=True)
        ]

    seeds = [rows(0.5, 0.6, 0.7, 0.8), rows(0.7, 0.8, 0.9, 0.6)]
    averaged = rows(0.6, 0.7, 0.8, 0.7)
    contour = [rows(0.5, 0.55, 0.5, 0.65)]
    several, one = (
        evaluation_rows.build({"contour": contour, "multi": multi})[
            "table5-tests-contour"
        ]
        for multi in (seeds, [averaged])
    )
    for name in ("mean difference", "p: better", "95 % interval: low"):
        first, second = (
            evaluation_rows.values(several, name),
            evaluation_rows.values(one, name),
        )
        assert first == pytest.approx(second)
    assert evaluation_rows.values(one, "mean difference")[0] == pytest.approx(0.15)
    table = evaluation_rows.build({"contour": contour, "multi": seeds})["table5"]
    # Means of 0.65 and 0.75 for the seeds: their mean, and their spread.
    shown = evaluation_rows.column(table, "Dice ↑: Multi-Automated")[0]
    assert shown.value == pytest.approx(0.7)
    assert shown.spread == pytest.approx(0.1 / np.sqrt(2))
