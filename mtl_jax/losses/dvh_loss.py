"""Loss of the dose-volume histograms of structures (not in the paper).

Input: predicted and planned dose / prescription [B, H, W, 1] of a batch, and the masks
of its structures. Output: additive sums, and the loss: the mean area between the two
histograms of a structure in a slice. Thresholds are soft, so that it has a gradient
(after Nguyen et al. 2020, Med. Phys. 47:837).
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

# Fractions of the prescription, 1.75 Gy of 70 Gy apart; the softness of a threshold.
STEP = 0.025
THRESHOLDS = STEP * np.arange(1, 48)
SOFTNESS = STEP / 2


def sums(
    predicted: jax.Array, reference: jax.Array, weights: jax.Array
) -> dict[str, jax.Array]:
    """Summed areas between histograms, and how many histograms there are.

    Args:
        predicted: dose / prescription [B, H, W, 1].
        reference: dose / prescription [B, H, W, 1].
        weights: [B, H, W, S], 1 for the voxels of each structure that count.

    Returns:
        Two additive scalars: `dvh_area`, in fractions of the prescription, and
        `dvh_curves`, the slices and structures with a voxel.
    """
    voxels = weights.sum(axis=(1, 2))
    share = weights / jnp.maximum(voxels, 1)[:, None, None, :]
    gap = jnp.abs(_volumes(predicted, share) - _volumes(reference, share))
    return {"dvh_area": STEP * gap.sum(), "dvh_curves": (voxels > 0).sum() * 1.0}


def _volumes(dose: jax.Array, share: jax.Array) -> jax.Array:
    """[B, K, S] the part of each structure that receives each threshold or more."""
    thresholds = jnp.asarray(THRESHOLDS, dose.dtype).reshape(1, 1, 1, -1)
    receives = jax.nn.sigmoid((dose - thresholds) / SOFTNESS)
    return jnp.einsum("bhwk,bhws->bks", receives, share)


def loss(sums: Mapping[str, jax.Array]) -> jax.Array:
    """The mean area; 0 without a histogram."""
    return sums["dvh_area"] / jnp.maximum(sums["dvh_curves"], 1)
