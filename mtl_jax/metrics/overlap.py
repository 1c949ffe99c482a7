"""Agreement of two masks by their overlap."""

import numpy as np


def dice(predicted: np.ndarray, reference: np.ndarray) -> float:
    """Volumetric Dice, 2 |A and B| / (|A| + |B|); NaN when both are empty."""
    size = np.count_nonzero(predicted) + np.count_nonzero(reference)
    return 2 * np.count_nonzero(predicted & reference) / size if size else float("nan")
