"""The paper's arithmetic, checked with its own tables."""

import pytest

from mtl_jax.core import roles, sites
from mtl_jax.study import published

PAPER = published.load()
TABLES = {table.number: table for table in PAPER.tables}


def test_all_four_tables_are_there():
    assert sorted(TABLES) == [2, 3, 4, 5]
    rows = {number: len(table.rows) for number, table in TABLES.items()}
    assert rows == {2: 18, 3: 8, 4: 2 * 5, 5: 2 * 4}
    for table in PAPER.tables:
        assert set(table.roles) <= set(roles.ROLES)
        for row in table.rows:
            assert set(row.values) == set(table.roles)


def test_every_printed_average_is_the_plain_mean_of_its_rows():
    # Three decimals are printed: the mean of rounded rows is within 0.001 of it. Table
    # 2 averages V_x rows (percent) with the others (Gy) to get there.
    for table in PAPER.tables:
        for metric, average in table.average.items():
            for role, printed in average.items():
                wanted = None if metric == "dvh" else [metric]
                assert table.mean(role, wanted) == pytest.approx(
                    printed.value, abs=0.0011
                ), (table.number, metric, role)


def test_averages_of_table_3():
    means = [round(TABLES[3].mean(role), 3) for role in TABLES[3].roles]
    assert means == [9.436, 11.347, 11.65, 10.108]  # 10.1085, printed as 10.109


def test_relative_differences_are_to_the_baselines_average():
    for number in (2, 3):
        average = TABLES[number].average["dvh"]
        baseline = average["baseline"].value
        for role, printed in TABLES[number].relative_difference_percent.items():
            change = 100 * (baseline - average[role].value) / baseline
            assert change == pytest.approx(printed.value, abs=0.005), (number, role)


@pytest.mark.parametrize(
    ("number", "over_baseline", "over_sequential"),
    [(2, 19.82, 17.97), (3, 16.33, 13.23)],
)
def test_the_claimed_improvement_is_over_the_baseline(
    number, over_baseline, over_sequential
):
    table = TABLES[number]
    average = {role: value.value for role, value in table.average["dvh"].items()}
    gain = average["seq_auto"] - average["multi"]
    assert 100 * gain / average["baseline"] == pytest.approx(over_baseline, abs=0.005)
    assert 100 * gain / average["seq_auto"] == pytest.approx(over_sequential, abs=0.005)
    claim = PAPER.claim(table.site)
    assert claim is not None and claim.improvement_percent.value == over_baseline


def daggers(number):
    table = TABLES[number]
    return {
        (row.printed_structure, row.metric): row.values["multi"].value
        - row.values[table.against].value
        for row in table.rows
        if row.values["multi"].dagger
    }


def test_daggers_also_mark_rows_in_which_multi_is_worse():
    # An error and a distance that rose, a Dice that would have to fall.
    assert [key for key, rise in daggers(2).items() if rise > 0] == [
        ("Prostate", "D_mean")
    ]
    assert list(daggers(3)) == [("Right parotid", "D_mean")]
    assert daggers(4) == {("Right femur", "hausdorff"): pytest.approx(26.772)}
    assert len(daggers(2)) == 6 and len(daggers(5)) == 7
    assert [table.caption_p for table in PAPER.tables] == ["0.05", "0.5", "0.5", "0.5"]


def test_a_table_is_found_by_site_and_metric():
    assert PAPER.table("openkbp", "dvh") is TABLES[3]
    assert PAPER.table("openkbp", "dice") is TABLES[5]
    assert PAPER.table("prostate", "hausdorff") is TABLES[4]
    assert PAPER.table("lung", "dvh") is None
    row = TABLES[3].row("Parotid_R", "D_mean")
    assert row is not None and row.values["multi"].printed == "7.081"
    assert TABLES[3].row("Parotid_R", "D_99") is None


def test_structures_of_openkbp_are_the_sites():
    names = {structure.tg263 for structure in sites.OPENKBP.structures}
    for number in (3, 5):
        assert {row.structure for row in TABLES[number].rows} <= names


def test_scores_to_stand_beside_informed():
    found = {(score.dose.printed, score.dvh.printed) for score in PAPER.scores}
    assert found == {("2.75", "1.68"), ("2.43", "1.48")}
    assert all(score.source for score in PAPER.scores)
