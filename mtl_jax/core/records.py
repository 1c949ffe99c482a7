"""The records that modules exchange, and their contracts: Patient, Example, Batch.

Sources, builders and batches call `check_*` once; other modules rely on it.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import NotRequired, TypedDict, cast

import numpy as np

from mtl_jax.core import errors, geometry, note_kinds

# Parts of a cohort: to train a network, to choose its checkpoint, and to test it.
SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Patient:
    """One patient on the CT's grid. Not contoured differs from empty."""

    patient_id: str
    grid: geometry.Grid
    ct: np.ndarray  # [Z, Y, X] float32, as stored by the source (core/sites: offset)
    structures: dict[str, np.ndarray]  # [Z, Y, X] bool; only what was contoured
    dose_gy: np.ndarray | None  # [Z, Y, X] float32; None: no plan
    possible_dose_mask: np.ndarray | None  # [Z, Y, X] bool; None: not known
    notes: tuple[note_kinds.Note, ...] = ()  # on how it was read


class Example(TypedDict):
    """One axial slice of a patient as a data set stores it (TFDS features)."""

    ct: np.ndarray  # [Y, X] int16, stored values
    dose_gy: np.ndarray  # [Y, X] float32; zeros where has_dose is False
    # [Y, X] uint16: bit i is the site's structure i; the bit after the last structure
    # is the possible-dose mask.
    masks: np.ndarray
    present: np.ndarray  # [S] bool: contoured in this patient
    has_dose: bool
    patient: str
    slice: int  # z, from the feet
    spacing_mm: np.ndarray  # [3] float64: z, y, x
    # [Y, X] uint16: the same bits, predicted by a network (not stored).
    predicted: NotRequired[np.ndarray]
    # [Y, X] int16, 0.1 mm: the signed distance to the targets' surface in 3D, outside
    # positive (not stored).
    target_distance: NotRequired[np.ndarray]
    # [K, Y, X] int16: the CT of other slices of the patient, as `ct` (not stored).
    neighbours: NotRequired[np.ndarray]


# The fields of an Example that hold a mask in each bit, and those that are images.
MASKS = ("masks", "predicted")
IMAGES = ("ct", "neighbours", "dose_gy", "target_distance", *MASKS)


class Batch(TypedDict):
    """A batch for a network; arrays of NumPy or JAX."""

    image: np.ndarray  # [B, H, W, C] float32: the CT first; see pipeline/image_channels
    contours: np.ndarray  # [B, H, W, N] uint8: the configured structures
    present: np.ndarray  # [B, N] float32: 1 where contoured
    dose: np.ndarray  # [B, H, W, 1] float32: dose / prescription
    # [B, H, W, 1] uint8: 1 where a dose is possible, and everywhere if not known
    possible_dose: np.ndarray
    has_dose: np.ndarray  # [B] float32: 1 where there is a plan
    mask: np.ndarray  # [B] float32: 0 for padding
    patient: np.ndarray  # [B] int32: index into the split's patients
    slice: np.ndarray  # [B] int32: z
    # [B, H, W, S] uint8: all structures of the site, for a DVH loss
    structures: NotRequired[np.ndarray]


def change_images(
    example: Example, change: Callable[[str, np.ndarray], np.ndarray]
) -> Example:
    """A copy of `example` with `change(field, image)` for each of its images [Y, X]."""
    fields = cast(dict[str, np.ndarray], example.copy())
    for field in [field for field in IMAGES if field in fields]:
        image = fields[field]
        if image.ndim == 3:
            fields[field] = np.stack([change(field, plane) for plane in image])
        else:
            fields[field] = change(field, image)
    return cast(Example, fields)


def is_id(name: str) -> bool:
    """Whether `name` can be a patient's id, which is also used for file names."""
    return re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name) is not None


def check_patient(patient: Patient, structure_names: tuple[str, ...]) -> Patient:
    """Return `patient` if it meets the contract; otherwise raise a RecordError."""

    def fail(reason: str) -> None:
        raise errors.RecordError(f"patient {patient.patient_id}: {reason}")

    def check_volume(name: str, volume: np.ndarray, dtype: type) -> None:
        if volume.shape != patient.grid.shape:
            fail(f"{name} has shape {volume.shape}, the grid {patient.grid.shape}")
        if volume.dtype != dtype:
            fail(f"{name} is {volume.dtype}, expected {np.dtype(dtype)}")

    if not is_id(patient.patient_id):
        fail("expected letters, digits, '_', '-' or '.' in an id, and no '.' first")
    check_volume("ct", patient.ct, np.float32)
    if not np.all(np.isfinite(patient.ct)):
        fail("the CT has NaN or infinite values")
    for name, mask in patient.structures.items():
        if name not in structure_names:
            hint = errors.nearest(name, structure_names)
            fail(f"this site has no structure {name!r}{hint}")
        check_volume(name, mask, np.bool_)
    if patient.dose_gy is not None:
        check_volume("dose_gy", patient.dose_gy, np.float32)
        if not np.all(np.isfinite(patient.dose_gy)) or patient.dose_gy.min() < 0:
            fail("the dose has NaN, infinite or negative values")
    if patient.possible_dose_mask is not None:
        check_volume("possible_dose_mask", patient.possible_dose_mask, np.bool_)
    return patient


def check_batch(batch: Batch) -> Batch:
    """Return `batch` if shapes and types meet the contract, else raise RecordError."""
    size, height, width, _ = batch["image"].shape
    structures = batch["contours"].shape[-1]
    expected = {
        "image": (batch["image"].shape, np.float32),
        "contours": ((size, height, width, structures), np.uint8),
        "present": ((size, structures), np.float32),
        "dose": ((size, height, width, 1), np.float32),
        "possible_dose": ((size, height, width, 1), np.uint8),
        "has_dose": ((size,), np.float32),
        "mask": ((size,), np.float32),
        "patient": ((size,), np.int32),
        "slice": ((size,), np.int32),
    }
    if "structures" in batch:
        site = batch["structures"].shape[-1]
        expected["structures"] = ((size, height, width, site), np.uint8)
    for name, (shape, dtype) in expected.items():
        if batch[name].shape != shape or batch[name].dtype != dtype:
            raise errors.RecordError(
                f"batch[{name!r}] is {batch[name].dtype} {batch[name].shape}, "
                f"expected {np.dtype(dtype)} {shape}"
            )
    return batch


@dataclasses.dataclass(frozen=True)
class PredictedVolumes:
    """A prediction as it was scored, on the patient's grid."""

    dose_gy: np.ndarray | None = None  # [Z, Y, X] float32
    contours: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)  # bool
