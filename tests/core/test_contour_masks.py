"""Masks from probabilities: a threshold, or the most probable of all channels."""

import numpy as np
import pytest

from mtl_jax.core import contour_masks


def found(probabilities, head, threshold=0.5):
    return np.stack(
        [*contour_masks.masks(probabilities, head=head, threshold=threshold)]
    )


def test_sigmoid_structures_overlap_from_the_threshold_on():
    probabilities = np.array([[0.49, 0.5, 0.51], [0.9, 0.1, 0.7]], np.float16)
    expected = [[False, True, True], [True, False, True]]
    np.testing.assert_array_equal(found(probabilities, "sigmoid"), expected)
    expected = [[False, False, False], [True, False, True]]
    np.testing.assert_array_equal(found(probabilities, "sigmoid", 0.6), expected)


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_softmax_takes_the_most_probable_channel_whatever_the_threshold(threshold):
    # The background has 0.3, 0.2, 0.1, 0.5 and 0.4.
    first = np.array([0.4, 0.3, 0.45, 0.5, 0.3], np.float32)
    second = np.array([0.3, 0.5, 0.45, 0.0, 0.3], np.float32)
    expected = [
        [True, False, True, False, False],  # of equals the first
        [False, True, False, False, False],
    ]
    probabilities = [first, second]
    masks = found(probabilities, "softmax", threshold)
    np.testing.assert_array_equal(masks, expected)


@pytest.mark.parametrize("structures", [1, 2, 5])
def test_softmax_masks_are_the_argmax_of_all_logits(rng, structures):
    logits = rng.normal(size=(4, 8, 8, 1 + structures))
    shares = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    masks = found(np.moveaxis(shares[..., 1:], -1, 0), "softmax")
    label = logits.argmax(axis=-1)
    for number, mask in enumerate(masks, 1):
        np.testing.assert_array_equal(mask, label == number)
    assert masks.any() and not masks.all()
