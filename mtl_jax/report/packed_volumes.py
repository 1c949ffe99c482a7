"""A patient's volumes, packed for the slice viewer of a report.

Input: a Patient and each role's predictions. Output: PackedVolumes, a few hundred
kilobytes: CT and doses with 8 bits a voxel, contours with one, cropped to the patient.
`volume.js` unpacks them.
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
MARGIN = 2  # voxels around the patient
# Larger volumes are subsampled.
MOST_VOXELS_ACROSS, MOST_SLICES = 192, 160


@dataclasses.dataclass(frozen=True)
class PackedVolumes:
    """`header` describes the volumes; `data` is their gzipped bytes in base64."""

    header: dict[str, Any]
    data: str


def pack(
    patient: records.Patient,
    predictions: Mapping[str, records.PredictedVolumes],
    *,
    site: sites.Site,
) -> PackedVolumes:
    """Pack the reference and the predictions by role.

    Doses are stored in steps of 1/255 of the maximum, rounded up to 0.05 Gy. Planes
    wider than 192 voxels and stacks of more than 160 slices are subsampled.
    """
    box, steps = _crop_box(patient, predictions)
    crop = _Crop(box, steps)
    doses = {"": patient.dose_gy} | {r: p.dose_gy for r, p in predictions.items()}
    doses = {role: crop(dose) for role, dose in doses.items() if dose is not None}
    maximum_gy = max([float(dose.max()) for dose in doses.values()], default=1.0)
    step_gy = max(1, math.ceil(maximum_gy / 255 / 0.05)) * 0.05
    hu = crop(patient.ct) - np.float32(site.ct_offset_hu)
    volumes = [_nearest_code(hu)]
    volumes += [np.rint(dose / step_gy).astype(np.uint8) for dose in doses.values()]
    masks: dict[str, dict[str, np.ndarray]] = {"": patient.structures}
    masks |= {role: p.contours for role, p in predictions.items()}
    contours = [
        (role, name, crop(mask)) for role, by_structure in masks.items()
        for name, mask in by_structure.items()
    ]  # fmt: skip
    volumes += _as_bits([mask for _, _, mask in contours], crop.shape)
    slices = range(box[0].start, box[0].stop, steps[0])
    header = {
        "id": patient.patient_id,
        "shape": list(crop.shape),
        "spacing": [s * n for s, n in zip(patient.grid.spacing_mm, steps, strict=True)],
        "first": box[0].start,
        "skip": steps[0],
        "slices": patient.grid.shape[0],
        "start": _start_slice(patient, site, slices),
        "step": round(step_gy, 4),
        "doses": list(doses),
        "contours": [[role, name] for role, name, _ in contours],
        "error": _error_by_slice(patient, predictions, slices),
    }
    packed = gzip.compress(b"".join(_differences(v) for v in volumes), 9, mtime=0)
    return PackedVolumes(header, base64.b64encode(packed).decode())


@dataclasses.dataclass(frozen=True)
class _Crop:
    """Crops a volume to `box` and keeps every `steps`-th voxel."""

    box: tuple[slice, slice, slice]
    steps: tuple[int, int, int]

    def __call__(self, volume: np.ndarray) -> np.ndarray:
        return volume[
            tuple(
                slice(side.start, side.stop, step)
                for side, step in zip(self.box, self.steps, strict=True)
            )
        ]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(
            len(range(side.start, side.stop, step))
            for side, step in zip(self.box, self.steps, strict=True)
        )


def _crop_box(
    patient: records.Patient, predictions: Mapping[str, records.PredictedVolumes]
) -> tuple[tuple[slice, slice, slice], tuple[int, int, int]]:
    """The box around the patient, and the steps of the subsampling."""
    visible = patient.ct > patient.ct.min()
    for mask in patient.structures.values():
        visible |= mask
    if patient.dose_gy is not None:
        visible |= patient.dose_gy > 0
    for prediction in predictions.values():
        for mask in prediction.contours.values():
            visible |= mask
    box = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        inside = np.flatnonzero(visible.any(others))
        if not inside.size:
            inside = np.arange(visible.shape[axis])
        low = max(int(inside[0]) - MARGIN, 0)
        box.append(slice(low, min(int(inside[-1]) + 1 + MARGIN, visible.shape[axis])))
    sizes = [part.stop - part.start for part in box]
    in_plane = math.ceil(max(sizes[1:]) / MOST_VOXELS_ACROSS)
    return tuple(box), (math.ceil(sizes[0] / MOST_SLICES), in_plane, in_plane)


def _nearest_code(hu: np.ndarray) -> np.ndarray:
    """Index of the nearest of HU_CODES, uint8."""
    edges = (HU_CODES[1:] + HU_CODES[:-1]) / 2
    return np.searchsorted(edges, hu).astype(np.uint8)


def _as_bits(masks: list[np.ndarray], shape: tuple[int, ...]) -> list[np.ndarray]:
    """Pack eight masks into a volume of uint8: bit i of volume v is mask 8 v + i."""
    volumes = []
    for first in range(0, len(masks), 8):
        bits = np.zeros(shape, np.uint8)
        for bit, mask in enumerate(masks[first : first + 8]):
            bits |= mask.astype(np.uint8) << bit
        volumes.append(bits)
    return volumes


def _differences(volume: np.ndarray) -> bytes:
    """Differences between neighbours in a row, modulo 256; these compress well."""
    return np.diff(volume, axis=-1, prepend=np.uint8(0)).tobytes()


def _start_slice(patient: records.Patient, site: sites.Site, slices: range) -> int:
    """Position in `slices` of the slice that shows the structures best."""
    best = slice_choice.choose_slices(patient, site.contoured, 1)[0]
    return min(range(len(slices)), key=lambda i: abs(slices[i] - best))


def _error_by_slice(
    patient: records.Patient,
    predictions: Mapping[str, records.PredictedVolumes],
    slices: range,
) -> dict[str, list[float]]:
    """Mean absolute dose error in Gy of each slice, inside the possible-dose mask."""
    if patient.dose_gy is None:
        return {}
    mask = patient.possible_dose_mask
    if mask is None:
        mask = np.ones(patient.dose_gy.shape, bool)
    voxels = np.maximum(mask.sum((1, 2)), 1)
    errors = {}
    for role, prediction in predictions.items():
        if prediction.dose_gy is not None:
            size = np.abs(prediction.dose_gy - patient.dose_gy) * mask
            mean = size.sum((1, 2), dtype=np.float64) / voxels
            errors[role] = [round(float(mean[z]), 2) for z in slices]
    return errors
