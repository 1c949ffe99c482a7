"""Draws a slice of a patient in a panel: CT, dose, error, outlines and labels.

Input: a Patient, and matplotlib axes to draw on. The view follows the radiological
convention: the patient's right is on the left, anterior is at the top.
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
# Doses fade in from this fraction of the prescription; the CT stays visible below them.
FAINT_DOSE, DOSE_ALPHA = 0.05, 0.62
DASHED = (0, (2.5, 1.2))


@dataclasses.dataclass(frozen=True)
class Slice:
    """A slice of a patient and its visible part."""

    patient: records.Patient
    site: sites.Site
    view: slice_choice.View
    hu: np.ndarray  # [Y, X]
    body: np.ndarray  # [Y, X] bool

    @property
    def z(self) -> int:
        """The slice's number."""
        return self.view.z

    @property
    def proportion(self) -> float:
        """Height / width of the visible part."""
        view = self.view
        return (view.bottom - view.top) / (view.right - view.left)

    def colour(self, name: str) -> tuple[float, ...]:
        """The site's colour of a structure, 0 to 1."""
        return tuple(channel / 255 for channel in self.site.structure(name).colour)

    def targets(self) -> list[np.ndarray]:
        """The masks [Y, X] of the contoured targets."""
        return [
            self.patient.structures[structure.name][self.z]
            for structure in self.site.structures
            if structure.target_gy is not None
            and structure.name in self.patient.structures
        ]


def cut_slices(
    patient: records.Patient, site: sites.Site, numbers: Sequence[int]
) -> list[Slice]:
    """The slices `numbers` of a patient, all with one aspect ratio."""
    hu = {z: patient.ct[z] - np.float32(site.ct_offset_hu) for z in numbers}
    body = {z: slice_choice.body_of(hu[z]) for z in numbers}
    return [
        Slice(patient, site, view, hu[view.z], body[view.z])
        for view in slice_choice.choose_views(body, patient.grid.spacing_mm)
    ]


def match_proportions(slices: Sequence[Slice]) -> list[Slice]:
    """Give slices of several patients one aspect ratio by enlarging their views."""
    ratio = float(np.mean([ct_slice.proportion for ct_slice in slices]))
    enlarged = []
    for ct_slice in slices:
        view = ct_slice.view
        width, height = view.right - view.left, view.bottom - view.top
        new_width = max(width, height / ratio)
        x = (new_width - width) / 2
        y = (new_width * ratio - height) / 2
        view = dataclasses.replace(
            view, left=view.left - x, right=view.right + x,
            top=view.top - y, bottom=view.bottom + y,
        )  # fmt: skip
        enlarged.append(dataclasses.replace(ct_slice, view=view))
    return enlarged


def draw_image(
    axis: axes.Axes, ct_slice: Slice, values: np.ndarray, **style: Any
) -> Any:
    """Draw `values` [Y, X] over the panel's content."""
    view, (_, dy, dx) = ct_slice.view, ct_slice.patient.grid.spacing_mm
    ny, nx = values.shape
    axis.set(xlim=(view.left, view.right), ylim=(view.bottom, view.top))
    extent = (-dx / 2, (nx - 0.5) * dx, (ny - 0.5) * dy, -dy / 2)
    return axis.imshow(values, extent=extent, aspect="auto", **style)


def draw_ct(axis: axes.Axes, ct_slice: Slice) -> None:
    """Draw the CT in a soft-tissue window."""
    low, high = WINDOW_HU
    style = dict(interpolation="bicubic", cmap="gray", vmin=low, vmax=high)
    draw_image(axis, ct_slice, ct_slice.hu, **style)


def draw_dose(axis: axes.Axes, ct_slice: Slice, dose_gy: np.ndarray, norm: Any) -> None:
    """Draw a dose [Y, X] over the CT, and the targets' outlines."""
    draw_ct(axis, ct_slice)
    faint = FAINT_DOSE * ct_slice.site.prescription_gy
    alpha = np.clip(dose_gy / faint - 0.5, 0, 1).astype(np.float32) * DOSE_ALPHA
    style = dict(cmap=colours.DOSE_MAP, norm=norm, interpolation="bilinear")
    draw_image(axis, ct_slice, dose_gy, alpha=alpha, **style)
    for target in ct_slice.targets():
        draw_outline(axis, ct_slice, target, "white", width=0.8)


def draw_error(
    axis: axes.Axes, ct_slice: Slice, error_gy: np.ndarray, norm: Any
) -> None:
    """Draw predicted - reference [Y, X], and the outlines of body and targets."""
    alpha = np.clip(np.abs(error_gy) / (0.08 * norm.vmax), 0, 1)
    style = dict(cmap=colours.ERROR_MAP, norm=norm, interpolation="bilinear")
    draw_image(axis, ct_slice, error_gy, alpha=alpha, **style)
    draw_outline(axis, ct_slice, ct_slice.body, colours.FAINT_INK, width=0.7)
    for target in ct_slice.targets():
        draw_outline(axis, ct_slice, target, "white", width=0.8)


def draw_contours(
    axis: axes.Axes, ct_slice: Slice, masks: Mapping[str, np.ndarray], **style: Any
) -> None:
    """Draw the outlines of `masks` [Z, Y, X] in the structures' colours."""
    for name, mask in masks.items():
        draw_outline(axis, ct_slice, mask[ct_slice.z], ct_slice.colour(name), **style)


def draw_outline(
    axis: axes.Axes,
    ct_slice: Slice,
    mask: np.ndarray,
    colour: Any,
    *,
    width: float = 1.3,
    style: Any = "solid",
) -> None:
    """Draw the outline of `mask` [Y, X] bool."""
    _, dy, dx = ct_slice.patient.grid.spacing_mm
    if mask.any():
        # Padding closes the outline of a mask that reaches the grid's edge.
        padded = np.pad(mask, 1).astype(np.float32)
        y = np.arange(-1, mask.shape[0] + 1) * dy
        x = np.arange(-1, mask.shape[1] + 1) * dx
        axis.contour(
            x, y, padded, [0.5], colors=[colour], linewidths=width, linestyles=[style]
        )


def add_label(
    axis: axes.Axes, *texts: tuple[float, float, str], size: float = 8
) -> None:
    """Add texts at (x, y), from 0 to 1 of the panel, with a dark halo."""
    halo = [patheffects.withStroke(linewidth=2, foreground="black")]
    for x, y, text in texts:
        axis.text(
            x, y, text, color=colours.INK, fontsize=size, path_effects=halo, zorder=5,
            ha="right" if x > 0.6 else "left", va="top" if y > 0.6 else "bottom",
            transform=axis.transAxes,
        )  # fmt: skip


def add_orientation(axis: axes.Axes, ct_slice: Slice, text: str) -> None:
    """Add `text`, a 5 cm scale bar, and the letters R and L."""
    add_label(axis, (0.02, 0.02, text), (0.02, 0.97, "R"), (0.98, 0.97, "L"))
    length = 50 / (ct_slice.view.right - ct_slice.view.left)
    axis.plot((0.98 - length, 0.98), (0.025, 0.025), color=colours.INK, lw=1.5,
              transform=axis.transAxes)  # fmt: skip
    add_label(axis, (0.98, 0.035, "5 cm"))


def dose_norm(doses_gy: Sequence[np.ndarray]) -> colors.Normalize:
    """A scale from 0 to the maximum dose, rounded up to 5 Gy."""
    maximum_gy = max(float(dose_gy.max()) for dose_gy in doses_gy)
    return colors.Normalize(0, max(5, 5 * math.ceil(maximum_gy / 5)))


def error_norm(errors_gy: Sequence[np.ndarray]) -> colors.Normalize:
    """A symmetric scale to the 99th percentile of the non-zero errors, in whole Gy."""
    sizes = np.abs(np.concatenate([error_gy.ravel() for error_gy in errors_gy]))
    limit = math.ceil(np.percentile(sizes[sizes > 0], 99)) if sizes.any() else 1
    return colors.Normalize(-limit, limit)
