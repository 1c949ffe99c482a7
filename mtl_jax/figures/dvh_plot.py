"""Dose-volume histograms: the reference solid, predictions dashed, a panel a role."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib import figure

from mtl_jax.core import errors, sites
from mtl_jax.figures import colours, sheet

# Dose in Gy, rising, and the percentage of the volume that gets at least that.
Curve = tuple[np.ndarray, np.ndarray]
ACROSS = 2


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
        path: where the PNG goes.
        reference: curves of the reference dose, by structure.
        predictions: curves of each predicted dose in the same (reference) structures,
            by role and structure.
        site: names and colours.
        title: which patient.
    """
    if not reference or not predictions:
        raise errors.RecordError(
            f"{title}: no histogram to draw: {len(reference)} structures, "
            f"{len(predictions)} predicted doses"
        )
    across = min(ACROSS, len(predictions))
    down = math.ceil(len(predictions) / across)
    drawing = figure.Figure(
        figsize=(4.4 * across + 1.7, 3.3 * down + 0.4), layout="constrained"
    )
    panels = drawing.subplots(down, across, squeeze=False, sharex=True, sharey=True)
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
    _frame(panels, reference)
    handles = [
        sheet.line(name, color=colours.on_white(site.structure(name).colour), lw=2.2)
        for name in names
    ]
    handles.append(sheet.line("reference", color="black", lw=1.4))
    handles.append(sheet.line("predicted", color="black", lw=1.4, ls=(0, (3, 1.6))))
    drawing.legend(handles=handles, loc="outside right upper", frameon=False,
                   fontsize=9)  # fmt: skip
    drawing.suptitle(title, fontsize=11, x=0.02, ha="left")
    sheet.write(drawing, path)


def _frame(panels: np.ndarray, reference: Mapping[str, Curve]) -> None:
    """Axes and grid: dose to just above the highest, volume to 100 %."""
    highest = max(
        float(dose[volume > 0].max(initial=0)) for dose, volume in reference.values()
    )
    for axis in panels.flat:
        axis.set(xlim=(0, 5 * math.ceil((highest + 3) / 5)), ylim=(0, 101))
        axis.grid(True, lw=0.3, alpha=0.7)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in panels[-1]:
        axis.set_xlabel("dose (Gy)")
        axis.xaxis.set_tick_params(labelbottom=True)
    for axis in panels[:, 0]:
        axis.set_ylabel("volume (%)")
