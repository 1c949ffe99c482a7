"""Measures as cells and sentences that several tables share."""

from collections.abc import Mapping, Sequence

from mtl_jax.core import roles
from mtl_jax.report import render
from mtl_jax.study import published
from mtl_jax.study.tables import measures

BETTER, WORSE, BEATEN = "†", "‡", "§"

BLANK = render.Cell("")
NO_AVERAGE = render.Cell(note="a row has no value")


def cell(
    measure: measures.Measure,
    *,
    best: bool = False,
    mark: str = "",
    note: str = "no patient has it",
) -> render.Cell:
    """Mean and spread, or `note` where no patient has a value."""
    if not measure.n:
        return render.Cell(note=note)
    return render.Cell(measure.mean, measure.spread, best=best, mark=mark)


def patients(found: Mapping[measures.Method, measures.Measure]) -> render.Cell:
    """How many patients the measures are over: one number if all agree."""
    counts = {method: measure.n for method, measure in found.items()}
    if len(set(counts.values())) == 1:
        return render.Cell(next(iter(counts.values())), form="d")
    each = (f"{method.label} {n}" for method, n in counts.items())
    return render.Cell(", ".join(each))


def printed(value: published.Value | None) -> render.Cell:
    """A published number, with as many decimals as were printed."""
    if value is None:
        return render.Cell(note="not in the paper")
    decimals = len(value.printed.partition(".")[2])
    mark = published.DAGGER if value.dagger else ""
    return render.Cell(value.value, form=f".{decimals}f", mark=mark)


def missing_roles(study: measures.Study, task: roles.Task) -> list[str]:
    """A sentence on the paper's roles for `task` that were not run, if any."""
    absent = [
        measures.label(name)
        for name, role in roles.ROLES.items()
        if role.paper_name and task in role.tasks and name not in study.models
    ]
    return [f"Not run: {', '.join(absent)}."] if absent else []


def spreads(methods: Sequence[measures.Method]) -> list[str]:
    """Sentences on what stands before and after the ±."""
    several = [m for m in methods if len(m.seeds) > 1]
    if not several:
        return ["± is the standard deviation over the patients."]
    seeds = ", ".join(f"{m.label} {len(m.seeds)}" for m in several)
    return [
        f"Several seeds ({seeds}): the mean of the seeds' means ± the standard "
        "deviation of these means; for one seed ± is the standard deviation over the "
        "patients."
    ]


def paper_columns(table: published.Table | None) -> list[str]:
    """A sentence on where the paper's columns come from, if there are any."""
    if table is None:
        return []
    return [
        f"The paper's columns are printed in arXiv:{published.load().arxiv}, Table "
        f"{table.number} ({table.patients} patients, its own training): another "
        "cohort, never merged with ours; a dagger there is the paper's."
    ]
