"""A sheet of panels: rows and columns on a dark ground, colour bars and a legend below.

Goes in: a number of rows, and what is drawn in each panel. Comes out: a PNG.
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import axes, cm, figure, lines

from mtl_jax.figures import colours

# Inches: a panel's width, between panels, and above and below all panels.
PANEL, GAP, TITLE, COLUMN_TITLE, BAR, LEGEND = 3.0, 0.05, 0.4, 0.3, 0.62, 0.3
GROUP_GAP, LEGEND_ENTRY = 0.22, 1.55
DOTS_PER_INCH = 120


@dataclasses.dataclass(frozen=True)
class Bar:
    """A colour bar below the columns `first` to `last`."""

    first: int
    last: int
    image: cm.ScalarMappable
    label: str


class Sheet:
    """Panels of equal size; rows may stand in groups."""

    def __init__(
        self,
        rows: int,
        columns: int,
        proportion: float,
        *,
        panel: float = PANEL,
        group: int | None = None,
    ) -> None:
        """`proportion` is height / width of a panel; `group` how many rows make one."""
        self.rows, self.columns = rows, columns
        self.panel_width, self.panel_height = panel, panel * proportion
        self.group = group or rows
        self.figure = figure.Figure(facecolor=colours.BACKGROUND)
        self.panels: dict[tuple[int, int], axes.Axes] = {}
        self.bars: list[Bar] = []

    def panel(self, row: int, column: int, title: str = "") -> axes.Axes:
        """The panel at `row`, `column`, black and empty, with a title above."""
        name = f"{row} {column}"
        axis = self.figure.add_axes((0, 0, 1, 1), label=name, facecolor="black")
        axis.set(xticks=[], yticks=[], autoscale_on=False)
        axis.spines[:].set_visible(False)
        if title:
            size = 11 * min(1.0, self.panel_width / 2.2)
            axis.set_title(title, color=colours.INK, fontsize=size, pad=5)
        self.panels[row, column] = axis
        return axis

    def bar(self, first: int, last: int, norm: Any, cmap: str, label: str) -> None:
        """A colour bar below the columns `first` to `last`."""
        self.bars.append(Bar(first, last, cm.ScalarMappable(norm, cmap), label))

    def save(self, path: Path, title: str, handles: Sequence[lines.Line2D]) -> None:
        """Put everything in its place, and write the PNG."""
        wide = self.columns * (self.panel_width + GAP) + GAP
        across = max(1, min(len(handles), int(wide / LEGEND_ENTRY)))
        below = LEGEND * math.ceil(len(handles) / across) + (BAR if self.bars else 0.05)
        groups = math.ceil(self.rows / self.group)
        between = (groups - 1) * GROUP_GAP
        panels = self.rows * (self.panel_height + GAP) + between
        high = TITLE + COLUMN_TITLE + panels + below
        self.figure.set_size_inches(wide, high)
        for (row, column), axis in self.panels.items():
            left = GAP + column * (self.panel_width + GAP)
            top = row * (self.panel_height + GAP) + row // self.group * GROUP_GAP
            low = high - TITLE - COLUMN_TITLE - self.panel_height - top
            axis.set_position(
                (left / wide, low / high, self.panel_width / wide,
                 self.panel_height / high)
            )  # fmt: skip
        for bar in self.bars:
            self._place(bar, wide, high, below - 0.17)
        self.figure.text(
            2 * GAP / wide, 1 - TITLE / 2 / high, title,
            color=colours.INK, fontsize=13, va="center",
        )  # fmt: skip
        if handles:
            self.figure.legend(
                handles=handles, loc="lower left", ncols=across, frameon=False,
                labelcolor=colours.INK, fontsize=9, handlelength=1.8,
                columnspacing=1.4, borderaxespad=0.2,
            )  # fmt: skip
        write(self.figure, path)

    def _place(self, bar: Bar, wide: float, high: float, low: float) -> None:
        span = (bar.last - bar.first + 1) * (self.panel_width + GAP) - GAP
        left = GAP + bar.first * (self.panel_width + GAP) + 0.15 * span
        place = (left / wide, low / high, 0.7 * span / wide, 0.1 / high)
        drawn = self.figure.colorbar(
            bar.image, cax=self.figure.add_axes(place), orientation="horizontal"
        )
        drawn.set_label(bar.label, color=colours.INK, fontsize=9, labelpad=2)
        drawn.ax.tick_params(colors=colours.INK, labelsize=8, length=2, pad=2)
        drawn.ax.spines[:].set_visible(False)


def line(label: str, **style: Any) -> lines.Line2D:
    """An entry of a legend."""
    return lines.Line2D([], [], label=label, **style)


def write(drawing: figure.Figure, path: Path) -> None:
    """Write the PNG; no date or version in it, so that the same gives the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(
        path, dpi=DOTS_PER_INCH, facecolor=drawing.get_facecolor(),
        metadata={"Software": None},
    )  # fmt: skip
