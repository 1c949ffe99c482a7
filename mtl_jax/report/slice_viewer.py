"""Packs a patient's volumes for the slice viewer of a report.

Goes in: a Patient and what each role predicts. Comes out: a Viewer, a few hundred
kilobytes: CT and doses in 8 bits, contours a bit each, cut to where there is something
to see. Unpacked by report.js.
"""

import base64
import dataclasses
import gzip
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mtl_jax.core import records, sites
from mtl_jax.figures import slice_choice

# Hounsfield units of the 256 CT codes: fine steps for soft tissue, coarse elsewhere.
HU_CODES = np.concatenate(
    [np.arange(-1024, -184, 21), np.arange(-184, 304, 4), np.linspace(304, 3000, 94)]
)
MARGIN = 2  # voxels around what is shown
WIDEST = 192  # voxels across; larger planes are thinned out
MOST_SLICES = 160


@dataclasses.dataclass(frozen=True)
class Viewer:
    """A packed patient: what its arrays are, and their bytes in base64."""

    header: dict[str, Any]
    data: str


def pack(
    patient: records.Patient,
    predictions: Mapping[str, records.PredictedVolumes],
    *,
    site: sites.Site,
) -> Viewer:
    """Pack the reference and the predictions by role.

    Doses are stored in steps of 1/255 of the highest, rounded up to 0.05 Gy; planes
    wider than 192 voxels and stacks of more than 160 slices are thinned out.
    """
    window, steps = _window(patient, predictions)
    cut = _Cut(window, steps)
    doses = {"": patient.dose_gy} | {r: p.dose_gy for r, p in predictions.items()}
    doses = {role: cut(dose) for role, dose in doses.items() if dose is not None}
    highest = max([float(dose.max()) for dose in doses.values()], default=1.0)
    step_gy = max(1, math.ceil(highest / 255 / 0.05)) * 0.05
    hu = cut(patient.ct) - np.float32(site.ct_offset_hu)
    volumes = [_nearest_code(hu)]
    volumes += [np.rint(dose / step_gy).astype(np.uint8) for dose in doses.values()]
    masks: dict[str, dict[str, np.ndarray]] = {"": patient.structures}
    masks |= {role: p.contours for role, p in predictions.items()}
    contours = [
        (role, name, cut(mask)) for role, mine in masks.items()
        for name, mask in mine.items()
    ]  # fmt: skip
    volumes += _as_bits([mask for _, _, mask in contours], cut.shape)
    slices = range(window[0].start, window[0].stop, steps[0])
    header = {
        "id": patient.patient_id,
        "shape": list(cut.shape),
        "spacing": [s * n for s, n in zip(patient.grid.spacing_mm, steps, strict=True)],
        "first": window[0].start,
        "skip": steps[0],
        "slices": patient.grid.shape[0],
        "start": _first_shown(patient, site, slices),
        "step": round(step_gy, 4),
        "doses": list(doses),
        "contours": [[role, name] for role, name, _ in contours],
        "error": _error_by_slice(patient, predictions, slices),
    }
    packed = gzip.compress(b"".join(_differences(v) for v in volumes), 9, mtime=0)
    return Viewer(header, base64.b64encode(packed).decode())


@dataclasses.dataclass(frozen=True)
class _Cut:
    """Takes the part of a volume that is shown."""

    window: tuple[slice, slice, slice]
    steps: tuple[int, int, int]

    def __call__(self, volume: np.ndarray) -> np.ndarray:
        return volume[
            tuple(
                slice(w.start, w.stop, step)
                for w, step in zip(self.window, self.steps, strict=True)
            )
        ]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(
            len(range(w.start, w.stop, step))
            for w, step in zip(self.window, self.steps, strict=True)
        )


def _window(
    patient: records.Patient, predictions: Mapping[str, records.PredictedVolumes]
) -> tuple[tuple[slice, slice, slice], tuple[int, int, int]]:
    """The box around all there is to see, and every how-manieth voxel is kept."""
    seen = patient.ct > patient.ct.min()
    for mask in patient.structures.values():
        seen |= mask
    if patient.dose_gy is not None:
        seen |= patient.dose_gy > 0
    for prediction in predictions.values():
        for mask in prediction.contours.values():
            seen |= mask
    box = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        inside = np.flatnonzero(seen.any(others))
        if not inside.size:
            inside = np.arange(seen.shape[axis])
        low = max(int(inside[0]) - MARGIN, 0)
        box.append(slice(low, min(int(inside[-1]) + 1 + MARGIN, seen.shape[axis])))
    sizes = [part.stop - part.start for part in box]
    in_plane = math.ceil(max(sizes[1:]) / WIDEST)
    return tuple(box), (math.ceil(sizes[0] / MOST_SLICES), in_plane, in_plane)


def _nearest_code(hu: np.ndarray) -> np.ndarray:
    """Index of the nearest of HU_CODES, uint8."""
    edges = (HU_CODES[1:] + HU_CODES[:-1]) / 2
    return np.searchsorted(edges, hu).astype(np.uint8)


def _as_bits(masks: list[np.ndarray], shape: tuple[int, ...]) -> list[np.ndarray]:
    """Eight masks to a volume of uint8: bit i of volume v is mask 8 v + i."""
    volumes = []
    for first in range(0, len(masks), 8):
        bits = np.zeros(shape, np.uint8)
        for bit, mask in enumerate(masks[first : first + 8]):
            bits |= mask.astype(np.uint8) << bit
        volumes.append(bits)
    return volumes


def _differences(volume: np.ndarray) -> bytes:
    """What each voxel adds to the one before it in its row, modulo 256: packs well."""
    return np.diff(volume, axis=-1, prepend=np.uint8(0)).tobytes()


def _first_shown(patient: records.Patient, site: sites.Site, slices: range) -> int:
    """Position in `slices` of the slice that shows the structures best."""
    best = slice_choice.choose_slices(patient, site.contoured, 1)[0]
    return min(range(len(slices)), key=lambda i: abs(slices[i] - best))


def _error_by_slice(
    patient: records.Patient,
    predictions: Mapping[str, records.PredictedVolumes],
    slices: range,
) -> dict[str, list[float]]:
    """Mean absolute dose error in Gy of each shown slice, where dose is possible."""
    if patient.dose_gy is None:
        return {}
    where = patient.possible_dose_mask
    if where is None:
        where = np.ones(patient.dose_gy.shape, bool)
    voxels = np.maximum(where.sum((1, 2)), 1)
    errors = {}
    for role, prediction in predictions.items():
        if prediction.dose_gy is not None:
            size = np.abs(prediction.dose_gy - patient.dose_gy) * where
            mean = size.sum((1, 2), dtype=np.float64) / voxels
            errors[role] = [round(float(mean[z]), 2) for z in slices]
    return errors
