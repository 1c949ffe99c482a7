"""Differences between pairs of roles, from cohorts whose sums are done by hand."""

import numpy as np
import pytest
from scipy import stats

from mtl_jax.core import sites
from mtl_jax.figures import differences
from mtl_jax.metrics import paired_tests
from mtl_jax.study.tables import measures, pair_tables
from tests.study import evaluation_rows


def study(results):
    return measures.Study.of(results, {}, site=sites.OPENKBP, cohort="Four patients")


def by_pair(compared):
    return {
        (c.family.method.name, c.family.against.name, c.quantity.name): c
        for c in compared
    }


def test_a_structure_s_error_is_the_mean_of_its_rows_in_each_patient():
    # Patient k of role "multi" has errors k and 2 k, of "baseline" 3 k and 6 k: means
    # of 1.5 k and 4.5 k, whose differences are 3, 6, 9 and 12.
    results = {
        "multi": [evaluation_rows.dose_rows(1.0)],
        "baseline": [evaluation_rows.dose_rows(3.0)],
    }
    found = by_pair(pair_tables.compare(study(results), seed=0))
    assert list(found) == [("multi", "baseline", "dose")]
    family = found["multi", "baseline", "dose"].family
    structures = [key.structure for key in family.results]
    assert structures == [*evaluation_rows.OARS, pair_tables.ALL]
    assert family.comparisons == len(structures)
    for comparison in family.results.values():
        assert comparison.mean_difference == pytest.approx(7.5)
        assert comparison.deviation == pytest.approx(np.std([3, 6, 9, 12], ddof=1))
        expected = stats.ttest_1samp([3, 6, 9, 12], 0, alternative="greater").pvalue
        assert comparison.p_better == pytest.approx(expected)


def test_the_seeds_differences_and_the_least_that_can_be_shown():
    # Mean errors over the patients: 3.75 times the scale.
    results = {
        "multi": [evaluation_rows.dose_rows(s) for s in (1.0, 1.2)],
        "baseline": [evaluation_rows.dose_rows(s) for s in (2.0, 2.0)],
    }
    compared = pair_tables.compare(study(results), seed=0)
    table = pair_tables.table(study(results), compared)
    expected = np.std([3.75, 3.0], ddof=1)
    rows = len(evaluation_rows.OARS) + 1
    assert evaluation_rows.values(table, "± over seeds") == pytest.approx(
        [expected] * rows
    )
    spread = np.std([1.35, 2.7, 4.05, 5.4], ddof=1)  # of the patients' differences
    least = spread * paired_tests.least_effect(4, 0.05 / rows)
    assert evaluation_rows.values(table, "least shown") == pytest.approx([least] * rows)


def test_the_pairs_that_are_compared():
    dose, contours = evaluation_rows.dose_rows, evaluation_rows.contour_rows
    results = {
        "multi": [dose(1.0) + contours(0.8, 5.0)],
        "mtan": [dose(1.0) + contours(0.8, 5.0)],
        "contour": [contours(0.7, 5.0)],
        "seq_human": [dose(1.0)],
        "seq_auto": [dose(1.0)],
        "informed": [dose(1.0)],
    }
    compared = pair_tables.compare(study(results), seed=0)
    pairs = [name for name in by_pair(compared) if name[2] == "dose"]
    # Nothing is compared with a role that is told the targets.
    assert pairs == [
        ("multi", "seq_human", "dose"),
        ("multi", "seq_auto", "dose"),
        ("multi", "mtan", "dose"),
        ("seq_human", "seq_auto", "dose"),
    ]
    pairs = [name[:2] for name in by_pair(compared) if name[2] == "dice"]
    assert pairs == [("multi", "contour"), ("multi", "mtan")]


def test_the_figure_has_the_table_s_numbers(tmp_path):
    results = {
        "multi": [evaluation_rows.dose_rows(1.0)],
        "baseline": [evaluation_rows.dose_rows(3.0)],
        "mtan": [evaluation_rows.dose_rows(1.0)],
    }
    compared = pair_tables.compare(study(results), seed=0)
    (panel,) = pair_tables.panels(compared)
    baseline, mtan = panel.series
    assert panel.rows == (*evaluation_rows.OARS, pair_tables.ALL)
    assert baseline.means == pytest.approx([7.5] * 5)
    assert all(low < 7.5 < high for low, high in baseline.intervals)
    assert mtan.means == pytest.approx([0.0] * 5)
    assert not any(mtan.significant)
    differences.draw(tmp_path / "a.png", [panel])
    differences.draw(tmp_path / "b.png", [panel])
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
