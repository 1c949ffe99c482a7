"""Tables 2 and 3: errors of DVH metrics, with yardsticks and the paper's values.

Input: the measures of a study. Output: a table with a row for each DVH metric of a
structure. A value is the mean over the patients of |predicted - reference|, with both
doses evaluated in the reference structure.
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

MULTI = roles.playing("proposed", "dose")
SEQUENTIAL = roles.playing("rival", "dose")
BASELINE = roles.playing("base", "dose")


@dataclasses.dataclass(frozen=True)
class _Grid:
    """The measures of a table: one for each row's key and column's method."""

    study: measures.Study
    keys: Sequence[measures.Key]
    models: Sequence[measures.Method]
    family: significance.Family | None
    paper: published.Table | None

    @functools.cached_property
    def yardsticks(self) -> list[measures.Method]:
        return self.study.yardsticks_with(self.keys)

    @property
    def methods(self) -> list[measures.Method]:
        return [*self.models, *self.yardsticks]

    @functools.cached_property
    def measures_of(
        self,
    ) -> dict[tuple[measures.Key, measures.Method], measures.Measure]:
        return {
            (key, method): method.measure(key)
            for key in self.keys
            for method in self.methods
        }

    def unit(self, key: measures.Key) -> str:
        return next(filter(None, (m.unit(key) for m in self.methods)), "")

    def average(self, method: measures.Method, unit: str = "") -> measures.Measure:
        """The mean of the rows (those with `unit`, or all), seed by seed.

        It has no value if a row lacks one for some seed: the mean of the other rows
        would not be comparable.
        """
        rows = [
            self.measures_of[key, method].seed_means
            for key in self.keys
            if not unit or self.unit(key) == unit
        ]
        if not rows or any(len(means) != len(method.seeds) for means in rows):
            return measures.Measure({}, ())
        return measures.Measure({}, tuple(float(m) for m in np.mean(rows, axis=0)))


def keys_of_table(study: measures.Study) -> list[measures.Key]:
    """The rows of Table 2 or 3: those of the site for which some model has a value.

    If the site lists none: all DVH metrics of its contoured structures.
    """
    known = study.keys(study.doing("dose"))
    if not study.dose_table:
        return [
            key
            for key in known
            if key.structure in study.site.contoured and _is_dvh(key)
        ]
    listed = [measures.Key(*row) for row in study.dose_table]
    return [key for key in listed if key in known]


def keys_of_others(study: measures.Study) -> list[measures.Key]:
    """All other DVH metrics of the models, such as those of targets."""
    main = keys_of_table(study)
    known = study.keys(study.doing("dose"))
    return [key for key in known if _is_dvh(key) and key not in main]


def _is_dvh(key: measures.Key) -> bool:
    found = metric_names.kind(key.metric, "dvh") if key.structure else ""
    of_target = bool(found) and metric_names.FORMS[found].of_target
    is_dvh = bool(key.structure) and ":" in key.metric
    return is_dvh and not of_target and not key.variant


def table(
    study: measures.Study,
    keys: Sequence[measures.Key],
    *,
    name: str,
    title: str,
    family: significance.Family | None,
    paper: published.Table | None,
    averages: bool = True,
) -> render.Table:
    """The table of `keys`; `paper` adds its columns, `family` marks significance."""
    grid = _Grid(study, keys, study.doing("dose"), family, paper)
    rows = [_row(grid, key) for key in keys]
    summary = [*_averages(grid), *_relative(grid)] if averages else []
    return render.Table(
        name=name,
        title=title,
        caption=tuple(_caption(grid, averages)),
        columns=tuple(_columns(grid)),
        rows=(*rows, *summary),
        rules=(len(rows),) if summary else (),
    )


def _columns(grid: _Grid) -> list[render.Column]:
    columns = [render.Column(name) for name in ("ROI", "metric", "unit", "n")]
    columns += [render.Column(method.label, "model") for method in grid.models]
    columns += [render.Column(method.label, "yardstick") for method in grid.yardsticks]
    if grid.paper:
        columns += [
            render.Column(measures.label(role), "paper") for role in grid.paper.roles
        ]
    return columns


def _row(grid: _Grid, key: measures.Key) -> tuple[render.Cell, ...]:
    row_measures = {method: grid.measures_of[key, method] for method in grid.methods}
    best = _best(grid, row_measures)
    multi = grid.study.models.get(MULTI)
    multi_mean = row_measures[multi].mean if multi else math.nan
    row_cells = []
    for method in grid.methods:
        mark = ""
        if method.name == MULTI and grid.family:
            mark = grid.family.mark(key)
        elif method not in grid.models and row_measures[method].mean < multi_mean:
            mark = cells.BEATEN
        measure = row_measures[method]
        is_best = method in grid.models and measure.mean == best
        row_cells.append(cells.cell(measure, best=is_best, mark=mark))
    head = (key.structure, key.metric, grid.unit(key))
    return (
        *(render.Cell(text) for text in head),
        cells.patients(row_measures),
        *row_cells,
        *_paper_cells(grid, key),
    )


def _best(grid: _Grid, row_measures: dict[measures.Method, measures.Measure]) -> float:
    """The lowest mean error among the paper's roles and the yardsticks.

    A role that has it is bold.
    """
    means = [
        row_measures[method].mean
        for method in grid.methods
        if method not in grid.models or roles.ROLES[method.name].paper_name
    ]
    return min((mean for mean in means if not math.isnan(mean)), default=math.nan)


def _paper_cells(grid: _Grid, key: measures.Key) -> list[render.Cell]:
    if grid.paper is None:
        return []
    row = None
    if key.structure in grid.study.site.names:
        structure = grid.study.site.structure(key.structure).tg263
        row = grid.paper.row(structure, measures.shown_metric(key.metric))
    return [
        cells.printed(row.values[role] if row else None) for role in grid.paper.roles
    ]


def _averages(grid: _Grid) -> list[tuple[render.Cell, ...]]:
    """The paper's average and, if units are mixed, one for each unit."""
    units = list(dict.fromkeys(grid.unit(key) for key in grid.keys))
    kinds = [("Average", "", " and ".join(units))] if units else []
    if len(units) > 1:
        kinds += [(f"Average of the {unit} rows", unit, unit) for unit in units]
    rows = []
    for title, unit, shown in kinds:
        row_cells = []
        for method in grid.methods:
            average = grid.average(method, unit)
            row_cells.append(
                render.Cell(average.mean, average.spread)
                if average.seed_means
                else cells.NO_AVERAGE
            )
        printed = [_paper_average(grid.paper, unit, role) for role in _roles(grid)]
        rows.append((*_head(title, shown), *row_cells, *printed))
    return rows


def _roles(grid: _Grid) -> tuple[str, ...]:
    return grid.paper.roles if grid.paper else ()


def _paper_average(paper: published.Table | None, unit: str, role: str) -> render.Cell:
    assert paper is not None
    if not unit:
        return cells.printed(paper.average["dvh"][role])
    wanted = [
        row.metric for row in paper.rows if row.metric.startswith("V_") == (unit == "%")
    ]
    if not wanted:
        return cells.printed(None)
    return render.Cell(paper.mean(role, wanted))


def _head(title: str, unit: str) -> tuple[render.Cell, ...]:
    return (
        render.Cell(title),
        render.Cell(""),
        render.Cell(unit),
        cells.BLANK,
    )


def _relative(grid: _Grid) -> list[tuple[render.Cell, ...]]:
    """Relative differences of the averages: the paper's definition, and two others."""
    ours = {m.name: grid.average(m).mean for m in grid.methods}
    paper: dict[str, float] = {}
    relative: dict[str, published.Value] = {}
    if grid.paper:
        average = grid.paper.average["dvh"]
        paper = {role: average[role].value for role in grid.paper.roles}
        relative = grid.paper.relative_difference_percent
    rows = []
    if BASELINE in ours or paper:
        row_cells = [
            _percent(ours.get(BASELINE), ours[m.name], ours.get(BASELINE))
            for m in grid.methods
        ]
        printed = [
            cells.printed(relative[role]) if role in relative else cells.BLANK
            for role in paper
        ]
        rows.append((*_head("(Baseline - role) / Baseline", "%"), *row_cells, *printed))
    for title, over in (
        ("(Seq-Automated - Multi) / Baseline", BASELINE),
        ("(Seq-Automated - Multi) / Seq-Automated", SEQUENTIAL),
    ):
        row_cells = [
            _percent(ours.get(SEQUENTIAL), ours[MULTI], ours.get(over))
            if m.name == MULTI
            else cells.BLANK
            for m in grid.methods
        ]
        printed = [
            _percent(paper[SEQUENTIAL], paper[MULTI], paper[over])
            if role == MULTI
            else cells.BLANK
            for role in paper
        ]
        if MULTI in ours or printed:
            rows.append((*_head(title, "%"), *row_cells, *printed))
    return rows


def _percent(first: float | None, second: float, over: float | None) -> render.Cell:
    if first is None or over is None:
        return render.Cell(note="not run")
    if math.isnan(first + second + over) or not over:
        return render.Cell(note="no average")
    return render.Cell(100 * (first - second) / over, form=".2f")


def _caption(grid: _Grid, averages: bool) -> list[str]:
    study = grid.study
    sentences = [
        f"{study.cohort}.",
        "Each value is the mean over the n patients of |predicted - reference| of a "
        "DVH metric, with both doses evaluated in the reference contours; lower is "
        "better. A metric's name starts with its dialect (docs/reference/metrics.md).",
        *cells.spreads(grid.methods),
        *cells.missing_roles(study, "dose"),
        "Bold: the lowest of the paper's roles, unless a yardstick is lower.",
    ]
    if grid.family:
        sentences.append(
            f"{cells.BETTER} Multi-Automated is significantly better than "
            f"{grid.family.against.label}, {cells.WORSE} significantly worse "
            "(one-sided paired t-tests, p < 0.05 after Bonferroni correction for the "
            f"{grid.family.comparisons} rows); the table of tests has the details."
        )
    if grid.yardsticks:
        sentences.append(
            f"Yardsticks do not use the patient's image; {cells.BEATEN} marks those "
            "with a lower error than Multi-Automated."
        )
    if averages:
        units = {grid.unit(key) for key in grid.keys}
        mixed = ", although their units differ" if len(units) > 1 else ""
        sentences.append(
            f"Average: the mean of the rows, as in the paper{mixed}. Relative "
            "differences are between averages; the improvement that the paper claims "
            "is the one divided by Baseline."
        )
    return sentences + cells.paper_columns(grid.paper)
