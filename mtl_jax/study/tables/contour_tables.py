"""Tables 4 and 5: how well contours agree with the reference's, by structure.

A row is a structure; a group of columns is a metric. A structure that was missed has
Dice 0 and the distance that evaluation sets as a penalty: it is never left out.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np

from mtl_jax.core import metric_names, roles
from mtl_jax.report import render
from mtl_jax.study import published
from mtl_jax.study.tables import cells, measures, significance

# Ours by the paper's: it does not say which Hausdorff distance it means.
PAPER_METRICS = {"dice": "dice", "hd100": "hausdorff"}


def metrics_of(study: measures.Study, variant: str = "") -> list[str]:
    """Contour metrics that some model has, Dice and the Hausdorff distance first."""
    found = {
        key.metric
        for method in study.doing("contours")
        for key in method.keys
        if key.variant == variant and _is_contour(key)
    }
    first = [metric for metric in PAPER_METRICS if metric in found]
    return first + sorted(found - set(first))


def variants_of(study: measures.Study) -> list[str]:
    """Variants of the contours that some model has, such as `largest_component`."""
    keys = {key for method in study.doing("contours") for key in method.keys}
    return sorted({key.variant for key in keys if key.variant and _is_contour(key)})


def keys_of(
    study: measures.Study, metric: str, variant: str = ""
) -> list[measures.Key]:
    """The rows of a metric: the structures for which some model has it."""
    return [
        key
        for key in study.keys(study.doing("contours"))
        if key.metric == metric and key.variant == variant
    ]


def _is_contour(key: measures.Key) -> bool:
    return metric_names.is_of_contours(key.structure, key.metric)


def _up(metric: str) -> bool:
    return metric_names.parse(metric, "contours").form.higher_is_better


@dataclasses.dataclass(frozen=True)
class _Grid:
    """What the table is made of."""

    study: measures.Study
    metrics: Sequence[str]
    variant: str
    families: Sequence[significance.Family]
    paper: published.Table | None

    @functools.cached_property
    def keys(self) -> dict[tuple[str, str], measures.Key]:
        """By structure and metric."""
        return {
            (key.structure, metric): key
            for metric in self.metrics
            for key in keys_of(self.study, metric, self.variant)
        }

    @functools.cached_property
    def models(self) -> list[measures.Method]:
        return self.study.doing("contours")

    @functools.cached_property
    def methods(self) -> list[measures.Method]:
        return [*self.models, *self.study.yardsticks_with(self.keys.values())]

    @property
    def structures(self) -> list[str]:
        return list(dict.fromkeys(structure for structure, _ in self.keys))

    @functools.cached_property
    def found(self) -> dict[tuple[str, str, measures.Method], measures.Measure]:
        """Values, not errors, by structure, metric and method."""
        return {
            (structure, metric, method): method.measure(
                measures.Key(structure, metric, self.variant), of="prediction"
            )
            for structure in self.structures
            for metric in self.metrics
            for method in self.methods
        }

    def mark(self, structure: str, metric: str) -> str:
        key = measures.Key(structure, metric, self.variant)
        return "".join(family.mark(key) for family in self.families)


def table(
    study: measures.Study,
    metrics: Sequence[str],
    *,
    name: str,
    title: str,
    families: Sequence[significance.Family] = (),
    paper: bool = False,
    variant: str = "",
) -> render.Table:
    """Structures by `metrics` of one `variant`, with the paper's columns if asked for.

    `families` are the tests of Multi-Automated that its cells show, one a metric.
    """
    beside = published.load().table(study.site.name, "dice") if paper else None
    grid = _Grid(study, metrics, variant, families, beside)
    rows = [_row(grid, structure) for structure in grid.structures]
    return render.Table(
        name=name,
        title=title,
        caption=tuple(_caption(grid)),
        columns=tuple(_columns(grid)),
        rows=(*rows, _average(grid)),
        rules=(len(rows),),
    )


def _columns(grid: _Grid) -> list[render.Column]:
    columns = [render.Column("ROI"), render.Column("n")]
    for metric in grid.metrics:
        arrow = "↑" if _up(metric) else "↓"
        group = f"{_heading(metric)} {arrow}"
        columns += [render.Column(method.label, group) for method in grid.methods]
    columns += [render.Column(method.label, "missed") for method in grid.models]
    for metric in _paper_metrics(grid):
        group = f"paper, {metric_title(metric)}"
        columns += [render.Column(measures.label(role), group) for role in _roles(grid)]
    return columns


def metric_title(metric: str) -> str:
    """A metric as tables call it."""
    return metric_names.parse(metric, "contours").title


def _heading(metric: str) -> str:
    unit = metric_names.parse(metric, "contours").unit
    name = metric_title(metric)
    return name if unit == "1" else f"{name}, {unit}"


def _paper_metrics(grid: _Grid) -> list[str]:
    if grid.paper is None:
        return []
    return [metric for metric in grid.metrics if metric in PAPER_METRICS]


def _roles(grid: _Grid) -> tuple[str, ...]:
    return grid.paper.roles if grid.paper else ()


def _row(grid: _Grid, structure: str) -> tuple[render.Cell, ...]:
    made = []
    for metric in grid.metrics:
        found = {m: grid.found[structure, metric, m] for m in grid.methods}
        best, multi = _best(grid, metric, found), grid.study.proposed
        for method, measure in found.items():
            mark = ""
            if method is multi:
                mark = grid.mark(structure, metric)
            elif method not in grid.models and multi:
                ahead = measure.mean - found[multi].mean
                beaten = ahead > 0 if _up(metric) else ahead < 0
                mark = cells.BEATEN if beaten else ""
            made.append(cells.cell(measure, best=measure.mean == best, mark=mark))
    first = {m: grid.found[structure, grid.metrics[0], m] for m in grid.methods}
    missed = [render.Cell(first[method].missed, form="d") for method in grid.models]
    return (
        render.Cell(structure),
        cells.patients(first),
        *made,
        *missed,
        *_paper_cells(grid, structure),
    )


def _best(
    grid: _Grid, metric: str, found: dict[measures.Method, measures.Measure]
) -> float:
    """The best value among the paper's roles, which is printed bold."""
    means = [
        found[method].mean
        for method in grid.models
        if roles.ROLES[method.name].paper_name and found[method].n
    ]
    if not means:
        return math.nan
    return max(means) if _up(metric) else min(means)


def _paper_cells(grid: _Grid, structure: str) -> list[render.Cell]:
    made = []
    for metric in _paper_metrics(grid):
        assert grid.paper is not None
        row = None
        if structure in grid.study.site.names:
            name = grid.study.site.structure(structure).tg263
            row = grid.paper.row(name, PAPER_METRICS[metric])
        made += [
            cells.printed(row.values[role] if row else None) for role in _roles(grid)
        ]
    return made


def _average(grid: _Grid) -> tuple[render.Cell, ...]:
    """Plain mean of the rows, seed by seed; none where a row has no value."""
    made = []
    for metric in grid.metrics:
        for method in grid.methods:
            rows = [grid.found[s, metric, method].seed_means for s in grid.structures]
            if not rows or any(len(row) != len(method.seeds) for row in rows):
                made.append(cells.NO_AVERAGE)
                continue
            means = tuple(float(mean) for mean in np.mean(rows, axis=0))
            average = measures.Measure({}, means)
            made.append(render.Cell(average.mean, average.spread))
    missed = [
        sum(grid.found[s, grid.metrics[0], m].missed for s in grid.structures)
        for m in grid.models
    ]
    printed = [
        cells.printed(grid.paper.average[PAPER_METRICS[metric]][role])
        for metric in _paper_metrics(grid)
        if grid.paper
        for role in _roles(grid)
    ]
    return (
        render.Cell("Average (missed: sum)"),
        cells.BLANK,
        *made,
        *(render.Cell(count, form="d") for count in missed),
        *printed,
    )


def _caption(grid: _Grid) -> list[str]:
    false = sum(
        grid.found[s, grid.metrics[0], m].false_positive
        for s in grid.structures
        for m in grid.models
    )
    sentences = [
        f"{grid.study.cohort}.",
        "Mean over the n patients in whom the structure was contoured; ↑ higher is "
        "better, ↓ lower is better. Distances in mm are of the volume, in px of its "
        "slices.",
        "Contours: "
        + (f"variant {grid.variant}." if grid.variant else "as configured."),
        "Missed: how often the structure was not drawn at all, over all seeds; it "
        "counts with Dice 0 and, as its distance, the diagonal of the image. Drawn "
        f"where the reference is empty: {false}.",
        *cells.spreads(grid.methods),
        *cells.missing_roles(grid.study, "contours"),
        "Bold: best of the paper's roles. Average: plain mean of the rows.",
    ]
    for family in grid.families[:1]:
        sentences.append(
            f"{cells.BETTER} Multi-Automated significantly better than "
            f"{family.against.label}, {cells.WORSE} significantly worse: one-sided "
            "paired t-tests, p < 0.05 after Bonferroni over the "
            f"{family.comparisons} rows of each metric; details in the table of tests."
        )
    if len(grid.methods) > len(grid.models):
        sentences.append(
            "Yardsticks look at no image of the patient (the mean shape is told the "
            f"true centroid); {cells.BEATEN} one that is better than Multi-Automated."
        )
    sentences += cells.paper_columns(grid.paper)
    if grid.paper and "hd100" in grid.metrics:
        sentences.append(
            "The paper says neither the unit of its Hausdorff distance nor whether it "
            "is of volumes or of slices."
        )
    return sentences
