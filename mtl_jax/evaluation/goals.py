"""Whether plan and prediction meet clinical goals, and how often they agree.

Input: evaluation rows and the goals of a site. Output: verdicts, and their counts.
Both doses are judged in the reference's structures, as everywhere. The rows hold the
values, so evaluations made before the goals were listed can be judged too, if they
have the metrics.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from mtl_jax.core import clinical_goals


class Row(Protocol):
    """What is judged: a row of an evaluation (evaluation/scoring)."""

    @property
    def patient(self) -> str: ...

    @property
    def structure(self) -> str: ...

    @property
    def metric(self) -> str: ...

    @property
    def reference(self) -> float: ...

    @property
    def prediction(self) -> float: ...

    @property
    def error(self) -> float: ...

    @property
    def variant(self) -> str: ...


class Verdict(NamedTuple):
    """Whether the two doses of a patient meet a goal."""

    patient: str
    goal: clinical_goals.Goal
    plan: bool
    prediction: bool


class Count(NamedTuple):
    """Verdicts in percent, over `n` of them."""

    n: int
    plan: float  # met by the plan
    prediction: float  # met by the prediction
    agree: float  # both met it or both did not


def judge(
    rows: Iterable[Row], goals: Sequence[clinical_goals.Goal]
) -> Iterator[Verdict]:
    """The verdicts on all patients that have a goal's metric, as configured."""
    by_key = {(goal.structure, goal.metric): goal for goal in goals}
    for row in rows:
        goal = by_key.get((row.structure, row.metric))
        if goal is None or row.variant or math.isnan(row.error):
            continue
        met = goal.met(row.reference), goal.met(row.prediction)
        yield Verdict(row.patient, goal, *met)


def count(verdicts: Iterable[Verdict]) -> Count:
    """The verdicts counted; NaN without any."""
    several = list(verdicts)
    if not several:
        return Count(0, math.nan, math.nan, math.nan)

    def percent(flags: Iterable[bool]) -> float:
        return 100 * sum(flags) / len(several)

    return Count(
        len(several),
        percent(v.plan for v in several),
        percent(v.prediction for v in several),
        percent(v.plan == v.prediction for v in several),
    )


def summarise(
    rows: Iterable[Row], goals: Sequence[clinical_goals.Goal]
) -> dict[str, Any]:
    """Counts of each goal, and the agreement of all; {} if no row has a goal."""
    verdicts = list(judge(rows, goals))
    if not verdicts:
        return {}
    by_goal = {
        f"{goal.structure}: {goal.text}": count(v for v in verdicts if v.goal == goal)
        for goal in goals
    }
    return {
        "goals": {name: c._asdict() for name, c in by_goal.items() if c.n},
        "goals_agree": count(verdicts).agree,
    }
