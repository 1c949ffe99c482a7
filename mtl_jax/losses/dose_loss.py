"""Loss of the dose: the mean absolute error (Kim et al. 2024, 2.2.4).

Input: the predicted dose / prescription [B, H, W, 1] and a batch. Output: additive
sums, and the loss from them. The evaluation sets the dose to 0 where none is possible,
so by default those voxels do not count (the paper does not say). A loss of dose-volume
histograms can be added (`dvh_loss`). `counts`, `sums` and
`losses` are a row of `objective.LOSSES`.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax.losses import dvh_loss


def counts(batch: Mapping[str, jax.Array], options: Mapping[str, Any]) -> jax.Array:
    """[B, H, W, 1], 1 for a voxel that counts; 0 for padding and where is no plan.

    Args:
        batch: with `dose`, `possible_dose`, `has_dose` and `mask`.
        options: `dose_region` and `dose_slices`, each "possible" or "all".
    """
    by_slice = (batch["has_dose"] * batch["mask"])[:, None, None, None]
    possible = batch["possible_dose"].astype(by_slice.dtype)
    if options["dose_region"] == "possible":
        return by_slice * possible
    if options["dose_slices"] == "possible":
        by_slice = by_slice * possible.max(axis=(1, 2, 3), keepdims=True)
    return jnp.broadcast_to(by_slice, possible.shape)


def sums(
    predicted: jax.Array,
    batch: Mapping[str, jax.Array],
    counts: jax.Array,
    options: Mapping[str, Any],
) -> dict[str, jax.Array]:
    """As `absolute_error` for the batch's `dose`; with `dvh_weight`, its DVHs too."""
    reference = batch["dose"].astype(predicted.dtype)
    summed = absolute_error(predicted, reference, counts)
    if options.get("dvh_weight"):
        weights = batch["structures"].astype(predicted.dtype) * counts
        summed |= dvh_loss.sums(predicted, reference, weights)
    return summed


def losses(
    sums: Mapping[str, jax.Array], options: Mapping[str, Any]
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The loss from the sums; it has no named parts."""
    loss = mean_absolute_error(sums)
    if weight := options.get("dvh_weight"):
        loss += weight * dvh_loss.loss(sums)
    return loss, {}


def absolute_error(
    predicted: jax.Array, reference: jax.Array, counts: jax.Array
) -> dict[str, jax.Array]:
    """Summed absolute error over the voxels that count.

    Args:
        predicted: dose / prescription [B, H, W, 1].
        reference: dose / prescription [B, H, W, 1].
        counts: [B, H, W, 1], as the function of this name returns them.

    Returns:
        Two additive scalars: `error` and the number of `voxels`.
    """
    error = jnp.abs(predicted - reference)
    return {"error": (error * counts).sum(), "voxels": counts.sum()}


def mean_absolute_error(sums: Mapping[str, jax.Array]) -> jax.Array:
    """The loss from `absolute_error`'s sums; 0 where no voxel counted."""
    return sums["error"] / jnp.maximum(sums["voxels"], 1)
