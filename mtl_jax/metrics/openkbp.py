"""The OpenKBP challenge's two scores, as its own evaluation computes them.

Input: doses in Gy, or errors of reported metrics. Output: scores in Gy; lower is
better.

Babier et al., Med. Phys. 48, 5549 (2021). Both doses are read inside the reference's
structures; only structures that were contoured in a patient count.
"""

from collections.abc import Iterable
from typing import Protocol

import numpy as np

from mtl_jax.core import records, sites
from mtl_jax.metrics import dvh


class Cell(Protocol):
    """An error of a metric of a structure, such as core/reported_metrics.Value."""

    @property
    def structure(self) -> str: ...

    @property
    def metric(self) -> str: ...

    @property
    def error(self) -> float: ...


def dose_error(
    reference_gy: np.ndarray, predicted_gy: np.ndarray, possible_dose_mask: np.ndarray
) -> float:
    """Absolute error over all voxels, per voxel of the possible-dose mask, in Gy.

    Doses are [Z, Y, X] in Gy, the mask [Z, Y, X] bool. Dose predicted outside the mask
    counts too, so it makes the score worse.

    >>> mask = np.array([True, True, False, False])
    >>> dose_error(np.array([50.0, 60.0, 0, 0]), np.array([51.0, 57.0, 2, 0]), mask)
    3.0
    """
    total = absolute_error(reference_gy, predicted_gy).sum()
    return float(total / np.count_nonzero(possible_dose_mask))


def absolute_error(reference_gy: np.ndarray, predicted_gy: np.ndarray) -> np.ndarray:
    """|reference - prediction| of each voxel, float64."""
    difference = np.subtract(reference_gy, predicted_gy, dtype=np.float64)
    return np.abs(difference, out=difference)


def applies(site: sites.Site) -> bool:
    """Whether the DVH score is defined: only for the challenge's own structures."""
    return site.name == sites.OPENKBP.name


def dvh_names(structure: sites.Structure) -> tuple[str, ...]:
    """The challenge's DVH metrics of an OAR (D_0.1cc, D_mean) or target (D_99 ...)."""
    if structure.target_gy is None:
        return sites.OPENKBP_OAR_DVH
    return sites.OPENKBP_TARGET_DVH


def dvh_metrics(
    dose_gy: np.ndarray, patient: records.Patient, site: sites.Site
) -> dict[tuple[str, str], float]:
    """The challenge's DVH metrics in Gy, by (structure, metric without dialect)."""
    metrics: dict[tuple[str, str], float] = {}
    for name, mask in patient.structures.items():
        (values,) = dvh.inside(mask, dose_gy)
        if not values.size:
            continue
        names = dvh_names(site.structure(name))
        results = dvh.metrics(names, values, patient.grid.voxel_mm3)
        for metric, value in zip(names, results, strict=True):
            metrics[name, metric.removeprefix("openkbp:")] = value
    return metrics


def dvh_errors(values: Iterable[Cell], site: sites.Site) -> list[float]:
    """The errors among reported `values` that enter the DVH score, in Gy.

    Metrics that a user added to the report do not enter the score. Other sites have no
    such errors.
    """
    if not applies(site):
        return []
    return [
        value.error
        for value in values
        if value.structure in site.names
        and value.metric in dvh_names(site.structure(value.structure))
        and not np.isnan(value.error)
    ]


def dose_score(errors_gy: Iterable[float]) -> float:
    """Mean of the patients' dose errors, in Gy.

    >>> dose_score([2.0, 3.0])
    2.5
    """
    return float(np.mean(list(errors_gy)))


def dvh_score(differences_gy: Iterable[float]) -> float:
    """Mean absolute difference over all cells (patient, structure, metric), in Gy.

    >>> dvh_score([1.0, -2.0, 3.0])
    2.0
    """
    return float(np.mean(np.abs(list(differences_gy))))
