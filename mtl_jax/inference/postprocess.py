"""From contour probabilities to masks: threshold, and an optional clean-up."""

import numpy as np
from scipy import ndimage

from mtl_jax.inference import volumes


def masks(
    prediction: volumes.Prediction, *, threshold: float, largest_component: bool
) -> dict[str, np.ndarray]:
    """Masks [Z, Y, X] bool by structure; a role without contours has none.

    A voxel belongs to a structure from `threshold` on. `largest_component` keeps the
    largest piece only (not in the paper).
    """
    if prediction.contours is None:
        return {}
    drawn = dict(zip(prediction.structures, prediction.contours, strict=True))
    cut = {name: probability >= threshold for name, probability in drawn.items()}
    if largest_component:
        return {name: largest(mask) for name, mask in cut.items()}
    return cut


def largest(mask: np.ndarray) -> np.ndarray:
    """The largest piece of `mask` [Z, Y, X] bool, connected through faces.

    Of several equally large ones the first in the array's order; an empty mask stays
    empty.
    """
    boxes = ndimage.find_objects(mask.astype(np.uint8))
    if not boxes:
        return mask.copy()
    pieces, _ = ndimage.label(mask[boxes[0]])
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    kept = np.zeros_like(mask)
    kept[boxes[0]] = pieces == np.argmax(sizes)
    return kept
