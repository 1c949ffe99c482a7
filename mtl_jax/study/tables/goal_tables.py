"""The table of clinical goals: met by the plan, met by predictions, and agreement.

Input: the measures of a study. Output: a table with a row for each goal of the site
(core/goals), and one for all of them; none if the site has no goals.
"""

from collections.abc import Sequence

import numpy as np

from mtl_jax.core import clinical_goals
from mtl_jax.evaluation import goals
from mtl_jax.report import render
from mtl_jax.study.tables import measures

Goals = Sequence[clinical_goals.Goal]


def tables(study: measures.Study) -> list[render.Table]:
    """The table, if some model has values for a goal of the site."""
    of_site = clinical_goals.of_site(study.site.name)
    models = study.doing("dose")
    known = {key for method in models for key in method.keys}
    keys = {g: measures.Key(g.structure, g.metric) for g in of_site}
    judged = [goal for goal, key in keys.items() if key in known]
    if not judged:
        return []
    models = [method for method in models if method.keys & set(keys.values())]
    methods = [*models, *study.yardsticks_with(keys.values())]
    columns = [render.Column(name) for name in ("ROI", "goal", "n", "plan, %")]
    columns += [render.Column(f"{m.label}, %", "met") for m in methods]
    columns += [render.Column(f"{m.label}, %", "agrees with the plan") for m in methods]
    rows = [
        (render.Cell(goal.structure), render.Cell(goal.text), *_row(methods, [goal]))
        for goal in judged
    ]
    rows.append((render.Cell("all"), render.Cell(""), *_row(methods, judged)))
    return [
        render.Table(
            name="goals",
            title="Clinical goals (not in the paper)",
            caption=_caption(study, judged),
            columns=tuple(columns),
            rows=tuple(rows),
            rules=(len(judged),),
        )
    ]


def _row(methods: Sequence[measures.Method], of: Goals) -> tuple[render.Cell, ...]:
    counts = [_mean_over_seeds(method, of) for method in methods]
    first = counts[0]
    return (
        render.Cell(first.n, form="d"),
        _percent(first.plan),
        *(_percent(count.prediction) for count in counts),
        *(_percent(count.agree) for count in counts),
    )


def _percent(value: float) -> render.Cell:
    return render.Cell(value, form=".1f", note="no patient has it")


def _mean_over_seeds(method: measures.Method, of: Goals) -> goals.Count:
    """Counts of a seed's patients, averaged over the seeds."""
    counts = []
    for seed in method.seeds:
        rows = [
            row
            for goal in of
            for row in seed.get(measures.Key(goal.structure, goal.metric), ())
        ]
        counts.append(goals.count(goals.judge(rows, of)))
    n, *percentages = np.mean(counts, axis=0).tolist()
    return goals.Count(round(n), *percentages)


def _caption(study: measures.Study, judged: Goals) -> tuple[str, ...]:
    sources = dict.fromkeys(goal.source for goal in judged)
    return (
        f"{study.cohort}.",
        "Percentage of the n patients whose dose meets the goal: the plan's, and each "
        "prediction's, all in the reference contours. They agree if both meet it or "
        "both do not. The last row has all pairs of patient and goal. With several "
        "seeds, the mean over the seeds.",
        f"Sources: {'; '.join(sources)}.",
    )
