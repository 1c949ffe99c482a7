"""Tables 4 and 5: agreement of predicted contours with the reference, by structure.

Input: the measures of a study. Output: a table with a row for each structure and a
group of columns for each metric. A missed structure counts with Dice 0 and the penalty
distance that the evaluation sets; it is never left out.
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

# Our metric and the paper's; the paper does not define its Hausdorff distance.
PAPER_METRICS = {"dice": "dice", "hd100": "hausdorff"}


def metrics_of(study: measures.Study, variant: str = "") -> list[str]:
    """Contour metrics of all models, Dice and the Hausdorff distance first."""
    found = {
        key.metric
        for method in study.doing("contours")
        for key in method.keys
        if key.variant == variant and _is_contour(key)
    }
    first = [metric for metric in PAPER_METRICS if metric in found]
    return first + sorted(found - set(first))


def variants_of(study: measures.Study) -> list[str]:
    """Variants of the contours of all models, such as `largest_component`."""
    keys = {key for method in study.doing("contours") for key in method.keys}
    return sorted({key.variant for key in keys if key.variant and _is_contour(key)})


def keys_of(
    study: measures.Study, metric: str, variant: str = ""
) -> list[measures.Key]:
    """The rows of a metric: the structures for which some model has a value."""
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
    """The measures of a table, by structure, metric and method."""

    study: measures.Study
    metrics: Sequence[str]
    variant: str
    families: Sequence[significance.Family]
    paper: published.Table | None

    @functools.cached_property
    def keys(self) -> dict[tuple[str, str], measures.Key]:
        """Keys by structure and metric."""
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
    """The table of `metrics` of one `variant`; `paper` adds the paper's columns.

    `families` are the tests that mark Multi-Automated's cells, one for each metric.
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
    row_cells = []
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
            is_best = method in grid.models and measure.mean == best
            row_cells.append(cells.cell(measure, best=is_best, mark=mark))
    first = {m: grid.found[structure, grid.metrics[0], m] for m in grid.methods}
    missed = [render.Cell(first[method].missed, form="d") for method in grid.models]
    return (
        render.Cell(structure),
        cells.patients(first),
        *row_cells,
        *missed,
        *_paper_cells(grid, structure),
    )


def _best(
    grid: _Grid, metric: str, found: dict[measures.Method, measures.Measure]
) -> float:
    """The best mean among the paper's roles and the yardsticks.

    A role that has it is bold.
    """
    means = [
        found[method].mean
        for method in grid.methods
        if method not in grid.models or roles.ROLES[method.name].paper_name
        if found[method].n
    ]
    if not means:
        return math.nan
    return max(means) if _up(metric) else min(means)


def _paper_cells(grid: _Grid, structure: str) -> list[render.Cell]:
    row_cells = []
    for metric in _paper_metrics(grid):
        assert grid.paper is not None
        row = None
        if structure in grid.study.site.names:
            name = grid.study.site.structure(structure).tg263
            row = grid.paper.row(name, PAPER_METRICS[metric])
        row_cells += [
            cells.printed(row.values[role] if row else None) for role in _roles(grid)
        ]
    return row_cells


def _average(grid: _Grid) -> tuple[render.Cell, ...]:
    """The mean of the rows, seed by seed; no value if a row has none."""
    row_cells = []
    for metric in grid.metrics:
        for method in grid.methods:
            rows = [grid.found[s, metric, method].seed_means for s in grid.structures]
            if not rows or any(len(row) != len(method.seeds) for row in rows):
                row_cells.append(cells.NO_AVERAGE)
                continue
            means = tuple(float(mean) for mean in np.mean(rows, axis=0))
            average = measures.Measure({}, means)
            row_cells.append(render.Cell(average.mean, average.spread))
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
        *row_cells,
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
        "Each value is the mean over the n patients with this structure contoured; "
        "↑ higher is better, ↓ lower is better. Distances in mm are computed in the "
        "volume, distances in px in its slices.",
        "Contours: "
        + (f"variant {grid.variant}." if grid.variant else "as configured."),
        "Missed: number of predictions without any contour of the structure, over all "
        "seeds; each counts with Dice 0 and the diagonal of the image as its distance. "
        f"Predicted although the reference is empty: {false}.",
        *cells.spreads(grid.methods),
        *cells.missing_roles(grid.study, "contours"),
        "Bold: the best of the paper's roles, unless a yardstick is better. Average: "
        "the mean of the rows.",
    ]
    for family in grid.families[:1]:
        sentences.append(
            f"{cells.BETTER} Multi-Automated is significantly better than "
            f"{family.against.label}, {cells.WORSE} significantly worse (one-sided "
            "paired t-tests, p < 0.05 after Bonferroni correction for the "
            f"{family.comparisons} rows of each metric); the table of tests has the "
            "details."
        )
    if len(grid.methods) > len(grid.models):
        sentences.append(
            "Yardsticks do not use the patient's image (the mean shape is placed at "
            f"the true centroid); {cells.BEATEN} marks those that are better than "
            "Multi-Automated."
        )
    sentences += cells.paper_columns(grid.paper)
    if grid.paper and "hd100" in grid.metrics:
        sentences.append(
            "The paper states neither the unit of its Hausdorff distance nor whether "
            "it is computed in volumes or in slices."
        )
    return sentences
