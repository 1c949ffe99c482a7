"""What a picture shows of one role's prediction: plain arrays, ready to draw."""

import dataclasses

import numpy as np

from mtl_jax.core import records
from mtl_jax.inference import volumes


@dataclasses.dataclass(frozen=True)
class Shown:
    """A prediction as it was scored, on the patient's grid."""

    dose_gy: np.ndarray | None = None  # [Z, Y, X] float32
    contours: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)  # bool

    @classmethod
    def of(
        cls,
        prediction: volumes.Prediction,
        patient: records.Patient,
        *,
        contour_threshold: float,
        apply_possible_dose_mask: bool,
    ) -> "Shown":
        """`prediction` with its contours drawn, and its dose where dose is possible."""
        contours, dose_gy = {}, prediction.dose_gy
        if prediction.contours is not None:
            drawn = prediction.contours >= contour_threshold
            contours = dict(zip(prediction.structures, drawn, strict=True))
        mask = patient.possible_dose_mask
        if dose_gy is not None and mask is not None and apply_possible_dose_mask:
            dose_gy = np.where(mask, dose_gy, np.float32(0))
        return cls(dose_gy, contours)
