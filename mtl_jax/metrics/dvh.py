"""Dose-volume histograms of the dose values inside a structure, and metrics of them.

Input: the doses in a structure's voxels (`inside`), names of metrics and the volume of
a voxel. Output: numbers in Gy, or for V in percent of the structure's volume. A metric
is a row of `core/metric_names.FORMS` and a rule in `RULES` under the same key.

The dialects interpolate differently between the voxels' doses, d_1 <= ... <= d_n:

- `openkbp`: percentiles as the challenge takes them (Babier et al., Med. Phys. 48,
  5549, 2021), linear between d_1 at 0 % and d_n at 100 %; volumes in whole voxels; V
  counts voxels.
- `exact`: the cumulative histogram of voxel volumes, linear between the middles of the
  voxels: half of voxel k has at least d_k; volumes need not be whole voxels, and V is
  the inverse of D.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from mtl_jax.core import errors, metric_names


class Curve(NamedTuple):
    """A cumulative dose-volume histogram."""

    doses_gy: np.ndarray  # [D] from 0
    volumes_percent: np.ndarray  # [D] of the structure that gets at least that dose


def inside(mask: np.ndarray, *doses_gy: np.ndarray) -> tuple[np.ndarray, ...]:
    """The values [V] of each dose [Z, Y, X] inside `mask`, looked up once.

    >>> dose_gy = np.arange(8.0).reshape(2, 2, 2)
    >>> (values_gy,) = inside(dose_gy > 5, dose_gy)
    >>> values_gy.tolist()
    [6.0, 7.0]
    """
    slices = np.flatnonzero(mask.any(axis=(1, 2)))
    if not slices.size:
        return tuple(dose_gy[mask] for dose_gy in doses_gy)
    span = slice(slices[0], slices[-1] + 1)
    voxels = np.flatnonzero(mask[span])
    return tuple(dose_gy[span].reshape(-1)[voxels] for dose_gy in doses_gy)


def metric(name: str, values_gy: np.ndarray, voxel_mm3: float) -> float:
    """The metric called `name` of dose values [V] in Gy; see `metrics`.

    Four voxels of 40 mm3: 0.1 cm3 is 2.5 voxels, which OpenKBP rounds to 2.

    >>> doses_gy = np.array([10.0, 20.0, 30.0, 40.0])
    >>> names = ("D_75", "D_0.1cc", "V_30Gy")
    >>> [metric(f"exact:{name}", doses_gy, 40.0) for name in names]
    [15.0, 20.0, 37.5]
    >>> [metric(f"openkbp:{name}", doses_gy, 40.0) for name in names]
    [17.5, 25.0, 50.0]
    """
    return metrics((name,), values_gy, voxel_mm3)[0]


def metrics(
    names: Sequence[str], values_gy: np.ndarray, voxel_mm3: float
) -> list[float]:
    """The metrics called `names` of dose values [V], by sorting them once.

    If a structure is smaller than the volume in a metric's name, the value is its
    minimum dose (the challenge's own code fails there). Without voxels all are NaN.

    Raises:
        ConfigError: a name is not one of a DVH metric.
        RecordError: a value is NaN or infinite.
    """
    wanted = [metric_names.parse(name, "dvh") for name in names]
    if not values_gy.size:
        return [math.nan] * len(wanted)
    ordered = _sorted(values_gy)
    return [
        RULES[m.kind](Histogram(ordered, voxel_mm3, m.dialect), m.amount)
        for m in wanted
    ]


def lacks_volume(name: str, voxels: int, voxel_mm3: float) -> bool:
    """Whether the metric's volume is larger than that of `voxels`."""
    wanted = metric_names.parse(name, "dvh")
    if wanted.kind != "D_cc":
        return False
    return _share(wanted.amount, voxels, voxel_mm3, wanted.dialect) > 1


def curve(
    values_gy: np.ndarray, *, upto_gy: float | None = None, step_gy: float = 0.1
) -> Curve:
    """The whole histogram of dose values [V], in dialect `exact`, at equal steps.

    `upto_gy` None goes one step beyond the largest dose, where the volume is 0 %.

    Half of the hotter voxel gets at least 2 Gy:

    >>> curve(np.array([1.0, 2.0]), step_gy=1.0).volumes_percent.tolist()
    [100.0, 100.0, 25.0, 0.0]
    """
    ordered = _sorted(values_gy)
    end = ordered[-1] if upto_gy is None else upto_gy
    doses = np.arange(math.ceil(end / step_gy) + 2) * step_gy
    return Curve(doses, _volume_percent(ordered, doses))


def _sorted(values_gy: np.ndarray) -> np.ndarray:
    """`values_gy` in ascending order; NaN would come last."""
    ordered = np.sort(values_gy)
    if not (math.isfinite(ordered[0]) and math.isfinite(ordered[-1])):
        bad = np.count_nonzero(~np.isfinite(values_gy))
        raise errors.RecordError(
            f"{bad} of {values_gy.size} dose values of a structure are NaN or infinite"
        )
    return ordered


class Histogram(NamedTuple):
    """The doses in a structure, as the rules read them."""

    ordered: np.ndarray  # [V] Gy, ascending, at least one
    voxel_mm3: float
    dialect: str

    def dose_gy(self, share: float) -> float:
        """The least dose to the hottest `share` of the volume."""
        size = self.ordered.size
        if self.dialect == "openkbp":
            return _at(self.ordered, (size - 1) * (1 - share))
        return _at(self.ordered, size * (1 - share) - 0.5)


def _dose_at_volume(doses: Histogram, cc: float) -> float:
    share = _share(cc, doses.ordered.size, doses.voxel_mm3, doses.dialect)
    return doses.dose_gy(min(share, 1.0))


def _volume_at_dose(doses: Histogram, gy: float) -> float:
    ordered = doses.ordered
    if doses.dialect == "openkbp":
        below = int(np.searchsorted(ordered, gy, side="left"))
        return 100 * (ordered.size - below) / ordered.size
    return float(_volume_percent(ordered, np.array([gy]))[0])


# By kind: the doses and the number in the metric's name give its value.
RULES: dict[str, Callable[[Histogram, float], float]] = {
    "D_mean": lambda doses, _: float(doses.ordered.mean(dtype=np.float64)),
    "D_max": lambda doses, _: float(doses.ordered[-1]),
    "D_min": lambda doses, _: float(doses.ordered[0]),
    "D_percent": lambda doses, percent: doses.dose_gy(percent / 100),
    "D_cc": _dose_at_volume,
    "V_Gy": _volume_at_dose,
}


def _at(ordered: np.ndarray, position: float) -> float:
    """The value at a fractional index, linear between two."""
    position = min(max(position, 0.0), ordered.size - 1.0)
    below = int(position)
    low = float(ordered[below])
    if below == position:
        return low
    return low + (float(ordered[below + 1]) - low) * (position - below)


def _share(cc: float, voxels: int, voxel_mm3: float, dialect: str) -> float:
    """`cc` as a share of `voxels`; more than 1 where their volume is smaller."""
    wanted = cc * 1000 / voxel_mm3
    if dialect == "openkbp":
        wanted = max(1.0, round(wanted))  # half to even, as the challenge's np.round
    return wanted / voxels


def _volume_percent(ordered: np.ndarray, doses_gy: np.ndarray) -> np.ndarray:
    """Volume that gets at least each of `doses_gy` [D], the inverse of `dose_gy`."""
    size = ordered.size
    # Voxels below the dose; the next one has at least the dose.
    below = np.searchsorted(ordered, doses_gy, side="left")
    high = ordered[np.minimum(below, size - 1)].astype(np.float64)
    low = ordered[np.maximum(below - 1, 0)].astype(np.float64)
    # The fraction of the way from the voxel below to the next one.
    part = np.divide(
        doses_gy - low, high - low, out=np.ones_like(high), where=high > low
    )
    volumes = size - (below - 0.5 + part)
    volumes = np.where(below == 0, size, np.where(below == size, 0.0, volumes))
    return 100 * volumes / size
