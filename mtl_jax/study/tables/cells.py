"""The cells and caption sentences that several tables share.

Input: measures and published values. Output: render.Cells and sentences.
"""

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
    """The mean and its spread, or `note` if no patient has a value."""
    if not measure.n:
        return render.Cell(note=note)
    return render.Cell(measure.mean, measure.spread, best=best, mark=mark)


def patients(by_method: Mapping[measures.Method, measures.Measure]) -> render.Cell:
    """The number of patients: one number if all methods agree, else one for each."""
    counts = {method: measure.n for method, measure in by_method.items()}
    if len(set(counts.values())) == 1:
        return render.Cell(next(iter(counts.values())), form="d")
    each = (f"{method.label} {n}" for method, n in counts.items())
    return render.Cell(", ".join(each))


def printed(value: published.Value | None) -> render.Cell:
    """A published number with its printed decimals."""
    if value is None:
        return render.Cell(note="not in the paper")
    decimals = len(value.printed.partition(".")[2])
    mark = published.DAGGER if value.dagger else ""
    return render.Cell(value.value, form=f".{decimals}f", mark=mark)


def missing_roles(study: measures.Study, task: roles.Task) -> list[str]:
    """A sentence with the paper's roles for `task` that were not run, if any."""
    absent = [
        measures.label(name)
        for name, role in roles.ROLES.items()
        if role.paper_name and task in role.tasks and name not in study.models
    ]
    return [f"Not run: {', '.join(absent)}."] if absent else []


def spreads(methods: Sequence[measures.Method]) -> list[str]:
    """Sentences that define the numbers before and after ±."""
    several = [m for m in methods if len(m.seeds) > 1]
    if not several:
        return ["± is the standard deviation over the patients."]
    seeds = ", ".join(f"{m.label} {len(m.seeds)}" for m in several)
    return [
        f"With several seeds ({seeds}): the mean of the seeds' means ± the standard "
        "deviation of these means. With one seed, ± is the standard deviation over the "
        "patients."
    ]


def paper_columns(table: published.Table | None) -> list[str]:
    """A sentence with the source of the paper's columns, if there are any."""
    if table is None:
        return []
    return [
        f"The paper's columns are copied from arXiv:{published.load().arxiv}, Table "
        f"{table.number} ({table.patients} patients). Its cohort and training are not "
        "ours, so its numbers are never merged with ours; its daggers are the paper's."
    ]
