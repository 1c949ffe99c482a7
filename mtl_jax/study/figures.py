"""Pictures of a run: a patient's prediction beside its reference, and training curves.

In: volumes on the CT's own grid, and rows of `metrics.jsonl`. Out: PNG files. The only
module that uses matplotlib, and never its global state.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import axes, cm, figure, lines, patheffects

from mtl_jax.core import errors, records, sites
from mtl_jax.study import views

# Soft tissue, as a planning workstation shows head and neck.
WINDOW_HU = (-160.0, 240.0)
DOSE_MAP, ERROR_MAP = "turbo", "berlin"
# Doses fade in from this part of the prescription on, and let the CT shine through.
FAINT_DOSE, DOSE_ALPHA = 0.05, 0.62

TASK_COLOURS = ("#0072b2", "#d55e00", "#009e73")
BACKGROUND, INK, FAINT_INK = "#101214", "#e8e8e8", "#9aa0a6"
# Inches: a panel's width, between panels, and above and below all panels.
PANEL, GAP, TITLE, COLUMN_TITLE, BAR, LEGEND = 3.0, 0.05, 0.4, 0.3, 0.62, 0.3


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
            f"patient {patient.patient_id}: nothing to draw: neither contours, nor a "
            "dose with a reference to compare it with"
        )
    names = tuple(contours) if contours is not None else site.contoured
    drawing = PatientDrawing(patient, site, views.choose_slices(patient, names, rows))
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
        self.body = {z: views.body_of(self.hu[z]) for z in slices}
        self.views = views.choose_views(self.body, patient.grid.spacing_mm)
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


def training_curves_figure(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Draw the losses of each task, and their weights where there is more than one.

    Args:
        path: where the PNG goes.
        rows: lines of `metrics.jsonl`.
    """
    tasks = sorted(
        {key.removeprefix("weight/") for row in rows for key in row if "weight/" in key}
    )
    if not tasks:
        raise errors.RecordError(
            "no training curves to draw: no row of metrics.jsonl has a 'weight/TASK'; "
            "train for at least one log interval"
        )
    panels = 2 if len(tasks) > 1 else 1
    drawing = figure.Figure(figsize=(4.6 * panels, 3.2), layout="constrained")
    losses, *weights = drawing.subplots(1, panels, squeeze=False)[0]
    for task, colour in zip(tasks, TASK_COLOURS, strict=False):
        losses.plot(*_curve(rows, f"loss/{task}"), color=colour, lw=1.2, label=task)
        losses.plot(
            *_curve(rows, f"validation/loss/{task}"), color=colour, lw=1.2, ls="--",
            marker="o", ms=3.5, label=f"{task}, validation",
        )  # fmt: skip
        for axis in weights:
            steps, values = _curve(rows, f"weight/{task}")
            axis.plot(steps, values, color=colour, lw=1.2, label=task)
    losses.set(yscale="log", title="Loss")
    for axis in weights:
        axis.set(title="Weight of the task")
    for axis in (losses, *weights):
        axis.set_xlabel("step")
        axis.grid(True, which="both", lw=0.3, alpha=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, fontsize=8)
    _save(drawing, path)


def _curve(
    rows: Sequence[Mapping[str, float]], key: str
) -> tuple[list[float], list[float]]:
    """Steps and values of the rows that have `key`."""
    having = [row for row in rows if key in row]
    return [row["step"] for row in having], [row[key] for row in having]


def _save(drawing: figure.Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path, dpi=120, facecolor=drawing.get_facecolor())
