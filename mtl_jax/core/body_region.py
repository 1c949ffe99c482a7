"""Which voxels of a CT are the patient's body.

Input: a CT in Hounsfield units. Output: masks. There are two thresholds, because data
sets and published figures were made with them: a data set stores what DATA_HU finds,
metrics and pictures use METRICS_HU.
"""

import numpy as np
from scipy import ndimage

from mtl_jax.core import geometry

# Air in and around a patient lies below, lung mostly too; fat and tissue above.
METRICS_HU = -400.0
# Which slices show a body, and where a clinical plan can have dose.
DATA_HU = -500.0
# Noise in air fills less of a slice, the vertex of the head more.
LEAST_OF_SLICE = 0.001


def largest(hu: np.ndarray, above_hu: float) -> np.ndarray:
    """The body in a CT [Z, Y, X] in Hounsfield units, bool.

    It is the largest set of voxels above `above_hu` that are connected by faces in 3D,
    with holes (airways, bowel gas) filled slice by slice; all False if no voxel is
    above. A treatment couch that touches the patient is included.

    >>> ring = np.full((1, 5, 5), -1000.0)
    >>> ring[0, :3, :3] = 0.0
    >>> ring[0, 1, 1] = -1000.0  # filled
    >>> ring[0, 4, 4] = 0.0  # another piece: left out
    >>> int(largest(ring, METRICS_HU).sum())
    9
    """
    mask = np.zeros(hu.shape, bool)
    above = hu > above_hu
    box = geometry.bounding_box(above)
    pieces, _ = ndimage.label(above[box])
    sizes = np.bincount(pieces.ravel())
    if sizes.size > 1:
        mask[box] = pieces == 1 + sizes[1:].argmax()
        box = geometry.bounding_box(mask)
        mask[box] = _filled(mask[box])
    return mask


def _filled(mask: np.ndarray) -> np.ndarray:
    """`mask` [Z, Y, X] with what does not reach the edge of its slice."""
    in_plane = np.zeros((3, 3, 3), bool)
    in_plane[1] = ndimage.generate_binary_structure(2, 1)
    rest, count = ndimage.label(~mask, in_plane)
    filled = np.ones(count + 1, bool)
    for edge in (rest[:, 0], rest[:, -1], rest[:, :, 0], rest[:, :, -1]):
        filled[edge.ravel()] = False
    filled[0] = True  # the mask itself
    return filled[rest]


def in_slices(ct: np.ndarray, offset_hu: float) -> np.ndarray:
    """[Z] bool: the slices of `ct` [Z, Y, X] that show a body.

    At least 0.1 % of the slice's voxels are above -500 HU; `offset_hu` is what the
    stored values lie above Hounsfield units.
    """
    dense = ct > DATA_HU + offset_hu
    return dense.mean(axis=(1, 2)) >= LEAST_OF_SLICE
