"""Differences between pairs of roles, by structure, with their intervals.

Input: mean differences and intervals. Output: a PNG with one panel for each quantity;
to the right of zero the first role of a pair is better.
"""

import dataclasses
import textwrap
from collections.abc import Sequence
from pathlib import Path

from matplotlib import axes, figure, ticker

from mtl_jax.figures import colours, panel_grid

ROW_HEIGHT, PANEL_WIDTH = 0.62, 4.6  # inches
TITLE_WIDTH = 34  # characters


@dataclasses.dataclass(frozen=True)
class Series:
    """One pair of roles: a value for each row of the panel."""

    label: str
    means: tuple[float, ...]
    intervals: tuple[tuple[float, float], ...]
    significant: tuple[bool, ...]


@dataclasses.dataclass(frozen=True)
class Panel:
    """One quantity: rows are structures, pairs stand below each other in a row."""

    title: str
    unit: str
    rows: tuple[str, ...]
    series: tuple[Series, ...]


def draw(path: Path, panels: Sequence[Panel]) -> None:
    """Draw the panels side by side; filled circles are significant differences."""
    rows = max(len(panel.rows) for panel in panels)
    pairs = list(dict.fromkeys(s.label for panel in panels for s in panel.series))
    shades = {
        label: colours.SERIES[at % len(colours.SERIES)]
        for at, label in enumerate(pairs)
    }
    fig = figure.Figure(
        figsize=(
            PANEL_WIDTH * len(panels),
            ROW_HEIGHT * rows + 0.24 * len(pairs) + 1.1,
        ),
        layout="constrained",
    )
    for axis, panel in zip(
        fig.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        _draw_panel(axis, panel, shades)
    handles = [
        panel_grid.legend_line(label, color=shades[label], marker="o", lw=1.4)
        for label in pairs
    ]
    fig.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(2, len(pairs)),
        frameon=False,
        fontsize=8,
    )
    panel_grid.write_png(fig, path)


def _draw_panel(axis: axes.Axes, panel: Panel, shades: dict[str, str]) -> None:
    step = 0.8 / len(panel.series)
    for number, series in enumerate(panel.series):
        colour = shades[series.label]
        for row, (mean, (low, high), significant) in enumerate(
            zip(series.means, series.intervals, series.significant, strict=True)
        ):
            y = row - 0.4 + step * (number + 0.5)
            axis.plot([low, high], [y, y], color=colour, lw=1.4)
            axis.plot(
                [mean], [y], "o", ms=4.5, color=colour, mew=1.2,
                mfc=colour if significant else "white",
            )  # fmt: skip
    axis.axvline(0.0, color=colours.FAINT_INK, lw=1.0, zorder=0)
    for row in range(1, len(panel.rows)):
        axis.axhline(row - 0.5, color=colours.FAINT_INK, lw=0.3)
    axis.set(
        title=textwrap.fill(panel.title, TITLE_WIDTH),
        xlabel=f"difference{f', {panel.unit}' if panel.unit else ''}\n"
        "to the right, the first is better",
        ylim=(len(panel.rows) - 0.5, -0.5),
    )
    axis.set_yticks(range(len(panel.rows)), panel.rows)
    axis.xaxis.set_major_locator(ticker.MaxNLocator(4))
    axis.tick_params(axis="y", length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)
