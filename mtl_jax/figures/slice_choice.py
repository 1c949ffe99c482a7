"""Chooses which slices of a patient a figure shows, and which part of each.

Input: a Patient. Output: slice numbers, and views in millimetres. Draws nothing.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from mtl_jax.core import body_region, geometry, records

MARGIN_MM, SMALLEST_MM = 8.0, 120.0
# Slices nearer than this to one with a large error show the same error.
APART = 8


@dataclasses.dataclass(frozen=True)
class View:
    """A slice and its visible part, in millimetres from voxel [z, 0, 0]."""

    z: int
    left: float
    right: float
    top: float
    bottom: float


def choose_slices(
    patient: records.Patient, names: Sequence[str], count: int
) -> list[int]:
    """Up to `count` slices, from head to feet, that together show the structures best.

    Slices are added one by one; each is the one that adds most to those before it. A
    slice shows a structure by its area relative to the structure's largest area.
    Structures that are not among `names` count half. Without structures, the dose or
    the CT decides.
    """
    areas = {name: mask.sum((1, 2)) for name, mask in patient.structures.items()}
    if not any(area.any() for area in areas.values()):
        source = patient.ct if patient.dose_gy is None else patient.dose_gy
        areas = {"": (source - source.min()).sum((1, 2), dtype=np.float64)}
    if patient.dose_gy is not None and patient.dose_gy.any():
        # Slices outside the beams show little, and OpenKBP's CT is zero there.
        highest_gy = patient.dose_gy.max((1, 2))
        beam = np.clip(2 * highest_gy / highest_gy.max(), 0, 1)
        areas = {name: area * beam for name, area in areas.items()}
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
        # Between slices that add little, the distance to the chosen ones decides.
        if chosen:
            distance = np.abs(np.subtract.outer(np.arange(len(gain)), chosen)).min(1)
            gain += 1e-3 * distance * (shares.sum(0) > 0) + 1e-9 * distance
            gain[chosen] = -1
        chosen.append(int(np.argmax(gain)))
        best = np.maximum(best, shares[:, chosen[-1], None])
    return sorted(chosen, reverse=True)


def worst_slices(errors: np.ndarray, count: int) -> list[int]:
    """Up to `count` slices with the largest of `errors` [Z], from head to feet.

    Slices near one that is chosen already count less.
    """
    weights = np.asarray(errors, np.float64).copy()
    chosen: list[int] = []
    for _ in range(min(count, len(weights))):
        chosen.append(int(np.argmax(weights)))
        distance = np.abs(np.arange(len(weights)) - chosen[-1])
        weights *= np.clip(distance / APART, 0, 1)
        weights[chosen] = -1
    return sorted(chosen, reverse=True)


def body_of(hu: np.ndarray) -> np.ndarray:
    """The largest connected piece of a slice [Y, X] that is not air, without holes."""
    return body_region.largest(hu[None], body_region.METRICS_HU)[0]


def choose_views(
    body: Mapping[int, np.ndarray], spacing_mm: geometry.Spacing
) -> list[View]:
    """A view of each slice around its body mask [Y, X], all with one aspect ratio."""
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
    ratio = float(np.clip(np.mean(ratios), 0.6, 1.0))
    views = []
    for z, (x, y) in boxes.items():
        width = max(x[1] - x[0], (y[1] - y[0]) / ratio, SMALLEST_MM)
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
