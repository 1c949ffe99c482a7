"""The OpenKBP challenge's two scores, as its own evaluation computes them.

Babier et al., Med. Phys. 48, 5549 (2021). The structures are always the reference's,
for both doses; a patient counts only the structures that were contoured.
"""

from collections.abc import Iterable

import numpy as np

from mtl_jax.core import records, sites
from mtl_jax.metrics import dvh


def dose_error(
    reference_gy: np.ndarray, predicted_gy: np.ndarray, possible_dose_mask: np.ndarray
) -> float:
    """Absolute error over all voxels, per voxel of the possible-dose mask, in Gy.

    Dose outside the mask counts: whoever predicts it is punished for it.
    """
    difference = np.abs(reference_gy.astype(np.float64) - predicted_gy)
    return float(difference.sum() / possible_dose_mask.sum())


def dvh_metrics(
    dose_gy: np.ndarray, patient: records.Patient, site: sites.Site
) -> dict[tuple[str, str], float]:
    """The challenge's DVH metrics in Gy, by (structure, metric).

    OARs: D_0.1cc and D_mean; targets: D_99, D_95 and D_1.
    """
    metrics: dict[tuple[str, str], float] = {}
    for name, mask in patient.structures.items():
        values = dose_gy[mask]
        if not values.size:
            continue
        if site.structure(name).target_gy is None:
            metrics[name, "D_0.1cc"] = dvh.d_cc(values, 0.1, patient.grid.voxel_mm3)
            metrics[name, "D_mean"] = dvh.d_mean(values)
        else:
            metrics |= {
                (name, f"D_{percent}"): dvh.d_percent(values, percent)
                for percent in (99, 95, 1)
            }
    return metrics


def dose_score(errors_gy: Iterable[float]) -> float:
    """Mean of the patients' dose errors, in Gy."""
    return float(np.mean(list(errors_gy)))


def dvh_score(differences_gy: Iterable[float]) -> float:
    """Mean absolute difference over all cells (patient, structure, metric), in Gy."""
    return float(np.mean(np.abs(list(differences_gy))))
