"""What a prediction says in figures: volumes, and the dose in each structure.

Goes in: what is exported. Comes out: plain values for statistics.json.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mtl_jax.core import geometry, metric_names, records
from mtl_jax.export import author as authors
from mtl_jax.metrics import dvh
from mtl_jax.predict import trained_model

CUBIC_MM_PER_CC = 1000.0


def of_model(about: trained_model.Description) -> dict[str, Any]:
    """Which model it is, and which version of this package ran it."""
    author = about.author
    return {
        "notice": authors.NOTICE,
        "model": author.model,
        "version": author.version,
        "checkpoint": author.checkpoint,
        "step": about.step,
    }


def of_structures(
    about: trained_model.Description,
    grid: geometry.Grid,
    found: records.PredictedVolumes,
    told: Mapping[str, np.ndarray],
) -> dict[str, Any]:
    """Volume and DVH metrics by structure.

    Of a role that predicts no contours those of `told`, which it was given.
    """
    masks, origin = found.contours, "predicted"
    if not masks:
        masks = told
        origin = "drawn by its contour network" if about.drawing else "given"
    return {
        name: {
            "tg263": about.site.structure(name).tg263,
            "contours": origin,
            "volume_cc": int(mask.sum()) * grid.voxel_mm3 / CUBIC_MM_PER_CC,
            "dose": _metrics(about, name, mask, found.dose_gy, grid),
        }
        for name, mask in masks.items()
    }


def _metrics(
    about: trained_model.Description,
    name: str,
    mask: np.ndarray,
    dose_gy: np.ndarray | None,
    grid: geometry.Grid,
) -> dict[str, Any]:
    """The site's metrics of a structure; none without a dose or without voxels."""
    names = about.rules.template.dvh.get(name, ())
    if dose_gy is None or not names or not mask.any():
        return {}
    (inside,) = dvh.inside(mask, dose_gy)
    values = dvh.metrics(names, inside, grid.voxel_mm3)
    return {
        metric: {"value": value, "unit": metric_names.parse(metric, "dvh").unit}
        for metric, value in zip(names, values, strict=True)
    }


def of_dose(dose_gy: np.ndarray, quantum_gy: float | None) -> dict[str, Any]:
    """The highest dose, and by how much at most a stored dose differs from it."""
    known = {} if quantum_gy is None else {"rounded_by_at_most_gy": quantum_gy / 2}
    return {"highest_gy": float(dose_gy.max()), **known}
