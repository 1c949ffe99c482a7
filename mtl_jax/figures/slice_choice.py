"""Which slices of a patient a picture shows, and which part of them.

In: a Patient. Out: slice numbers and boxes in millimetres; plain NumPy, no drawing.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from mtl_jax.core import body_region, geometry, records

MARGIN_MM, SMALLEST_MM = 8.0, 120.0


@dataclasses.dataclass(frozen=True)
class View:
    """A slice, and the part of it that is shown: millimetres from voxel [z, 0, 0]."""

    z: int
    left: float
    right: float
    top: float
    bottom: float


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
        areas = {"": (source - source.min()).sum((1, 2), dtype=np.float64)}
    if patient.dose_gy is not None and patient.dose_gy.any():
        # Slices that the beams miss show little, and OpenKBP's CT is cut there.
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
        # What is shown already adds little; then distance from it decides.
        if chosen:
            distance = np.abs(np.subtract.outer(np.arange(len(gain)), chosen)).min(1)
            gain += 1e-3 * distance * (shares.sum(0) > 0) + 1e-9 * distance
            gain[chosen] = -1
        chosen.append(int(np.argmax(gain)))
        best = np.maximum(best, shares[:, chosen[-1], None])
    return sorted(chosen, reverse=True)


def body_of(hu: np.ndarray) -> np.ndarray:
    """The largest connected piece of a slice [Y, X] that is not air, without holes."""
    return body_region.largest(hu[None], body_region.METRICS_HU)[0]


def choose_views(
    body: Mapping[int, np.ndarray], spacing_mm: geometry.Spacing
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
