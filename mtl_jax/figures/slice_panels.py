"""Draws a slice of a patient in a panel: CT, dose, error, outlines, labels.

In radiological convention: the patient's right on the left, the front above.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import axes, colors, patheffects

from mtl_jax.core import records, sites
from mtl_jax.figures import colours, slice_choice

# Soft tissue, as a planning workstation shows head and neck.
WINDOW_HU = (-160.0, 240.0)
# Doses fade in from this part of the prescription on, and let the CT shine through.
FAINT_DOSE, DOSE_ALPHA = 0.05, 0.62
DASHED = (0, (2.5, 1.2))


@dataclasses.dataclass(frozen=True)
class Slice:
    """A slice of a patient, and the part of it that is shown."""

    patient: records.Patient
    site: sites.Site
    view: slice_choice.View
    hu: np.ndarray  # [Y, X]
    body: np.ndarray  # [Y, X] bool

    @property
    def z(self) -> int:
        return self.view.z

    @property
    def proportion(self) -> float:
        """Height / width of the part that is shown."""
        view = self.view
        return (view.bottom - view.top) / (view.right - view.left)

    def colour(self, name: str) -> tuple[float, ...]:
        """The site's colour of a structure."""
        return tuple(channel / 255 for channel in self.site.structure(name).colour)

    def targets(self) -> list[np.ndarray]:
        """The masks [Y, X] of the targets that were contoured."""
        return [
            self.patient.structures[structure.name][self.z]
            for structure in self.site.structures
            if structure.target_gy is not None
            and structure.name in self.patient.structures
        ]


def cut(patient: records.Patient, site: sites.Site, at: Sequence[int]) -> list[Slice]:
    """The slices `at` of a patient, all in the same proportions."""
    hu = {z: patient.ct[z] - np.float32(site.ct_offset_hu) for z in at}
    body = {z: slice_choice.body_of(hu[z]) for z in at}
    return [
        Slice(patient, site, view, hu[view.z], body[view.z])
        for view in slice_choice.choose_views(body, patient.grid.spacing_mm)
    ]


def in_same_proportions(slices: Sequence[Slice]) -> list[Slice]:
    """Slices of several patients; what is shown grows where it has to."""
    ratio = float(np.mean([one.proportion for one in slices]))
    grown = []
    for one in slices:
        view = one.view
        width, height = view.right - view.left, view.bottom - view.top
        across = max(width, height / ratio)
        x = (across - width) / 2
        y = (across * ratio - height) / 2
        view = dataclasses.replace(
            view, left=view.left - x, right=view.right + x,
            top=view.top - y, bottom=view.bottom + y,
        )  # fmt: skip
        grown.append(dataclasses.replace(one, view=view))
    return grown


def image(axis: axes.Axes, one: Slice, values: np.ndarray, **style: Any) -> Any:
    """`values` [Y, X] on top of the panel."""
    view, (_, dy, dx) = one.view, one.patient.grid.spacing_mm
    ny, nx = values.shape
    axis.set(xlim=(view.left, view.right), ylim=(view.bottom, view.top))
    extent = (-dx / 2, (nx - 0.5) * dx, (ny - 0.5) * dy, -dy / 2)
    return axis.imshow(values, extent=extent, aspect="auto", **style)


def ct(axis: axes.Axes, one: Slice) -> None:
    """The CT in a soft-tissue window."""
    low, high = WINDOW_HU
    style = dict(interpolation="bicubic", cmap="gray", vmin=low, vmax=high)
    image(axis, one, one.hu, **style)


def dose(axis: axes.Axes, one: Slice, dose_gy: np.ndarray, norm: Any) -> None:
    """A dose [Y, X] over the CT, and the targets."""
    ct(axis, one)
    faint = FAINT_DOSE * one.site.prescription_gy
    alpha = np.clip(dose_gy / faint - 0.5, 0, 1).astype(np.float32) * DOSE_ALPHA
    style = dict(cmap=colours.DOSE_MAP, norm=norm, interpolation="bilinear")
    image(axis, one, dose_gy, alpha=alpha, **style)
    for target in one.targets():
        outline(axis, one, target, "white", width=0.8)


def error(axis: axes.Axes, one: Slice, error_gy: np.ndarray, norm: Any) -> None:
    """Predicted - reference [Y, X], the body's edge and the targets."""
    alpha = np.clip(np.abs(error_gy) / (0.08 * norm.vmax), 0, 1)
    style = dict(cmap=colours.ERROR_MAP, norm=norm, interpolation="bilinear")
    image(axis, one, error_gy, alpha=alpha, **style)
    outline(axis, one, one.body, colours.FAINT_INK, width=0.7)
    for target in one.targets():
        outline(axis, one, target, "white", width=0.8)


def contours(
    axis: axes.Axes, one: Slice, masks: Mapping[str, np.ndarray], **style: Any
) -> None:
    """Outlines of `masks` [Z, Y, X] in their colours."""
    for name, mask in masks.items():
        outline(axis, one, mask[one.z], one.colour(name), **style)


def outline(
    axis: axes.Axes,
    one: Slice,
    mask: np.ndarray,
    colour: Any,
    *,
    width: float = 1.3,
    style: Any = "solid",
) -> None:
    """The edge of `mask` [Y, X] bool on top of the panel."""
    _, dy, dx = one.patient.grid.spacing_mm
    if mask.any():
        # An edge of the grid is an edge of the mask.
        padded = np.pad(mask, 1).astype(np.float32)
        y = np.arange(-1, mask.shape[0] + 1) * dy
        x = np.arange(-1, mask.shape[1] + 1) * dx
        axis.contour(
            x, y, padded, [0.5], colors=[colour], linewidths=width, linestyles=[style]
        )


def label(axis: axes.Axes, *texts: tuple[float, float, str], size: float = 8) -> None:
    """Words in the panel, at (x, y) from 0 to 1, with a dark halo."""
    halo = [patheffects.withStroke(linewidth=2, foreground="black")]
    for x, y, text in texts:
        axis.text(
            x, y, text, color=colours.INK, fontsize=size, path_effects=halo, zorder=5,
            ha="right" if x > 0.6 else "left", va="top" if y > 0.6 else "bottom",
            transform=axis.transAxes,
        )  # fmt: skip


def orient(axis: axes.Axes, one: Slice, text: str) -> None:
    """`text`, how long 5 cm are, and which side is the patient's right."""
    label(axis, (0.02, 0.02, text), (0.02, 0.97, "R"), (0.98, 0.97, "L"))
    length = 50 / (one.view.right - one.view.left)
    axis.plot((0.98 - length, 0.98), (0.025, 0.025), color=colours.INK, lw=1.5,
              transform=axis.transAxes)  # fmt: skip
    label(axis, (0.98, 0.035, "5 cm"))


def dose_norm(doses_gy: Sequence[np.ndarray]) -> colors.Normalize:
    """From 0 to the next 5 Gy above the highest dose."""
    highest = max(float(dose_gy.max()) for dose_gy in doses_gy)
    return colors.Normalize(0, max(5, 5 * math.ceil(highest / 5)))


def error_norm(errors_gy: Sequence[np.ndarray]) -> colors.Normalize:
    """Symmetric, to the 99th percentile of what is not zero, in whole Gy."""
    sizes = np.abs(np.concatenate([error_gy.ravel() for error_gy in errors_gy]))
    limit = math.ceil(np.percentile(sizes[sizes > 0], 99)) if sizes.any() else 1
    return colors.Normalize(-limit, limit)
