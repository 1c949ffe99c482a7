"""Significance tests of one method against another, and their tables.

Input: the measures of two methods. Output: a Family of comparisons, and a table with a
row for each. Both directions are tested: the paper's daggers also mark rows in which
its method is worse, which a one-sided test in its favour cannot show.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from mtl_jax.metrics import paired_tests
from mtl_jax.report import render
from mtl_jax.study.tables import cells, measures

MARKS = {"better": cells.BETTER, "worse": cells.WORSE}


@dataclasses.dataclass(frozen=True)
class Family:
    """The comparisons that are corrected together: the rows of one table."""

    method: measures.Method
    against: measures.Method
    comparisons: int  # number of comparisons that p-values are corrected for
    results: dict[measures.Key, paired_tests.Comparison]
    # Of the seeds' mean differences; NaN without several seeds of both.
    seed_deviations: dict[measures.Key, float]
    units: dict[measures.Key, str]

    def mark(self, key: measures.Key) -> str:
        """† if the method is significantly better, ‡ if it is significantly worse."""
        if key not in self.results:
            return ""
        return MARKS.get(self.results[key].verdict(self.comparisons), "")


def family(
    keys: Sequence[measures.Key],
    method: measures.Method,
    against: measures.Method,
    *,
    seed: int,
    comparisons: int | None = None,
) -> Family:
    """Compare the errors of two methods for each of `keys`.

    `comparisons` is the number that p-values are corrected for; None: the number of
    keys.
    """
    measured = {key: (method.measure(key), against.measure(key)) for key in keys}
    units = {key: method.unit(key) or against.unit(key) for key in keys}
    return compare(method, against, measured, units, seed=seed, comparisons=comparisons)


def compare(
    method: measures.Method,
    against: measures.Method,
    measured: Mapping[measures.Key, tuple[measures.Measure, measures.Measure]],
    units: dict[measures.Key, str],
    *,
    seed: int,
    comparisons: int | None = None,
) -> Family:
    """Compare two methods' errors, which are `measured`; the rest as in `family`.

    Each key resamples with the same `seed`, so a row does not depend on others.
    """
    results = {
        key: paired_tests.compare(
            ours.by_patient, theirs.by_patient, rng=np.random.default_rng(seed)
        )
        for key, (ours, theirs) in measured.items()
    }
    deviations = {key: _seed_deviation(*pair) for key, pair in measured.items()}
    return Family(
        method, against, comparisons or len(measured), results, deviations, units
    )


def _seed_deviation(ours: measures.Measure, theirs: measures.Measure) -> float:
    """The standard deviation of the seeds' differences, the first with the first."""
    pairs = list(zip(theirs.seed_means, ours.seed_means, strict=False))
    if len(pairs) < 2:
        return math.nan
    return float(np.std([there - here for there, here in pairs], ddof=1))


COLUMNS = (
    render.Column("method"),
    render.Column("against"),
    render.Column("ROI"),
    render.Column("metric"),
    render.Column("unit"),
    render.Column("result"),
    render.Column("n"),
    render.Column("left out"),
    render.Column("mean difference"),
    render.Column("low", "95 % interval"),
    render.Column("high", "95 % interval"),
    render.Column("± over seeds"),
    render.Column("least shown"),
    render.Column("better", "p"),
    render.Column("worse", "p"),
    render.Column("better", "corrected p"),
    render.Column("worse", "corrected p"),
    render.Column("comparisons"),
    render.Column("better", "Wilcoxon p"),
    render.Column("worse", "Wilcoxon p"),
)


def definitions(tested: Family, *, of: str) -> list[str]:
    """Sentences that define the columns of `table`; `of` is the compared quantity."""
    sentences = [
        "Tests are paired over the n patients that both methods have; left out: "
        f"patients that only one has. Difference: {of} of the column 'against' minus "
        "that of the method, so positive values favour the method.",
        "p: one-sided paired t-tests, one for the hypothesis that the method is better "
        "and one that it is worse. Corrected p: p times the "
        f"{tested.comparisons} comparisons (Bonferroni), at most 1, separately for "
        "each direction.",
        f"Result: significant if the corrected p is below {paired_tests.ALPHA}. "
        f"Interval: percentile bootstrap over the patients, {paired_tests.RESAMPLES} "
        "resamples; with few patients it is too narrow. Wilcoxon: one-sided "
        "signed-rank test, not corrected.",
        "Least shown: the least true mean difference that the test, corrected, would "
        f"show with a probability of {100 * paired_tests.POWER:.0f} %, with this "
        "spread over this number of patients.",
    ]
    if len(tested.method.seeds) > 1 or len(tested.against.seeds) > 1:
        sentences.append(
            "First, each patient's error is averaged over the seeds. ± over seeds: the "
            "standard deviation of the seeds' mean differences."
        )
    return sentences


def table(
    name: str,
    title: str,
    families: Sequence[Family],
    labels: Mapping[measures.Key, tuple[str, str]],
    caption: Sequence[str],
) -> render.Table:
    """The table of all comparisons; `labels` has the ROI and metric of each key."""
    rows, rules = [], []
    for tested in families:
        if rows:
            rules.append(len(rows))
        for key, result in tested.results.items():
            rows.append(_row(labels[key], key, tested, result))
    return render.Table(
        name=name,
        title=title,
        caption=tuple(caption),
        columns=COLUMNS,
        rows=tuple(rows),
        rules=tuple(rules),
    )


def _row(
    label: tuple[str, str],
    key: measures.Key,
    tested: Family,
    result: paired_tests.Comparison,
) -> tuple[render.Cell, ...]:
    verdict = result.verdict(tested.comparisons)
    text = f"{verdict}: {result.note}" if result.note else verdict

    def p(value: float) -> render.Cell:
        return render.Cell(value, form=".3g", note="" if value >= 0 else "no test")

    def number(value: float) -> render.Cell:
        missing = math.isnan(value)
        return render.Cell(value, note="none" if missing else "")

    corrected = (
        paired_tests.bonferroni(value, tested.comparisons)
        for value in (result.p_better, result.p_worse)
    )
    return (
        render.Cell(tested.method.label),
        render.Cell(tested.against.label),
        render.Cell(label[0]),
        render.Cell(label[1]),
        render.Cell(tested.units[key]),
        render.Cell(text, mark=MARKS.get(verdict, "")),
        render.Cell(result.n, form="d"),
        render.Cell(result.left_out, form="d"),
        number(result.mean_difference),
        *(number(value) for value in result.interval),
        number(tested.seed_deviations[key]),
        number(result.least_shown(tested.comparisons)),
        p(result.p_better),
        p(result.p_worse),
        *(p(value) for value in corrected),
        render.Cell(tested.comparisons, form="d"),
        p(result.wilcoxon_better),
        p(result.wilcoxon_worse),
    )
