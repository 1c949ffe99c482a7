"""An evaluation's summary as a table to read in a terminal."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from mtl_jax.core import metric_names, sites

SCORES = (
    ("openkbp_dose_score", "dose score, Gy"),
    ("openkbp_dvh_score", "DVH score, Gy"),
    ("dose_error", "dose error, Gy"),
    ("goals_agree", "clinical goals judged as of the plan, %"),
    ("mean_dice", "mean Dice"),
    ("missed", "structures missed"),
)
LARGER_IS_BETTER = ("mean_dice", "goals_agree")
TARGETS = {"target:D_95": "D_95, error in % of the prescription"}
OF_PATIENT = ("gamma_global", "gamma_local")
CONTOURS = {"dice": "Dice", "hd95": "HD95, mm"}


def displayed(site: sites.Site) -> dict[str, str]:
    """Labels of the metrics that get a line, by metric."""
    patient = {
        name: f"{metric.title}, {metric.unit}"
        for name in site.dose_metrics
        if (metric := metric_names.parse(name, "patient")).kind in OF_PATIENT
    }
    metrics = dict.fromkeys(metric for _, metric in site.dose_table)
    units = {name: metric_names.parse(name, "dvh").unit for name in metrics}
    labels = {
        name: f"{name.rpartition(':')[2]}, error in {unit}"
        for name, unit in units.items()
    }
    return patient | labels | TARGETS | CONTOURS


def text(summary: dict[str, Any], site: sites.Site) -> str:
    """Lines of metric, network, n and yardsticks; means over patients."""
    yardsticks = summary["yardsticks"]
    head = ["", "network", "n", *(name.replace("_", " ") for name in yardsticks)]
    rows = [head]
    for key, label in SCORES:
        if key in summary:
            columns = (summary, *yardsticks.values())
            own, *others = [_number(column.get(key)) for column in columns]
            rows.append([label, own, str(summary["patients"]), *others])
    for metric, label in displayed(site).items():
        for name, result in summary["metrics"].items():
            if name.partition("/")[0] == metric:
                beside = [y["metrics"].get(name) for y in yardsticks.values()]
                others = ["" if v is None else f"{v['mean']:.3f}" for v in beside]
                structure = name.partition("/")[2]
                mean, n = f"{result['mean']:.3f}", str(result["n"])
                rows.append([f"{structure} {label}".strip(), mean, n, *others])
    lines = _aligned(rows)
    patients, at_step = summary["patients"], summary["step"]
    title = f"{summary['split']} split, {patients} patients, step {at_step}"
    if also := summary.get("settings", {}).get("also"):
        title += f", mean of {1 + len(also)} networks"
    return "\n".join([title, *lines])


def overview(summaries: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """A line for each method: its scores, the mean of its seeds' summaries."""
    keys = [
        (key, label)
        for key, label in SCORES
        if any(key in seed for seeds in summaries.values() for seed in seeds)
    ]
    rows = [["", *(label for _, label in keys)]]
    for name, seeds in summaries.items():
        values = ([s[key] for s in seeds if s.get(key) is not None] for key, _ in keys)
        means = [statistics.mean(several) if several else None for several in values]
        rows.append([name, *map(_number, means)])
    return "\n".join(_aligned(rows))


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of columns; the first one is aligned to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.3f}"
