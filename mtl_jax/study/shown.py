"""What a picture shows of one role's prediction: plain arrays, ready to draw."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Shown:
    """A prediction as it was scored, on the patient's grid."""

    dose_gy: np.ndarray | None = None  # [Z, Y, X] float32
    contours: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)  # bool
