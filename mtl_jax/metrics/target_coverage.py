"""How a dose covers a target, relative to the target's own prescription.

Input: a dose, a target of a site and the patient. Output: numbers. These metrics stand
among the DVH metrics, with `target:` in the place of a dialect; a metric is a row of
`core/metric_names.FORMS` and a rule in `RULES` under the same key. Percentages of a
volume are those of dialect `exact` (metrics/dvh).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mtl_jax.core import metric_names
from mtl_jax.metrics import dvh


class Target(NamedTuple):
    """A dose and the target in which it is read."""

    dose_gy: np.ndarray  # [Z, Y, X]
    mask: np.ndarray  # [Z, Y, X] bool, of the target, with a voxel at least
    prescribed: np.ndarray  # [Z, Y, X] bool: all targets with at least its prescription
    prescription_gy: float
    voxel_mm3: float

    def dose_to(self, percent: float) -> float:
        """The minimum dose of the hottest `percent` of the target, in Gy."""
        (values,) = dvh.inside(self.mask, self.dose_gy)
        return dvh.metric(f"exact:D_{percent:g}", values, self.voxel_mm3)


def value(target: Target, metric: metric_names.Metric) -> float:
    """The value of `metric`, whose name starts with `target:`."""
    return RULES[metric.kind](target, metric.amount)


def _coverage(target: Target, percent: float) -> float:
    """D_x in percent of the prescription."""
    return 100 * target.dose_to(percent) / target.prescription_gy


def _homogeneity(target: Target, _: float) -> float:
    """(D_2 - D_98) / D_50, 0 for an even dose: ICRU report 83, J. ICRU 10 (2010).

    Without any dose in the target's middle it is NaN.
    """
    middle = target.dose_to(50)
    if middle <= 0:
        return float("nan")
    return (target.dose_to(2) - target.dose_to(98)) / middle


def _conformity(target: Target, _: float) -> float:
    """TV_PIV^2 / (TV PIV): Paddick, J. Neurosurg. 93 (Suppl. 3), 219 (2000).

    PIV is the volume with at least the prescribed dose, TV the target, TV_PIV what they
    share; 1 is perfect. Where targets have several prescriptions, TV is all targets
    with at least this one, since their doses lie inside its isodose.
    """
    reached = target.dose_gy >= target.prescription_gy
    both = float(np.count_nonzero(reached & target.prescribed))
    if not both:
        return 0.0
    volumes = np.count_nonzero(reached) * np.count_nonzero(target.prescribed)
    return both * both / float(volumes)


# By kind: the target and the number in the metric's name give its value.
RULES: dict[str, Callable[[Target, float], float]] = {
    "coverage": _coverage,
    "homogeneity": _homogeneity,
    "conformity": _conformity,
}
