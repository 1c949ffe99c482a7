"""Dose-volume histogram metrics of the dose values inside a structure, in Gy.

Dialect `openkbp`: percentiles of the voxel values with linear interpolation, as the
OpenKBP challenge computes them (Babier et al., Med. Phys. 48, 5549, 2021).
"""

import numpy as np


def d_mean(values_gy: np.ndarray) -> float:
    """Mean dose of voxel values [V]."""
    return float(np.mean(values_gy, dtype=np.float64))


def d_percent(values_gy: np.ndarray, percent: float) -> float:
    """D_x: the dose that the hottest `percent` of the volume get at least."""
    return float(np.percentile(values_gy, 100 - percent))


def d_cc(values_gy: np.ndarray, volume_cc: float, voxel_mm3: float) -> float:
    """Dose to the hottest `volume_cc` cubic centimetres, as a percentile.

    The volume is rounded to whole voxels, at least one. In a structure smaller than
    that (where the challenge's own code fails) it is the minimum dose.
    """
    voxels = max(1.0, np.round(volume_cc * 1000 / voxel_mm3))
    percentile = 100 - voxels / len(values_gy) * 100
    return float(np.percentile(values_gy, max(percentile, 0.0)))
