"""Tables of metrics of the dose in the whole patient (not in the paper).

Input: the measures of a study. Output: a table for each group of metrics, with a row
for each role and yardstick. Official scores have their own table (score_tables).
"""

from collections.abc import Sequence
from typing import NamedTuple

from mtl_jax.core import metric_names, roles
from mtl_jax.report import render
from mtl_jax.study.tables import cells, measures


class Group(NamedTuple):
    """Metrics that share a table, by their kinds in core/metric_names."""

    name: str
    title: str
    kinds: tuple[str, ...]
    caption: str


GROUPS = (
    Group(
        "gamma",
        "Gamma pass rates (not in the paper)",
        ("gamma_global", "gamma_local"),
        "Percentage of voxels with a gamma index of at most 1, mean over the n "
        "patients; higher is better. Voxels with at least 10 % of the highest "
        "reference dose count; the dose difference is a percentage of the highest "
        "reference dose (global) or of the voxel's own (local).",
    ),
    Group(
        "dose-bands",
        "Dose error by isodose band (not in the paper)",
        ("dose_mae_band", "dose_mae_top_band"),
        "Mean absolute error where the reference dose lies between two percentages of "
        "the site's prescription, mean over the n patients; lower is better.",
    ),
    Group(
        "dose-distances",
        "Dose error by distance from the targets (not in the paper)",
        (
            "dose_mae_far_inside",
            "dose_mae_inside",
            "dose_mae_outside",
            "dose_mae_far_outside",
        ),
        "Mean absolute error by the distance of voxels from the surface of all targets "
        "together, where dose is possible, mean over the n patients; lower is better.",
    ),
)


def tables(study: measures.Study) -> list[render.Table]:
    """The tables of the groups that the rows have values for."""
    made = [_table(study, group) for group in GROUPS]
    return [table for table in made if table is not None]


def _table(study: measures.Study, group: Group) -> render.Table | None:
    models = study.doing("dose")
    keys = [
        key
        for key in study.keys(models)
        if not (key.structure or key.variant) and _kind(key) in group.kinds
    ]
    if not keys:
        return None
    keys.sort(key=lambda key: _order(group, key))
    models = [method for method in models if method.keys & set(keys)]
    yardsticks = study.yardsticks_with(keys)
    methods = [*models, *yardsticks]
    return render.Table(
        name=group.name,
        title=group.title,
        caption=(
            f"{study.cohort}.",
            group.caption,
            "docs/reference/metrics.md has the definitions.",
            *cells.spreads(methods),
        ),
        columns=tuple(
            [
                *(render.Column(name) for name in ("method", "input", "n")),
                *(render.Column(_heading(key)) for key in keys),
            ]
        ),
        rows=tuple(_row(method, method in models, keys) for method in methods),
        rules=(len(models),) if yardsticks else (),
    )


def _kind(key: measures.Key) -> str:
    return metric_names.kind(key.metric, "patient")


def _order(group: Group, key: measures.Key) -> tuple[int, tuple[float, ...]]:
    metric = metric_names.parse(key.metric, "patient")
    return group.kinds.index(metric.kind), metric.amounts


def _heading(key: measures.Key) -> str:
    metric = metric_names.parse(key.metric, "patient")
    return f"{metric.title}, {metric.unit}"


def _row(
    method: measures.Method, is_model: bool, keys: Sequence[measures.Key]
) -> tuple[render.Cell, ...]:
    inputs = roles.ROLES[method.name].input.in_tables if is_model else "no image"
    found = {}
    for key in keys:
        is_score = metric_names.is_score(key.structure, key.metric)
        found[key] = method.measure(key, "prediction" if is_score else "error")
    most = max(measure.n for measure in found.values())
    return (
        render.Cell(method.label),
        render.Cell(inputs),
        render.Cell(most, form="d"),
        *(cells.cell(measure, note="not computed") for measure in found.values()),
    )
