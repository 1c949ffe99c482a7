"""Dose-volume histograms of a patient: one panel per role.

Input: curves of the reference dose (solid) and of each role's dose (dashed). Output: a
PNG.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib import figure

from mtl_jax.core import errors, sites
from mtl_jax.figures import colours, panel_grid

# Increasing dose in Gy, and the percentage of the volume that receives at least it.
Curve = tuple[np.ndarray, np.ndarray]
COLUMNS = 2


def draw(
    path: Path,
    *,
    reference: Mapping[str, Curve],
    predictions: Mapping[str, Mapping[str, Curve]],
    site: sites.Site,
    title: str,
) -> None:
    """Draw the histograms of one patient.

    Args:
        path: the PNG to write.
        reference: curves of the reference dose by structure.
        predictions: curves of each predicted dose in the same (reference) structures,
            by role and structure.
        site: names and colours.
        title: the patient's name, shown above the panels.
    """
    if not reference or not predictions:
        raise errors.RecordError(
            f"{title}: no histogram to draw: {len(reference)} structures and "
            f"{len(predictions)} predicted doses; at least one of each is needed"
        )
    columns = min(COLUMNS, len(predictions))
    rows = math.ceil(len(predictions) / columns)
    fig = figure.Figure(
        figsize=(4.4 * columns + 1.7, 3.3 * rows + 0.4), layout="constrained"
    )
    panels = fig.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    names = [name for name in site.names if name in reference]
    for axis, (role, curves) in zip(panels.flat, predictions.items(), strict=False):
        for name in names:
            colour = colours.on_white(site.structure(name).colour)
            axis.plot(*reference[name], color=colour, lw=1.4)
            if name in curves:
                axis.plot(*curves[name], color=colour, lw=1.4, ls=(0, (3, 1.6)))
        axis.set_title(role, fontsize=10)
    for axis in panels.flat[len(predictions) :]:
        axis.set_visible(False)
    _format_axes(panels, reference)
    handles = [
        panel_grid.legend_line(
            name, color=colours.on_white(site.structure(name).colour), lw=2.2
        )
        for name in names
    ]
    handles.append(panel_grid.legend_line("reference", color="black", lw=1.4))
    handles.append(
        panel_grid.legend_line("predicted", color="black", lw=1.4, ls=(0, (3, 1.6)))
    )
    fig.legend(handles=handles, loc="outside right upper", frameon=False,
                   fontsize=9)  # fmt: skip
    fig.suptitle(title, fontsize=11, x=0.02, ha="left")
    panel_grid.write_png(fig, path)


def _format_axes(panels: np.ndarray, reference: Mapping[str, Curve]) -> None:
    """Set limits, grid and labels: dose to just above the maximum, volume to 100 %."""
    maximum_gy = max(
        float(dose[volume > 0].max(initial=0)) for dose, volume in reference.values()
    )
    for axis in panels.flat:
        axis.set(xlim=(0, 5 * math.ceil((maximum_gy + 3) / 5)), ylim=(0, 101))
        axis.grid(True, lw=0.3, alpha=0.7)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in panels[-1]:
        axis.set_xlabel("dose (Gy)")
        axis.xaxis.set_tick_params(labelbottom=True)
    for axis in panels[:, 0]:
        axis.set_ylabel("volume (%)")
