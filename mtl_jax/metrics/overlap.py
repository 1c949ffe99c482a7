"""Agreement of two masks by their overlap."""

import numpy as np


def dice(predicted: np.ndarray, reference: np.ndarray) -> float:
    """Volumetric Dice; NaN when both are empty (nothing to agree on)."""
    size = np.count_nonzero(predicted) + np.count_nonzero(reference)
    return 2 * np.count_nonzero(predicted & reference) / size if size else float("nan")
