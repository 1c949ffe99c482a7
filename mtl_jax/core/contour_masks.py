"""Contour probabilities become masks, by the head of the network that predicts them."""

from collections.abc import Iterable, Iterator

import numpy as np


def masks(
    probabilities: Iterable[np.ndarray], *, head: str, threshold: float
) -> Iterator[np.ndarray]:
    """The mask (bool) of each structure, from its probabilities in an array.

    Args:
        probabilities: arrays of one shape, in the order of the structures. A softmax
            head's lack the background, which has what they leave to 1.
        head: "sigmoid": a voxel belongs to each structure that has at least the
            threshold. "softmax": it belongs to the most probable structure, or to none
            if the background is as probable; the first of equals wins.
        threshold: of a sigmoid head. It means nothing for a softmax head.

    >>> probabilities = [np.array([0.2, 0.4, 0.6]), np.array([0.1, 0.35, 0.3])]
    >>> [mask.tolist() for mask in masks(probabilities, head="sigmoid", threshold=0.5)]
    [[False, False, True], [False, False, False]]
    >>> [mask.tolist() for mask in masks(probabilities, head="softmax", threshold=0.5)]
    [[False, True, True], [False, False, False]]
    """
    if head == "sigmoid":
        for probability in probabilities:
            yield probability >= threshold
        return
    label, largest, total = np.uint16(0), np.float32(0), np.float32(0)
    number = 0
    for number, stored in enumerate(probabilities, 1):
        probability = stored.astype(np.float32)
        label = np.where(probability > largest, np.uint16(number), label)
        largest = np.maximum(probability, largest)
        total = total + probability
    label = np.where(largest > 1 - total, label, np.uint16(0))
    for structure in range(1, number + 1):
        yield label == structure
