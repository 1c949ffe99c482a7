"""A grid of image panels on a dark background, with colour bars and a legend below.

Input: the number of rows and columns; the caller draws into each panel. Output: a PNG.
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import axes, cm, figure, lines

from mtl_jax.figures import colours

# Inches: a panel's width, the gap between panels, and the space above and below them.
PANEL_WIDTH, GAP, TITLE, COLUMN_TITLE, BAR, LEGEND = 3.0, 0.05, 0.4, 0.3, 0.62, 0.3
GROUP_GAP, LEGEND_ENTRY = 0.22, 1.55
DOTS_PER_INCH = 120


@dataclasses.dataclass(frozen=True)
class Bar:
    """A colour bar below the columns `first` to `last`."""

    first: int
    last: int
    image: cm.ScalarMappable
    label: str


class PanelGrid:
    """Panels of equal size; rows may be grouped."""

    def __init__(
        self,
        rows: int,
        columns: int,
        proportion: float,
        *,
        panel_width: float = PANEL_WIDTH,
        rows_per_group: int | None = None,
    ) -> None:
        """`proportion` is a panel's height / width; widths are in inches."""
        self.rows, self.columns = rows, columns
        self.panel_width = panel_width
        self.panel_height = panel_width * proportion
        self.rows_per_group = rows_per_group or rows
        self.figure = figure.Figure(facecolor=colours.BACKGROUND)
        self.panels: dict[tuple[int, int], axes.Axes] = {}
        self.bars: list[Bar] = []

    def add_panel(self, row: int, column: int, title: str = "") -> axes.Axes:
        """Add an empty black panel at `row` and `column`, with a title above."""
        name = f"{row} {column}"
        axis = self.figure.add_axes((0, 0, 1, 1), label=name, facecolor="black")
        axis.set(xticks=[], yticks=[], autoscale_on=False)
        axis.spines[:].set_visible(False)
        if title:
            size = 11 * min(1.0, self.panel_width / 2.2)
            axis.set_title(title, color=colours.INK, fontsize=size, pad=5)
        self.panels[row, column] = axis
        return axis

    def add_bar(self, first: int, last: int, norm: Any, cmap: str, label: str) -> None:
        """Add a colour bar below the columns `first` to `last`."""
        self.bars.append(Bar(first, last, cm.ScalarMappable(norm, cmap), label))

    def save(self, path: Path, title: str, handles: Sequence[lines.Line2D]) -> None:
        """Lay out the panels, bars, title and legend, and write the PNG."""
        width = self.columns * (self.panel_width + GAP) + GAP
        entries_per_row = max(1, min(len(handles), int(width / LEGEND_ENTRY)))
        below = LEGEND * math.ceil(len(handles) / entries_per_row) + (
            BAR if self.bars else 0.05
        )
        groups = math.ceil(self.rows / self.rows_per_group)
        between = (groups - 1) * GROUP_GAP
        panels = self.rows * (self.panel_height + GAP) + between
        height = TITLE + COLUMN_TITLE + panels + below
        self.figure.set_size_inches(width, height)
        for (row, column), axis in self.panels.items():
            left = GAP + column * (self.panel_width + GAP)
            top = (
                row * (self.panel_height + GAP) + row // self.rows_per_group * GROUP_GAP
            )
            bottom = height - TITLE - COLUMN_TITLE - self.panel_height - top
            axis.set_position(
                (left / width, bottom / height, self.panel_width / width,
                 self.panel_height / height)
            )  # fmt: skip
        for bar in self.bars:
            self._draw_bar(bar, width, height, below - 0.17)
        self.figure.text(
            2 * GAP / width, 1 - TITLE / 2 / height, title,
            color=colours.INK, fontsize=9 if "\n" in title else 13, va="center",
        )  # fmt: skip
        if handles:
            self.figure.legend(
                handles=handles, loc="lower left", ncols=entries_per_row, frameon=False,
                labelcolor=colours.INK, fontsize=9, handlelength=1.8,
                columnspacing=1.4, borderaxespad=0.2,
            )  # fmt: skip
        write_png(self.figure, path)

    def _draw_bar(self, bar: Bar, width: float, height: float, bottom: float) -> None:
        span = (bar.last - bar.first + 1) * (self.panel_width + GAP) - GAP
        left = GAP + bar.first * (self.panel_width + GAP) + 0.15 * span
        position = (left / width, bottom / height, 0.7 * span / width, 0.1 / height)
        colour_bar = self.figure.colorbar(
            bar.image, cax=self.figure.add_axes(position), orientation="horizontal"
        )
        colour_bar.set_label(bar.label, color=colours.INK, fontsize=9, labelpad=2)
        colour_bar.ax.tick_params(colors=colours.INK, labelsize=8, length=2, pad=2)
        colour_bar.ax.spines[:].set_visible(False)


def legend_line(label: str, **style: Any) -> lines.Line2D:
    """A legend entry."""
    return lines.Line2D([], [], label=label, **style)


def write_png(fig: figure.Figure, path: Path) -> None:
    """Write the PNG without date or version, so that equal figures give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(
        path, dpi=DOTS_PER_INCH, facecolor=fig.get_facecolor(),
        metadata={"Software": None},
    )  # fmt: skip
