"""Paired comparison of two methods' errors, patient by patient.

Input: an error for each patient and method; lower is better. Output: one-sided p-values
in both directions (t-test and Wilcoxon), a bootstrap interval of the mean difference,
the least difference that the test would have shown, and a note if something could not
be computed. Patients without a value for one method
are left out for both, and counted.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping

import numpy as np
from scipy import optimize, stats

ALPHA = 0.05
POWER = 0.8
RESAMPLES = 10_000


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A method's errors compared with those of `against`, in the unit of the errors.

    Differences are `against` - method: positive if the method is better. `p_better`
    is for the hypothesis that the method is better, `p_worse` that it is worse.
    """

    n: int  # pairs
    left_out: int  # patients with a value on one side only
    mean_difference: float = math.nan
    deviation: float = math.nan  # standard deviation of the differences
    # 95 %, percentile bootstrap over the patients.
    interval: tuple[float, float] = (math.nan, math.nan)
    # Paired t-test, one-sided, not corrected.
    p_better: float = math.nan
    p_worse: float = math.nan
    # Signed-rank test, one-sided, not corrected.
    wilcoxon_better: float = math.nan
    wilcoxon_worse: float = math.nan
    note: str = ""  # why a value is NaN

    def verdict(self, comparisons: int, alpha: float = ALPHA) -> str:
        """`better`, `worse`, `no difference shown`, or why there was no test.

        By the t-test, corrected for `comparisons` in one direction.
        """
        if math.isnan(self.p_better):
            return "no test"
        if bonferroni(self.p_better, comparisons) < alpha:
            return "better"
        if bonferroni(self.p_worse, comparisons) < alpha:
            return "worse"
        return "no difference shown"

    def least_shown(self, comparisons: int) -> float:
        """The least true mean difference that the t-test shows with probability POWER.

        With this number of patients, differences that spread as these do, and a
        correction for `comparisons`; NaN if there was no test.
        """
        if math.isnan(self.p_better):
            return math.nan
        alpha = ALPHA / comparisons
        return least_effect(self.n, alpha) * self.deviation


@functools.cache
def least_effect(n: int, alpha: float, power: float = POWER) -> float:
    """The least effect that a one-sided paired t-test of level `alpha` detects.

    In standard deviations of the differences of `n` pairs; from the noncentral t
    distribution.
    """
    degrees = n - 1
    critical = stats.t.ppf(1 - alpha, degrees)

    def excess(effect: float) -> float:
        return stats.nct.sf(critical, degrees, effect * math.sqrt(n)) - power

    return float(optimize.brentq(excess, 0.0, 2 * (critical + 3) / math.sqrt(n)))


def bonferroni(p: float, comparisons: int) -> float:
    """`p` corrected for the number of comparisons, at most 1; NaN stays NaN."""
    return p if math.isnan(p) else min(1.0, p * comparisons)


def compare(
    errors: Mapping[str, float],
    against: Mapping[str, float],
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare a method's `errors` with those of `against`, both by patient.

    The order of the patients does not matter. SciPy's `ttest_rel` and `wilcoxon` with
    their defaults (zero differences are dropped by the latter).
    """
    first, second = _known(errors), _known(against)
    patients = sorted(first.keys() & second.keys())
    left_out = len(first.keys() ^ second.keys())
    n = len(patients)
    if not n:
        note = "no patient has a value on both sides"
        return Comparison(0, left_out, note=note)
    a = np.array([second[patient] for patient in patients])
    b = np.array([first[patient] for patient in patients])
    difference = a - b
    mean = float(np.mean(difference))
    if n < 2:
        note = "one patient: no test, no interval"
        return Comparison(n, left_out, mean, note=note)
    # Differences that are equal within the rounding of the values they come from.
    if np.ptp(difference) <= 1e-12 * max(np.abs(a).max(), np.abs(b).max()):
        note = "all differences are equal: no variance to test against"
        return Comparison(n, left_out, mean, 0.0, (mean, mean), note=note)
    resampled = stats.bootstrap(
        (difference,), np.mean, n_resamples=resamples, method="percentile", rng=rng
    ).confidence_interval
    p_better, p_worse, wilcoxon_better, wilcoxon_worse = (
        float(result.pvalue)
        for result in (
            stats.ttest_rel(a, b, alternative="greater"),
            stats.ttest_rel(a, b, alternative="less"),
            stats.wilcoxon(a, b, alternative="greater"),
            stats.wilcoxon(a, b, alternative="less"),
        )
    )
    return Comparison(
        n=n,
        left_out=left_out,
        mean_difference=mean,
        deviation=float(np.std(difference, ddof=1)),
        interval=(float(resampled.low), float(resampled.high)),
        p_better=p_better,
        p_worse=p_worse,
        wilcoxon_better=wilcoxon_better,
        wilcoxon_worse=wilcoxon_worse,
    )


def _known(errors: Mapping[str, float]) -> dict[str, float]:
    return {p: float(error) for p, error in errors.items() if not math.isnan(error)}
