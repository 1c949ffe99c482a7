"""Predicted contours become masks by structure, with an optional clean-up."""

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from mtl_jax.core import contour_masks
from mtl_jax.inference import volumes


def masks(
    prediction: volumes.Prediction, *, head: str, threshold: float
) -> dict[str, np.ndarray]:
    """Masks [Z, Y, X] bool by structure, as `core.contour_masks` decides.

    Empty if the role predicts no contours.

    >>> from mtl_jax.core import geometry
    >>> grid = geometry.Grid((1, 1, 3), (1.0, 1.0, 1.0))
    >>> contours = np.array([[[[0.2, 0.5, 0.9]]]], np.float16)
    >>> prediction = volumes.Prediction(grid, None, contours, ("Rectum",))
    >>> masks(prediction, head="sigmoid", threshold=0.5)["Rectum"].tolist()
    [[[False, True, True]]]
    """
    if prediction.contours is None:
        return {}
    found = contour_masks.masks(prediction.contours, head=head, threshold=threshold)
    return dict(zip(prediction.structures, found, strict=True))


def largest_of(masks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The largest connected piece of each of `masks`, by structure."""
    return {name: largest(mask) for name, mask in masks.items()}


def largest(mask: np.ndarray) -> np.ndarray:
    """The largest piece of `mask` [Z, Y, X] bool that is connected by voxels' faces.

    Not in the paper. If several are equally large, it is the first in the array's
    order; an empty mask stays empty.

    >>> mask = np.array([[[True, False, True, True]]])
    >>> largest(mask).tolist()
    [[[False, False, True, True]]]
    """
    boxes = ndimage.find_objects(mask.astype(np.uint8))
    if not boxes:
        return mask.copy()
    pieces, _ = ndimage.label(mask[boxes[0]])
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    piece = np.zeros_like(mask)
    piece[boxes[0]] = pieces == np.argmax(sizes)
    return piece
