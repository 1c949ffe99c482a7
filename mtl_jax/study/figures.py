"""Pictures of a run: a patient's prediction beside its reference, and training curves.

In: volumes on the CT's own grid, and rows of `metrics.jsonl`. Out: PNG files. The only
module that uses matplotlib, and never its global state.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import axes, cm, figure, lines, patheffects
from scipy import ndimage

from mtl_jax.core import errors, records, sites

# Soft tissue, as a planning workstation shows head and neck.
WINDOW_HU = (-160.0, 240.0)
BODY_HU = -400.0
MARGIN_MM = 8.0
DOSE_MAP, ERROR_MAP = "turbo", "berlin"
# Doses fade in from this part of the prescription on, and let the CT shine through.
FAINT_DOSE, DOSE_ALPHA = 0.05, 0.62

BACKGROUND, INK, FAINT_INK = "#101214", "#e8e8e8", "#9aa0a6"
# Inches: a panel's width, between panels, and above and below all panels.
PANEL, GAP, TITLE, COLUMN_TITLE, BAR, LEGEND = 3.0, 0.05, 0.4, 0.3, 0.62, 0.3


@dataclasses.dataclass(frozen=True)
class View:
    """A slice, and the part of it that is shown: millimetres from voxel [z, 0, 0]."""

    z: int
    left: float
    right: float
    top: float
    bottom: float


def prediction_figure(
    path: Path,
    patient: records.Patient,
    *,
    site: sites.Site,
    contours: Mapping[str, np.ndarray] | None,
    dose_gy: np.ndarray | None,
    dice: Mapping[str, float],
    mae_gy: float | None,
    title: str,
    rows: int,
) -> None:
    """Draw a patient's prediction beside its reference, in radiological convention.

    Args:
        path: where the PNG goes.
        patient: the reference.
        site: names and colours.
        contours: predicted masks [Z, Y, X] bool by structure; None: not predicted.
        dose_gy: predicted dose [Z, Y, X]; None: not predicted.
        dice: by structure, for the legend and, as a mean, for the title; may be empty.
        mae_gy: mean absolute error of the dose, for the title; None: left out.
        title: what the picture is of; the scores are put behind it.
        rows: how many slices.
    """
    with_dose = dose_gy is not None and patient.dose_gy is not None
    if contours is None and not with_dose:
        raise errors.RecordError(
            f"patient {patient.patient_id}: nothing to draw: neither contours, nor a dose "
            "with a reference to compare it with"
        )
    names = tuple(contours) if contours is not None else site.contoured
    drawing = PatientDrawing(patient, site, choose_slices(patient, names, rows))
    if not with_dose:
        drawing.column("CT")
    drawing.column("CT and contours")
    for name in names:
        if name in patient.structures:
            drawing.outline(patient.structures[name], drawing.colour(name))
        if contours is not None:
            drawing.outline(contours[name], drawing.colour(name), style=(0, (2.5, 1.2)))
    if dose_gy is not None and patient.dose_gy is not None:
        _dose_columns(drawing, patient.dose_gy, dose_gy)
    scores = [title]
    if known := [value for value in dice.values() if not math.isnan(value)]:
        scores.append(f"mean Dice {np.mean(known):.3f}")
    if mae_gy is not None:
        scores.append(f"dose MAE {mae_gy:.2f} Gy")
    handles = _legend(drawing, names, dice, contours is not None, with_dose)
    drawing.save(path, "     ".join(scores), handles)


class PatientDrawing:
    """Chosen slices of a patient, one a row; columns are added from left to right."""

    def __init__(
        self, patient: records.Patient, site: sites.Site, slices: Sequence[int]
    ) -> None:
        self.patient, self.site = patient, site
        self.hu = patient.ct - np.float32(site.ct_offset_hu)
        self.body = {z: body_of(self.hu[z]) for z in slices}
        self.views = choose_views(self.body, patient.grid.spacing_mm)
        self.figure = figure.Figure(facecolor=BACKGROUND)
        self.columns: list[list[axes.Axes]] = []
        self.bars: list[tuple[int, int, cm.ScalarMappable, str]] = []

    def colour(self, name: str) -> tuple[float, ...]:
        """The site's colour of a structure."""
        return tuple(channel / 255 for channel in self.site.structure(name).colour)

    def column(self, title: str, *, ct: bool = True) -> None:
        """Begin a column; what is drawn next is drawn there."""
        column = []
        for view in self.views:
            label = f"{title} {view.z}"
            axis = self.figure.add_axes((0, 0, 1, 1), label=label, facecolor="black")
            axis.set(xlim=(view.left, view.right), ylim=(view.bottom, view.top))
            axis.set(xticks=[], yticks=[], autoscale_on=False)
            axis.spines[:].set_visible(False)
            column.append(axis)
        column[0].set_title(title, color=INK, fontsize=11, pad=5)
        self.columns.append(column)
        if len(self.columns) == 1:
            self._label_slices()
        if ct:
            low, high = WINDOW_HU
            self.image(
                self.hu, interpolation="bicubic", cmap="gray", vmin=low, vmax=high
            )

    def image(
        self, volume: np.ndarray, *, alpha: np.ndarray | None = None, **style: Any
    ) -> cm.ScalarMappable:
        """`volume` [Z, Y, X] on top of the column."""
        _, dy, dx = self.patient.grid.spacing_mm
        _, ny, nx = volume.shape
        extent = (-dx / 2, (nx - 0.5) * dx, (ny - 0.5) * dy, -dy / 2)
        images = [
            axis.imshow(
                volume[view.z], extent=extent, aspect="auto",
                alpha=None if alpha is None else alpha[view.z], **style,
            )
            for axis, view in zip(self.columns[-1], self.views, strict=True)
        ]  # fmt: skip
        return images[0]

    def outline(
        self, mask: np.ndarray, colour: Any, *, width: float = 1.3, style: Any = "solid"
    ) -> None:
        """The edge of `mask` [Z, Y, X] bool on top of the column."""
        _, dy, dx = self.patient.grid.spacing_mm
        y, x = np.arange(mask.shape[1]) * dy, np.arange(mask.shape[2]) * dx
        for axis, view in zip(self.columns[-1], self.views, strict=True):
            if mask[view.z].any() and not mask[view.z].all():
                axis.contour(
                    x, y, mask[view.z].astype(np.float32), [0.5], colors=[colour],
                    linewidths=width, linestyles=[style],
                )  # fmt: skip

    def save(self, path: Path, title: str, handles: list[lines.Line2D]) -> None:
        """Put everything in its place, and write the PNG."""
        view, rows, columns = self.views[0], len(self.views), len(self.columns)
        height = PANEL * (view.bottom - view.top) / (view.right - view.left)
        wide = columns * (PANEL + GAP) + GAP
        across = min(len(handles), int(wide / 1.55))
        below = LEGEND * math.ceil(len(handles) / across) + (BAR if self.bars else 0.05)
        high = TITLE + COLUMN_TITLE + rows * (height + GAP) + below
        self.figure.set_size_inches(wide, high)
        for number, column in enumerate(self.columns):
            left = GAP + number * (PANEL + GAP)
            for row, axis in enumerate(column):
                low = high - TITLE - COLUMN_TITLE - height - row * (height + GAP)
                axis.set_position(
                    (left / wide, low / high, PANEL / wide, height / high)
                )
        for first, last, image, label in self.bars:
            span = (last - first + 1) * (PANEL + GAP) - GAP
            left = GAP + first * (PANEL + GAP) + 0.15 * span
            low = below - 0.17
            place = (left / wide, low / high, 0.7 * span / wide, 0.1 / high)
            bar = self.figure.colorbar(
                image, cax=self.figure.add_axes(place), orientation="horizontal"
            )
            bar.set_label(label, color=INK, fontsize=9, labelpad=2)
            bar.ax.tick_params(colors=INK, labelsize=8, length=2, pad=2)
            bar.ax.spines[:].set_visible(False)
        middle = 1 - TITLE / 2 / high
        self.figure.text(
            2 * GAP / wide, middle, title, color=INK, fontsize=13, va="center"
        )
        self.figure.legend(
            handles=handles, loc="lower left", ncols=across, frameon=False,
            labelcolor=INK, fontsize=9, handlelength=1.8, columnspacing=1.4,
            borderaxespad=0.2,
        )  # fmt: skip
        _save(self.figure, path)

    def _label_slices(self) -> None:
        """Which slice, how long 5 cm are, and which side is the patient's right."""
        halo = [patheffects.withStroke(linewidth=2, foreground="black")]
        style: dict[str, Any] = dict(color=INK, fontsize=8, path_effects=halo, zorder=5)
        for axis, view in zip(self.columns[0], self.views, strict=True):
            place = axis.transAxes
            axis.text(0.02, 0.03, f"slice {view.z}", transform=place, **style)
            axis.text(0.02, 0.97, "R", va="top", transform=place, **style)
            axis.text(0.98, 0.97, "L", va="top", ha="right", transform=place, **style)
            length = 50 / (view.right - view.left)
            axis.plot(
                (0.98 - length, 0.98),
                (0.025, 0.025),
                color=INK,
                lw=1.5,
                transform=place,
            )
            axis.text(
                0.98 - length / 2, 0.04, "5 cm", ha="center", transform=place, **style
            )


def _dose_columns(
    drawing: PatientDrawing, reference_gy: np.ndarray, predicted_gy: np.ndarray
) -> None:
    """Both doses over the CT on one scale, their difference, and the targets."""
    shown = [view.z for view in drawing.views]
    targets = [
        drawing.patient.structures[structure.name]
        for structure in drawing.site.structures
        if structure.target_gy is not None
        and structure.name in drawing.patient.structures
    ]
    faint = FAINT_DOSE * drawing.site.prescription_gy
    top = max(5, 5 * math.ceil(float(reference_gy[shown].max()) / 5))
    first = len(drawing.columns)
    for title, dose in (
        ("Reference dose", reference_gy),
        ("Predicted dose", predicted_gy),
    ):
        drawing.column(title)
        alpha = np.clip(dose / faint - 0.5, 0, 1).astype(np.float32) * DOSE_ALPHA
        image = drawing.image(
            dose, alpha=alpha, cmap=DOSE_MAP, vmin=0, vmax=top, interpolation="bilinear"
        )
        for target in targets:
            drawing.outline(target, "white", width=0.8)
    # The bar without the transparency of the image.
    drawing.bars.append(
        (first, first + 1, cm.ScalarMappable(image.norm, DOSE_MAP), "dose (Gy)")
    )
    error = predicted_gy - reference_gy
    sizes = np.abs(error[shown])
    limit = math.ceil(np.percentile(sizes[sizes > 0], 99)) if sizes.any() else 1
    drawing.column("Predicted - reference", ct=False)
    image = drawing.image(
        error, alpha=np.clip(np.abs(error) / (0.08 * limit), 0, 1), cmap=ERROR_MAP,
        vmin=-limit, vmax=limit, interpolation="bilinear",
    )  # fmt: skip
    drawing.bars.append(
        (first + 2, first + 2, cm.ScalarMappable(image.norm, ERROR_MAP), "error (Gy)")
    )
    body = np.zeros(error.shape, bool)
    for z, mask in drawing.body.items():
        body[z] = mask
    drawing.outline(body, FAINT_INK, width=0.7)
    for target in targets:
        drawing.outline(target, "white", width=0.8)


def _legend(
    drawing: PatientDrawing,
    names: Sequence[str],
    dice: Mapping[str, float],
    predicted: bool,
    targets: bool,
) -> list[lines.Line2D]:
    """Structures by colour, with their Dice; lines by style."""

    def line(label: str, **style: Any) -> lines.Line2D:
        return lines.Line2D([], [], label=label, **style)

    handles = []
    for name in names:
        label = f"{name} {dice[name]:.2f}" if name in dice else name
        if name not in drawing.patient.structures:
            label = f"{name} (not contoured)"
        handles.append(line(label, color=drawing.colour(name), lw=2))
    handles.append(line("reference", color=INK, lw=1.3))
    if predicted:
        handles.append(line("predicted", color=INK, lw=1.3, ls=(0, (2.5, 1.2))))
    if targets:
        handles.append(line("targets", color="white", lw=0.8))
    return handles


def choose_slices(
    patient: records.Patient, names: Sequence[str], count: int
) -> list[int]:
    """Up to `count` slices, from head to feet, that together show the structures best.

    One after the other, the slice is taken that adds most to what is already shown: of
    each structure the largest area, relative to its largest of all. Structures that are
    not among `names` count half.
    """
    areas = {name: mask.sum((1, 2)) for name, mask in patient.structures.items()}
    if not any(area.any() for area in areas.values()):
        source = patient.ct if patient.dose_gy is None else patient.dose_gy
        areas = {"": source.sum((1, 2), dtype=np.float64)}
    shares = np.stack(
        [
            area / max(area.max(), 1e-9) * (1.0 if name in names else 0.5)
            for name, area in areas.items()
        ]
    )
    chosen: list[int] = []
    best = np.zeros((len(shares), 1))
    for _ in range(min(count, shares.shape[1])):
        gain = np.maximum(shares - best, 0).sum(0)
        # What is shown already adds little; then distance from it decides.
        if chosen:
            distance = np.abs(np.subtract.outer(np.arange(len(gain)), chosen)).min(1)
            gain += 1e-3 * distance * (shares.sum(0) > 0) + 1e-9 * distance
            gain[chosen] = -1
        chosen.append(int(np.argmax(gain)))
        best = np.maximum(best, shares[:, chosen[-1] :][:, :1])
    return sorted(chosen, reverse=True)


def body_of(hu: np.ndarray) -> np.ndarray:
    """The largest connected piece of a slice [Y, X] that is not air, without holes."""
    pieces, count = ndimage.label(hu > BODY_HU)
    if not count:
        return np.zeros(hu.shape, bool)
    sizes = np.bincount(pieces.ravel())
    return ndimage.binary_fill_holes(pieces == 1 + np.argmax(sizes[1:]))


def choose_views(
    body: Mapping[int, np.ndarray], spacing_mm: tuple[float, float, float]
) -> list[View]:
    """A view of each slice that holds its body, all in the same proportions."""
    boxes = {}
    for z, mask in body.items():
        edges = []
        for axis, step in ((1, spacing_mm[2]), (0, spacing_mm[1])):
            inside = np.flatnonzero(mask.any(1 - axis))
            if not inside.size:
                inside = np.arange(mask.shape[axis])
            edges.append((inside[0] * step - MARGIN_MM, inside[-1] * step + MARGIN_MM))
        boxes[z] = edges
    ratios = [(y[1] - y[0]) / (x[1] - x[0]) for x, y in boxes.values()]
    ratio = float(np.clip(np.median(ratios), 0.6, 1.2))
    views = []
    for z, (x, y) in boxes.items():
        width = max(x[1] - x[0], (y[1] - y[0]) / ratio)
        middle_x, middle_y = sum(x) / 2, sum(y) / 2
        across, down = width / 2, width * ratio / 2
        views.append(
            View(
                z,
                middle_x - across,
                middle_x + across,
                middle_y - down,
                middle_y + down,
            )
        )
    return views


def _save(drawing: figure.Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path, dpi=120, facecolor=drawing.get_facecolor())
