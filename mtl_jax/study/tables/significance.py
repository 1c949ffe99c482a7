"""Tests of one method against another, a row for each quantity.

Direction is always said: the paper's daggers also mark rows in which its method is
worse, which a single one-sided test in its favour cannot do.
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
    comparisons: int  # that a p-value is corrected for
    found: dict[measures.Key, paired_tests.Comparison]

    def mark(self, key: measures.Key) -> str:
        """† where the method is significantly better, ‡ where it is worse."""
        if key not in self.found:
            return ""
        return MARKS.get(self.found[key].verdict(self.comparisons), "")


def family(
    keys: Sequence[measures.Key],
    method: measures.Method,
    against: measures.Method,
    *,
    seed: int,
    comparisons: int | None = None,
) -> Family:
    """Compare the errors of two methods for each of `keys`.

    `comparisons` None corrects for as many as there are keys. Every key resamples with
    the same `seed`, so that a row does not depend on which other rows a table has.
    """
    found = {
        key: paired_tests.compare(
            method.measure(key).by_patient,
            against.measure(key).by_patient,
            rng=np.random.default_rng(seed),
        )
        for key in keys
    }
    return Family(method, against, comparisons or len(keys), found)


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
    render.Column("better", "p"),
    render.Column("worse", "p"),
    render.Column("better", "corrected p"),
    render.Column("worse", "corrected p"),
    render.Column("comparisons"),
    render.Column("better", "Wilcoxon p"),
    render.Column("worse", "Wilcoxon p"),
)


def definitions(one: Family, *, of: str) -> list[str]:
    """Sentences that a reader of `table` needs; `of` says what is compared."""
    sentences = [
        "Paired over the n patients that both have; left out: those that only one "
        f"has. Difference: {of} of what it is tested against minus the method's, so "
        "positive is in favour of the method.",
        "p: one-sided paired t-test for the hypothesis that the method is better, and "
        "for the hypothesis that it is worse; corrected: times the "
        f"{one.comparisons} comparisons (Bonferroni), at most 1, each direction on its "
        "own.",
        f"Result: by the corrected p, below {paired_tests.ALPHA}. Interval: percentile "
        f"bootstrap over the patients, {paired_tests.RESAMPLES} resamples; with few "
        "patients it is too narrow. Wilcoxon: signed-rank test, one-sided, not "
        "corrected.",
    ]
    if len(one.method.seeds) > 1 or len(one.against.seeds) > 1:
        sentences.append("A patient's error is averaged over the seeds first.")
    return sentences


def table(
    name: str,
    title: str,
    families: Sequence[Family],
    labels: Mapping[measures.Key, tuple[str, str]],
    caption: Sequence[str],
) -> render.Table:
    """A row for each comparison of `families`; `labels` name its ROI and metric."""
    rows, rules = [], []
    for one in families:
        if rows:
            rules.append(len(rows))
        for key, result in one.found.items():
            unit = one.method.unit(key) or one.against.unit(key)
            rows.append(_row(labels[key], unit, one, result))
    return render.Table(
        name=name,
        title=title,
        caption=tuple(caption),
        columns=COLUMNS,
        rows=tuple(rows),
        rules=tuple(rules),
    )


def _row(
    label: tuple[str, str], unit: str, one: Family, result: paired_tests.Comparison
) -> tuple[render.Cell, ...]:
    verdict = result.verdict(one.comparisons)
    shown = f"{verdict}: {result.note}" if result.note else verdict

    def p(value: float) -> render.Cell:
        return render.Cell(value, form=".3g", note="" if value >= 0 else "no test")

    def number(value: float) -> render.Cell:
        missing = math.isnan(value)
        return render.Cell(value, note="none" if missing else "")

    corrected = (
        paired_tests.bonferroni(value, one.comparisons)
        for value in (result.p_better, result.p_worse)
    )
    return (
        render.Cell(one.method.label),
        render.Cell(one.against.label),
        render.Cell(label[0]),
        render.Cell(label[1]),
        render.Cell(unit),
        render.Cell(shown, mark=MARKS.get(verdict, "")),
        render.Cell(result.n, form="d"),
        render.Cell(result.left_out, form="d"),
        number(result.mean_difference),
        *(number(value) for value in result.interval),
        p(result.p_better),
        p(result.p_worse),
        *(p(value) for value in corrected),
        render.Cell(one.comparisons, form="d"),
        p(result.wilcoxon_better),
        p(result.wilcoxon_worse),
    )
