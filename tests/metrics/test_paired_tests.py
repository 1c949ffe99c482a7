"""Paired comparisons: SciPy as a second opinion, closed forms, and the edges."""

import math

import numpy as np
import pytest
from scipy import stats

from mtl_jax.metrics import paired_tests


def compare(ours, theirs, seed=7):
    def by_patient(values):
        return {f"pt_{i}": float(v) for i, v in enumerate(values)}

    return paired_tests.compare(
        by_patient(ours), by_patient(theirs), rng=np.random.default_rng(seed)
    )


def test_t_test_by_hand():
    # Differences 1, 2, 3: mean 2, standard error 1 / sqrt(3), t = 2 sqrt(3), 2 degrees
    # of freedom, for which P(T > t) = 1/2 - t / (2 sqrt(2 + t^2)).
    found = compare([1, 1, 1], [2, 3, 4])
    t = 2 * math.sqrt(3)
    expected = 0.5 - t / (2 * math.sqrt(2 + t * t))
    assert found.n == 3
    assert found.mean_difference == 2.0
    assert found.p_better == pytest.approx(expected)
    assert found.p_worse == pytest.approx(1 - expected)
    # Signed-rank: one of the 2^3 equally likely signs is as good as this.
    assert found.wilcoxon_better == pytest.approx(1 / 8)
    assert found.wilcoxon_worse == 1.0


def test_power_of_a_textbook_example():
    # An effect of 0.5 standard deviations, 27 pairs, one-sided at 0.05: a power of
    # 0.8118316 (G*Power's manual and every table of sample sizes: n = 27 for 0.8).
    assert paired_tests.least_effect(27, 0.05, 0.8118316) == pytest.approx(0.5, 1e-6)
    # Many pairs: the sum of two normal quantiles.
    normal = stats.norm.ppf(0.99) + stats.norm.ppf(0.8)
    found = paired_tests.least_effect(10_000, 0.01) * 100
    assert found == pytest.approx(normal, rel=1e-3)
    for n, alpha in ((2, 0.05), (2, 0.001), (16, 0.05 / 40)):
        assert paired_tests.least_effect(n, alpha) > 0


def test_a_true_difference_of_least_shown_is_shown_in_four_of_five_studies(rng):
    n, comparisons, studies = 16, 5, 4000
    effect = paired_tests.least_effect(n, paired_tests.ALPHA / comparisons)
    differences = rng.normal(effect, 1.0, size=(n, studies))
    p = stats.ttest_1samp(differences, 0.0, alternative="greater").pvalue
    shown = np.mean(p * comparisons < paired_tests.ALPHA)
    assert shown == pytest.approx(paired_tests.POWER, abs=0.025)
    found = compare(np.zeros(n), differences[:, 0])
    deviation = np.std(differences[:, 0], ddof=1)
    assert found.least_shown(comparisons) == pytest.approx(effect * deviation)


def test_p_values_equal_scipys(rng):
    ours, theirs = rng.gamma(2.0, size=(2, 40))
    found = compare(ours, theirs)
    better, worse = (
        (
            stats.ttest_rel(theirs, ours, alternative=direction).pvalue,
            stats.wilcoxon(theirs, ours, alternative=direction).pvalue,
        )
        for direction in ("greater", "less")
    )
    # The patients are sorted by name, so that sums may round otherwise.
    assert (found.p_better, found.wilcoxon_better) == pytest.approx(better, rel=1e-12)
    assert (found.p_worse, found.wilcoxon_worse) == pytest.approx(worse, rel=1e-12)
    # The two directions share a two-sided p.
    both = stats.ttest_rel(theirs, ours).pvalue
    assert 2 * min(found.p_better, found.p_worse) == pytest.approx(both)


def test_directions_swap_with_the_methods(rng):
    ours, theirs = rng.gamma(2.0, size=(2, 15))
    there, back = compare(ours, theirs), compare(theirs, ours)
    assert there.p_better == pytest.approx(back.p_worse)
    assert there.wilcoxon_better == pytest.approx(back.wilcoxon_worse)
    assert there.mean_difference == -back.mean_difference
    assert there.interval == pytest.approx((-back.interval[1], -back.interval[0]))


def test_the_order_of_patients_does_not_matter(rng):
    ours = {f"pt_{i}": float(v) for i, v in enumerate(rng.gamma(2.0, size=20))}
    theirs = {f"pt_{i}": float(v) for i, v in enumerate(rng.gamma(2.0, size=20))}
    shuffled = dict(sorted(ours.items(), key=lambda item: item[1]))
    first, second = (
        paired_tests.compare(errors, theirs, rng=np.random.default_rng(1))
        for errors in (ours, shuffled)
    )
    assert first == second
    # Neither does the order in which a set has them, which changes from run to run.
    names = sorted(ours)
    resampled = stats.bootstrap(
        (np.array([theirs[who] - ours[who] for who in names]),),
        np.mean,
        n_resamples=paired_tests.RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(1),
    )
    assert first.interval == tuple(resampled.confidence_interval)


def test_bootstrap_interval_is_that_of_a_normal_mean(rng):
    # For many patients the interval of a mean is +- 1.96 standard errors.
    difference = rng.normal(0.5, 1.0, size=400)
    found = compare(np.zeros(400), difference)
    half = 1.96 * difference.std(ddof=1) / 20
    mean = difference.mean()
    assert found.interval == pytest.approx((mean - half, mean + half), abs=0.01)
    assert found.mean_difference == pytest.approx(mean)


def test_patients_of_one_side_are_left_out_and_counted():
    ours = {"pt_1": 1.0, "pt_2": 1.0, "pt_3": math.nan, "pt_4": 1.0, "pt_5": 1.0}
    theirs = {"pt_1": 2.0, "pt_2": 3.0, "pt_3": 9.0, "pt_4": 4.0, "pt_6": 9.0}
    found = paired_tests.compare(ours, theirs, rng=np.random.default_rng(0))
    assert (found.n, found.left_out) == (3, 3)  # pt_3, pt_5 and pt_6
    assert found.p_better == compare([1, 1, 1], [2, 3, 4]).p_better


def test_nothing_to_test_is_said_and_is_no_exception():
    nobody = compare([], [])
    assert nobody.n == 0 and math.isnan(nobody.mean_difference)
    assert nobody.note == "no patient has a value on both sides"
    alone = compare([1.0], [3.0])
    assert (alone.n, alone.mean_difference) == (1, 2.0)
    assert math.isnan(alone.p_better) and alone.note.startswith("one patient")


@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_equal_differences_have_no_variance(shift):
    # 0.1 is added with rounding: the differences are equal but for their last bits.
    ours = np.array([1.0, 2.5, 7.25, 9.3])
    found = compare(ours, ours + shift)
    assert found.note.startswith("all differences are equal")
    assert found.mean_difference == pytest.approx(shift)
    assert found.interval == (found.mean_difference, found.mean_difference)
    assert found.deviation == 0.0
    assert math.isnan(found.least_shown(1))
    assert math.isnan(found.p_better) and math.isnan(found.p_worse)
    assert found.verdict(1) == "no test"


def test_bonferroni_multiplies_up_to_one():
    assert paired_tests.bonferroni(0.01, 8) == pytest.approx(0.08)
    assert paired_tests.bonferroni(0.5, 8) == 1.0
    assert math.isnan(paired_tests.bonferroni(math.nan, 8))


def test_a_verdict_says_the_direction_after_correction(rng):
    ours = rng.gamma(2.0, size=30)
    theirs = ours + 1 + rng.normal(size=30)
    assert compare(ours, theirs).verdict(8) == "better"
    assert compare(theirs, ours).verdict(8) == "worse"
    p = compare(ours, theirs).p_better
    too_many = math.ceil(0.05 / p) + 1
    assert compare(ours, theirs).verdict(too_many) == "no difference shown"
