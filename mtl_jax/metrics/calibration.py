"""Calibration of contour probabilities: is a voxel inside as often as predicted?

Input: probabilities and the reference's masks, patient by patient. Output: a
Reliability for each structure, whose points a reliability diagram shows.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

BINS = 10
# Nearly all voxels are far from a structure: below this nothing is at stake.
LEAST = 0.01


@dataclasses.dataclass
class Reliability:
    """Sums over voxels with a probability of at least LEAST, in bins of equal width."""

    voxels: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(BINS))
    inside: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(BINS))
    predicted: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(BINS))

    def add(self, probabilities: np.ndarray, reference: np.ndarray) -> None:
        """Add a patient's probabilities [Z, Y, X] and mask [Z, Y, X] bool."""
        chosen = probabilities >= LEAST
        values = probabilities[chosen].astype(np.float64)
        bins = np.minimum((values * BINS).astype(int), BINS - 1)
        self.voxels += np.bincount(bins, minlength=BINS)
        self.inside += np.bincount(bins, reference[chosen], minlength=BINS)
        self.predicted += np.bincount(bins, values, minlength=BINS)

    @property
    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean probability and share of voxels inside [B], of the bins with voxels."""
        filled = self.voxels > 0
        voxels = self.voxels[filled]
        return self.predicted[filled] / voxels, self.inside[filled] / voxels

    @property
    def error(self) -> float:
        """Expected calibration error: mean |inside - probability| of bins, by voxels.

        NaN without voxels. Guo et al., ICML 2017.

        >>> found = Reliability()
        >>> found.add(np.array([0.9, 0.9, 0.3]), np.array([True, False, False]))
        >>> round(found.error, 3)  # 2/3 of |1/2 - 0.9|, 1/3 of |0 - 0.3|
        0.367
        """
        if not self.voxels.sum():
            return float("nan")
        difference = np.abs(self.inside - self.predicted)
        return float(difference.sum() / self.voxels.sum())


def add(
    reliabilities: dict[str, Reliability],
    probabilities: Mapping[str, np.ndarray],
    structures: Mapping[str, np.ndarray],
) -> None:
    """Add a patient; structures that are not contoured there do not count."""
    for name, volume in probabilities.items():
        if name in structures:
            reliabilities.setdefault(name, Reliability()).add(volume, structures[name])
