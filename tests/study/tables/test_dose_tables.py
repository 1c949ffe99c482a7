"""Tables of DVH errors, from small cohorts whose numbers are worked by hand."""

import numpy as np
import pytest
from scipy import stats

from mtl_jax.core import errors, sites
from mtl_jax.report import render
from tests.study import evaluation_rows


def test_table_3_by_hand():
    table = evaluation_rows.build(
        {
            "baseline": [evaluation_rows.dose_rows(1)],
            "multi": [evaluation_rows.dose_rows(2)],
        }
    )["table3"]
    # Means of 1, 2, 3, 4 and of twice that; the average of both is 3.75.
    assert evaluation_rows.values(table, "model: Baseline")[:9] == [2.5, 5.0] * 4 + [
        3.75
    ]
    assert evaluation_rows.values(table, "model: Multi-Automated")[:9] == [
        5.0,
        10.0,
    ] * 4 + [7.5]
    first = evaluation_rows.column(table, "model: Baseline")[0]
    assert first.spread == pytest.approx(np.std([1, 2, 3, 4], ddof=1))
    assert (
        first.best
        and not evaluation_rows.column(table, "model: Multi-Automated")[0].best
    )
    assert evaluation_rows.values(table, "ROI")[:8:2] == list(evaluation_rows.OARS)
    assert evaluation_rows.values(table, "metric")[:2] == [
        "openkbp:D_0.1cc",
        "openkbp:D_mean",
    ]
    assert evaluation_rows.values(table, "n")[:8] == [4] * 8
    # The paper's own cohort.values, on its own cohort, stand beside.
    assert evaluation_rows.values(table, "paper: Multi-Automated")[:2] == [
        29.922,
        3.634,
    ]
    assert evaluation_rows.column(table, "paper: Multi-Automated")[7].mark == "†"
    assert evaluation_rows.values(table, "paper: Seq-Automated")[8] == 11.65
    assert "Not run: Seq-Human, Seq-Automated." in table.caption


def test_no_role_is_bold_where_a_yardstick_is_better():
    results = {"baseline": [evaluation_rows.dose_rows(2)]}
    for yardstick, bold in (
        (evaluation_rows.dose_rows(3), True),
        (evaluation_rows.dose_rows(1), False),
    ):
        table = evaluation_rows.build(results, {"mean dose map": yardstick})["table3"]
        for title, expected in (
            ("model: Baseline", bold), ("yardstick: mean dose map", False)
        ):  # fmt: skip
            column = evaluation_rows.column(table, title)
            assert [cell.best for cell in column[:8]] == [expected] * 8


def test_the_paper_s_patients_are_not_set_beside_phantoms():
    results = {"baseline": [evaluation_rows.dose_rows(2)]}
    for generated in (True, False):
        table = evaluation_rows.build(results, generated=generated)["table3"]
        groups = {column.title.partition(":")[0] for column in table.columns}
        assert ("paper" in groups) is not generated


def test_relative_differences_in_both_definitions():
    results = {
        "baseline": [evaluation_rows.dose_rows(4)],
        "seq_auto": [evaluation_rows.dose_rows(8)],
        "multi": [evaluation_rows.dose_rows(3)],
    }
    table = evaluation_rows.build(results)["table3"]
    assert [row[0].value for row in table.rows[-3:]] == [
        "(Baseline - role) / Baseline",
        "(Seq-Automated - Multi) / Baseline",
        "(Seq-Automated - Multi) / Seq-Automated",
    ]
    ours = evaluation_rows.values(table, "model: Multi-Automated")[-3:]
    assert ours == pytest.approx([25.0, 125.0, 62.5])
    assert evaluation_rows.values(table, "model: Seq-Automated")[-3] == pytest.approx(
        -100.0
    )
    theirs = evaluation_rows.values(table, "paper: Multi-Automated")[-3:]
    assert theirs == pytest.approx([-7.132, 16.33, 13.23], abs=0.005)


def test_tests_are_scipys_times_the_rows(rng):
    ours, theirs = evaluation_rows.dose_rows(1), []
    for row in ours:
        error = row.error + rng.normal(0.5, 0.5)
        theirs.append(
            evaluation_rows.dose_row(row.patient, row.structure, row.metric, error)
        )
    tables = evaluation_rows.build({"seq_auto": [theirs], "multi": [ours]})
    tests = tables["table3-tests-seq_auto"]
    assert evaluation_rows.values(tests, "comparisons") == [8] * 8
    for at, (name, metric) in enumerate(
        zip(
            evaluation_rows.values(tests, "ROI"),
            evaluation_rows.values(tests, "metric"),
            strict=True,
        )
    ):
        a, b = (
            [r.error for r in rows if (r.structure, r.metric) == (name, metric)]
            for rows in (theirs, ours)
        )
        better = stats.ttest_rel(a, b, alternative="greater").pvalue
        worse = stats.ttest_rel(a, b, alternative="less").pvalue
        assert evaluation_rows.values(tests, "p: better")[at] == pytest.approx(better)
        assert evaluation_rows.values(tests, "p: worse")[at] == pytest.approx(worse)
        corrected = evaluation_rows.values(tests, "corrected p: better")[at]
        assert corrected == pytest.approx(min(1, 8 * better))
        signed = stats.wilcoxon(a, b, alternative="greater").pvalue
        assert evaluation_rows.values(tests, "Wilcoxon p: better")[at] == pytest.approx(
            signed
        )


def test_marks_say_the_direction():
    def around(rows, shift):
        step = {who: 0.01 * at for at, who in enumerate(evaluation_rows.PATIENTS)}
        return [
            evaluation_rows.dose_row(
                r.patient,
                r.structure,
                r.metric,
                r.error
                + step[r.patient]
                + (shift if r.structure == evaluation_rows.OARS[0] else -shift),
            )
            for r in rows
        ]

    rows = evaluation_rows.dose_rows(1)
    results = {"seq_auto": [around(rows, 5.0)], "multi": [rows]}
    table = evaluation_rows.build(results)["table3"]
    marks = [
        cell.mark
        for cell in evaluation_rows.column(table, "model: Multi-Automated")[:8]
    ]
    assert marks == ["†"] * 2 + ["‡"] * 6
    result = evaluation_rows.column(
        evaluation_rows.build(results)["table3-tests-seq_auto"], "result"
    )
    assert [cell.value for cell in result] == ["better"] * 2 + ["worse"] * 6


def test_perfect_predictions_give_zeros_and_no_test():
    rows = evaluation_rows.dose_rows(0) + evaluation_rows.contour_rows(1.0, 0.0)
    rows = [r for r in rows if r.metric not in ("dice", "hd100")]
    rows += [
        evaluation_rows.dice_row(w, s, 1.0)
        for w in evaluation_rows.PATIENTS
        for s in evaluation_rows.OARS
    ]
    rows += [
        evaluation_rows.hd_row(w, s, 0.0)
        for w in evaluation_rows.PATIENTS
        for s in evaluation_rows.OARS
    ]
    tables = evaluation_rows.build(
        {
            "seq_auto": [evaluation_rows.dose_rows(0)],
            "contour": [rows[32:]],
            "multi": [rows],
        }
    )
    assert (
        evaluation_rows.values(tables["table3"], "model: Multi-Automated")[:9]
        == [0.0] * 9
    )
    relative = evaluation_rows.column(tables["table3"], "model: Multi-Automated")[-1]
    assert relative.value is None and relative.note == "no average"
    assert (
        evaluation_rows.values(tables["table5"], "Dice ↑: Multi-Automated") == [1.0] * 5
    )
    hausdorff = "Hausdorff distance, mm ↓: Multi-Automated"
    assert evaluation_rows.values(tables["table5"], hausdorff) == [0.0] * 5
    result = evaluation_rows.values(tables["table3-tests-seq_auto"], "result")
    assert set(result) == {
        "no test: all differences are equal: no variance to test against"
    }


def test_patients_without_a_value_are_not_counted():
    rows = evaluation_rows.dose_rows(1)
    rows[0] = evaluation_rows.dose_row(
        "pt_1", "Brainstem", "openkbp:D_0.1cc", evaluation_rows.NAN, note="empty"
    )
    table = evaluation_rows.build(
        {"baseline": [evaluation_rows.dose_rows(1)], "multi": [rows]}
    )["table3"]
    assert evaluation_rows.values(table, "n")[:2] == [
        "Baseline 4, Multi-Automated 3",
        4,
    ]
    assert (
        evaluation_rows.values(table, "model: Multi-Automated")[0] == 3.0
    )  # of 2, 3 and 4
    # A role that lacks patients altogether.
    fewer = evaluation_rows.build(
        {
            "baseline": [evaluation_rows.dose_rows(1)],
            "multi": [evaluation_rows.dose_rows(1, evaluation_rows.PATIENTS[:2])],
        }
    )
    assert (
        evaluation_rows.values(fewer["table3"], "n")[0]
        == "Baseline 4, Multi-Automated 2"
    )
    tests = fewer["table3-tests-baseline"]
    assert (
        evaluation_rows.values(tests, "n")[0],
        evaluation_rows.values(tests, "left out")[0],
    ) == (2, 2)


def test_a_structure_that_nobody_has_is_no_row_and_no_comparison():
    rows = [r for r in evaluation_rows.dose_rows(1) if r.structure != "LeftParotid"]
    rows += [
        evaluation_rows.dose_row(
            w,
            "LeftParotid",
            "openkbp:D_mean",
            evaluation_rows.NAN,
            note="not contoured",
        )
        for w in evaluation_rows.PATIENTS
    ]
    tables = evaluation_rows.build(
        {"seq_auto": [evaluation_rows.dose_rows(2)[:0] + rows], "multi": [rows]}
    )
    assert "LeftParotid" not in evaluation_rows.values(tables["table3"], "ROI")
    assert (
        evaluation_rows.values(tables["table3-tests-seq_auto"], "comparisons")
        == [6] * 6
    )


def test_an_average_is_not_of_other_rows_than_the_rest():
    rows = [r for r in evaluation_rows.dose_rows(1) if r.structure != "LeftParotid"]
    table = evaluation_rows.build(
        {"baseline": [evaluation_rows.dose_rows(1)], "multi": [rows]}
    )["table3"]
    average = evaluation_rows.column(table, "model: Multi-Automated")[8]
    assert not average.known and average.text == "a row has no value"
    assert (
        evaluation_rows.column(table, "model: Multi-Automated")[4].text
        == "no patient has it"
    )


def test_several_seeds_give_the_mean_and_spread_over_seeds():
    seeds = [evaluation_rows.dose_rows(scale) for scale in (1, 2, 3)]
    table = evaluation_rows.build(
        {"baseline": [evaluation_rows.dose_rows(1)], "multi": seeds}
    )["table3"]
    first = evaluation_rows.column(table, "model: Multi-Automated")[0]
    assert (first.value, first.spread) == (5.0, 2.5)  # of 2.5, 5 and 7.5
    average = evaluation_rows.column(table, "model: Multi-Automated")[8]
    assert (average.value, average.spread) == (7.5, 3.75)
    assert any("With several seeds (Multi-Automated 3)" in s for s in table.caption)


def test_the_order_of_patients_and_rows_does_not_matter(rng):
    results = {
        "contour": evaluation_rows.contour_rows(0.7, 9.0),
        "seq_auto": [
            evaluation_rows.dose_row(r.patient, r.structure, r.metric, rng.gamma(2.0))
            for r in evaluation_rows.dose_rows(1)
        ],
        "multi": evaluation_rows.dose_rows(1 / 3)
        + evaluation_rows.contour_rows(0.8, 8.0),
    }
    shuffled = {
        name: [rows[i] for i in rng.permutation(len(rows))]
        for name, rows in results.items()
    }
    first, second = (
        evaluation_rows.build(
            {k: [v] for k, v in r.items()}, {"mean dose map": r["seq_auto"]}
        )
        for r in (results, dict(reversed(shuffled.items())))
    )
    assert list(first) == list(second)
    for name, table in first.items():
        for text in (render.markdown, render.csv_text, render.latex):
            assert text(table) == text(second[name])


def test_yardsticks_stand_beside_and_are_marked_where_they_win():
    table = evaluation_rows.build(
        {"multi": [evaluation_rows.dose_rows(2)]},
        {
            "mean dose map": evaluation_rows.dose_rows(1),
            "zero dose": evaluation_rows.dose_rows(9),
            "prior map": [],
        },
    )["table3"]
    titles = [c.title for c in table.columns if c.group == "yardstick"]
    assert titles == ["yardstick: mean dose map", "yardstick: zero dose"]
    assert {c.mark for c in evaluation_rows.column(table, titles[0])[:8]} == {"§"}
    assert {c.mark for c in evaluation_rows.column(table, titles[1])[:8]} == {""}


PROSTATE = sites.Site(
    name="prostate",
    structures=(
        sites.Structure("Rectum", "Rectum", (1, 2, 3)),
        sites.Structure("RightFemur", "Femur_R", (1, 2, 3)),
    ),
    contoured=("Rectum", "RightFemur"),
    prescription_gy=60.0,
    ct_offset_hu=0.0,
)


def test_another_site_has_its_own_rows_and_averages_by_unit():
    rows = [
        evaluation_rows.dose_row("pt_1", "RightFemur", "exact:D_5", 8.0),
        evaluation_rows.dose_row("pt_1", "RightFemur", "exact:V_14Gy", 4.0, unit="%"),
        evaluation_rows.dose_row("pt_1", "Rectum", "exact:D_mean", 3.0),
        evaluation_rows.dose_row("pt_1", "Rectum", "exact:V_30Gy", 1.0, unit="%"),
        evaluation_rows.dose_row("pt_1", "Rectum", "exact:D_30", 4.0),
    ]
    table = evaluation_rows.build({"multi": [rows]}, site=PROSTATE)["table2"]
    assert evaluation_rows.values(table, "metric")[:5] == [
        "exact:D_30", "exact:V_30Gy", "exact:D_mean", "exact:D_5", "exact:V_14Gy"
    ]  # fmt: skip
    assert evaluation_rows.values(table, "ROI")[5:8] == [
        "Average", "Average of the Gy rows", "Average of the % rows"
    ]  # fmt: skip
    assert evaluation_rows.values(table, "model: Multi-Automated")[5:8] == [
        4.0,
        5.0,
        2.5,
    ]
    assert evaluation_rows.values(table, "paper: Multi-Automated")[:5] == [
        7.493, 0.476, 4.108, 3.683, 1.030
    ]  # fmt: skip
    assert evaluation_rows.column(table, "paper: Multi-Automated")[3].mark == "†"
    # The paper's six V rows alone: percents.
    percents = np.mean([0.476, 2.796, 1.059, 2.385, 1.030, 1.966])
    assert evaluation_rows.values(table, "paper: Multi-Automated")[7] == pytest.approx(
        percents
    )


def test_a_users_rows_make_the_table():
    rows = evaluation_rows.dose_rows(1) + [
        evaluation_rows.dose_row(w, "Larynx", "openkbp:D_mean", 1)
        for w in evaluation_rows.PATIENTS
    ]
    chosen = {"Larynx": ["openkbp:D_mean"], "Brainstem": ["openkbp:D_mean"]}
    tables = evaluation_rows.build({"multi": [rows]}, dose_table=chosen)
    assert evaluation_rows.values(tables["table3"], "ROI")[:2] == [
        "Larynx",
        "Brainstem",
    ]
    assert evaluation_rows.column(tables["table3"], "paper: Multi-Automated")[
        0
    ].text == ("not in the paper")
    assert len(evaluation_rows.values(tables["table3-others"], "ROI")) == 7


def test_what_cannot_be_tables():
    with pytest.raises(errors.ConfigError, match="did you mean 'multi'"):
        evaluation_rows.build({"mutli": [[]]})
    with pytest.raises(errors.RecordError, match="twice; give each seed"):
        evaluation_rows.build(
            {"multi": [evaluation_rows.dose_rows(1) + evaluation_rows.dose_rows(1)]}
        )
    assert evaluation_rows.build({"multi": [[]]}) == {}
