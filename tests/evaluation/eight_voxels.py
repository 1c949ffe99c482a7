"""A grid of eight voxels, masks on it, and the rules to score it by."""

import numpy as np

from mtl_jax.core import geometry, reported_metrics, sites
from mtl_jax.evaluation import scoring

GRID = geometry.Grid((1, 2, 4), (2.0, 10.0, 10.0))
SITE = sites.OPENKBP
RULES = scoring.Rules(
    SITE,
    reported_metrics.default(SITE),
    contour_head="sigmoid",
    contour_threshold=0.5,
    apply_possible_dose_mask=True,
    largest_component=False,
)


def mask(*voxels):
    flat = np.zeros(8, bool)
    flat[list(voxels)] = True
    return flat.reshape(GRID.shape)
