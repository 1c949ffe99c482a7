"""Training curves: losses, task weights (DWA) and the bottleneck's gammas.

Input: the rows of one or several `metrics.jsonl` files. Output: a PNG.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from matplotlib import axes, figure

from mtl_jax.core import errors
from mtl_jax.figures import colours, panel_grid

Rows = Sequence[Mapping[str, float]]
HIDDEN = "_hidden"  # matplotlib leaves such a label out of the legend
STYLES = ("solid", (0, (4, 1.5)), (0, (1, 1)))


def draw(path: Path, rows: Rows) -> None:
    """Draw a run's losses by task and, with several tasks, weights and gammas.

    Args:
        path: the PNG to write.
        rows: lines of `metrics.jsonl`.
    """
    tasks = _tasks([rows])
    gammas = [task for task in tasks if _has(rows, f"gamma/{task}")]
    panels = 1 + (len(tasks) > 1) + bool(gammas)
    fig = figure.Figure(figsize=(4.6 * panels, 3.2), layout="constrained")
    losses, *others = fig.subplots(1, panels, squeeze=False)[0]
    for task, colour in zip(tasks, colours.SERIES, strict=False):
        _draw_loss(losses, rows, task, colour, task, f"{task}, validation")
    for axis, kind in zip(others, ("weight", "gamma"), strict=False):
        for task, colour in zip(tasks, colours.SERIES, strict=False):
            curve = _curve(rows, f"{kind}/{task}")
            axis.plot(*curve, color=colour, lw=1.2, label=task)
    _format_axis(losses, "Loss", scale="log")
    for axis, title in zip(others, ("Weight of the task", "Gamma"), strict=False):
        _format_axis(axis, title)
    panel_grid.write_png(fig, path)


def draw_comparison(path: Path, runs: Mapping[str, Sequence[Rows]]) -> None:
    """Draw several runs in the same panels: one per task's loss, weights and gammas.

    Args:
        path: the PNG to write.
        runs: lines of `metrics.jsonl` of each seed, by the runs' label.
    """
    tasks = _tasks(rows for seeds in runs.values() for rows in seeds)
    several = {
        kind: [
            label
            for label, (rows, *_) in runs.items()
            if sum(_has(rows, f"{kind}/{task}") for task in tasks) > 1
        ]
        for kind in ("weight", "gamma")
    }
    kinds = [kind for kind, labels in several.items() if labels]
    count = len(tasks) + len(kinds)
    fig = figure.Figure(figsize=(4.6 * min(count, 2), 3.2 * -(-count // 2)),
                            layout="constrained")  # fmt: skip
    panels = list(fig.subplots(-(-count // 2), min(count, 2), squeeze=False).flat)
    for axis, task in zip(panels, tasks, strict=False):
        for name, rows, colour in _seeds(runs):
            if _has(rows, f"loss/{task}"):
                _draw_loss(axis, rows, task, colour, name, HIDDEN)
        _format_axis(axis, f"Loss: {task} (circles: validation)", scale="log")
    for axis, kind in zip(panels[len(tasks) :], kinds, strict=False):
        for name, rows, colour in _seeds({n: runs[n] for n in several[kind]}, runs):
            for task, style in zip(tasks, STYLES, strict=False):
                if _has(rows, f"{kind}/{task}"):
                    axis.plot(*_curve(rows, f"{kind}/{task}"), color=colour, lw=1.2,
                              ls=style, label=f"{name}, {task}")  # fmt: skip
        _format_axis(axis, "Weight of the task" if kind == "weight" else "Gamma")
    for axis in panels[count:]:
        axis.set_visible(False)
    panel_grid.write_png(fig, path)


def _seeds(
    runs: Mapping[str, Sequence[Rows]], of: Mapping[str, Sequence[Rows]] | None = None
) -> Iterator[tuple[str, Rows, str]]:
    """Label, rows and colour of each seed; only the first one's label is shown.

    Colours are those of the labels' places in `of`, by default in `runs`.
    """
    shades = dict(zip(of or runs, _cycled_colours(), strict=False))
    for label, seeds in runs.items():
        for number, rows in enumerate(seeds):
            yield f"{HIDDEN}{number}" if number else label, rows, shades[label]


def _draw_loss(
    axis: axes.Axes, rows: Rows, task: str, colour: str, label: str, validation: str
) -> None:
    axis.plot(*_curve(rows, f"loss/{task}"), color=colour, lw=1.2, label=label)
    axis.plot(
        *_curve(rows, f"validation/loss/{task}"), color=colour, lw=1.2, ls="--",
        marker="o", ms=3.5, label=validation,
    )  # fmt: skip


def _format_axis(axis: axes.Axes, title: str, *, scale: str = "linear") -> None:
    axis.set(yscale=scale, title=title, xlabel="step")
    axis.grid(True, which="both", lw=0.3, alpha=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8)


def _tasks(runs: Iterable[Rows]) -> list[str]:
    """All tasks with a weight in some row."""
    tasks = {
        key.removeprefix("weight/")
        for rows in runs
        for row in rows
        for key in row
        if key.startswith("weight/")
    }
    if not tasks:
        raise errors.RecordError(
            "no training curves to draw: no row of metrics.jsonl has a 'weight/TASK'; "
            "train for at least one log interval"
        )
    return sorted(tasks)


def _has(rows: Rows, key: str) -> bool:
    return any(key in row for row in rows)


def _curve(rows: Rows, key: str) -> tuple[list[float], list[float]]:
    """Steps and values of the rows that have `key`."""
    logged = [row for row in rows if key in row]
    return [row["step"] for row in logged], [row[key] for row in logged]


def _cycled_colours() -> Iterable[str]:
    """The series' colours, repeated without end."""
    while True:
        yield from colours.SERIES
