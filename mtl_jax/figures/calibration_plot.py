"""Reliability diagrams of contour probabilities: one panel per role.

Input: points by role and structure. Output: a PNG. A point on the diagonal is a
probability that came true as often as it said.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib import figure

from mtl_jax.core import errors, sites
from mtl_jax.figures import colours, panel_grid

# Mean probability, and share of the voxels that are inside.
Points = tuple[np.ndarray, np.ndarray]
COLUMNS = 2


def draw(
    path: Path, by_role: Mapping[str, Mapping[str, Points]], *, site: sites.Site
) -> None:
    """Draw the points of each role and structure.

    Args:
        path: the PNG to write.
        by_role: points by the role's label and by structure.
        site: names and colours.
    """
    if not by_role:
        raise errors.RecordError("no contour probabilities to draw: give a role's")
    columns = min(COLUMNS, len(by_role))
    rows = math.ceil(len(by_role) / columns)
    fig = figure.Figure(figsize=(3.6 * columns + 1.8, 3.5 * rows), layout="constrained")
    panels = fig.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axis, (role, points) in zip(panels.flat, by_role.items(), strict=False):
        axis.plot([0, 1], [0, 1], color="0.6", lw=1, ls=(0, (3, 2)))
        for name in site.names:
            if name in points:
                colour = colours.on_white(site.structure(name).colour)
                axis.plot(*points[name], color=colour, lw=1.4, marker="o", ms=3.5)
        axis.set_title(role, fontsize=10)
        axis.set_xlim(0, 1)
        axis.set_ylim(0, 1)
        axis.set_aspect("equal")
    for axis in panels.flat[len(by_role) :]:
        axis.set_visible(False)
    for axis in panels[-1]:
        axis.set_xlabel("predicted probability")
    for axis in panels[:, 0]:
        axis.set_ylabel("share of voxels inside")
    drawn = [n for n in site.names if any(n in points for points in by_role.values())]
    handles = [
        panel_grid.legend_line(
            name, color=colours.on_white(site.structure(name).colour), lw=2.2
        )
        for name in drawn
    ]
    fig.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=8)
    panel_grid.write_png(fig, path)
