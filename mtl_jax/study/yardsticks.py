"""Predictors that look at no image: what a number is worth without a network.

They are computed from the same training split as the network, and scored by the same
code.
"""

import dataclasses

import numpy as np
from tqdm import tqdm

from mtl_jax.core import errors
from mtl_jax.datasets import prepared


@dataclasses.dataclass(frozen=True)
class MeanDoseMap:
    """The voxel-wise mean of the training doses."""

    dose_gy: np.ndarray  # [Z, Y, X] float32
    patients: int

    @classmethod
    def fit(cls, split: prepared.Split) -> "MeanDoseMap":
        """Mean over the training patients whose possible-dose mask covers the voxel.

        Raises:
            GeometryError: the patients' grids have different shapes.
        """
        shape = split.patients[0].grid.shape
        total, count = np.zeros(shape), np.zeros(shape)
        used = 0
        for index, entry in enumerate(tqdm(split.patients, desc="mean dose map")):
            if not entry.has_dose:
                continue
            if entry.grid.shape != shape:
                raise errors.GeometryError(
                    f"patients have grids {shape} and {entry.grid.shape}: a mean dose "
                    "map needs the same shape for all"
                )
            patient = split.volume(index)
            assert patient.dose_gy is not None
            covers = patient.possible_dose_mask
            covers = np.ones(shape, bool) if covers is None else covers
            total[covers] += patient.dose_gy[covers]
            count += covers
            used += 1
        mean = (total / np.maximum(count, 1)).astype(np.float32)
        return cls(mean, used)


def contour_prior(split: prepared.Split, structures: tuple[str, ...]) -> np.ndarray:
    """How often each voxel is inside each structure, [N, Z, Y, X] float32.

    Of the training patients in whom the structure was contoured.
    """
    shape = split.patients[0].grid.shape
    total = np.zeros((len(structures), *shape), np.float32)
    count = np.zeros(len(structures))
    for index in tqdm(range(len(split.patients)), desc="contour prior"):
        masks = split.volume(index).structures
        for channel, name in enumerate(structures):
            if name in masks:
                total[channel] += masks[name]
                count[channel] += 1
    return total / np.maximum(count, 1)[:, None, None, None]
