"""Loss of the contours: soft Dice and cross-entropy (Kim et al. 2024, 2.2.4).

Input: the logits of the contours [B, H, W, N] (with the "softmax" head 1 + N) and a
batch. Output: additive sums, and from them the loss and its two parts, so that a batch
spread over devices, or a whole split, has one loss and no mean of means. A structure
that was not contoured in a patient adds neither a value nor a gradient. One that was,
but has no voxel in the batch, is left out of the mean of the Dice loss, where it would
be a constant near 1. `counts`, `sums` and `losses` are a row of `objective.LOSSES`.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp


def counts(batch: Mapping[str, jax.Array], _: Mapping[str, Any]) -> jax.Array:
    """[B, N], 1 for a structure that was contoured, 0 for others and for padding."""
    return batch["present"] * batch["mask"][:, None]


def sums(
    logits: jax.Array,
    batch: Mapping[str, jax.Array],
    counts: jax.Array,
    options: Mapping[str, Any],
) -> dict[str, jax.Array]:
    """The sums of both parts, for the batch's `contours`."""
    reference = batch["contours"].astype(logits.dtype)
    head = options["contour_head"]
    return dice_sums(
        probabilities(logits, head),
        reference,
        counts,
        per_sample=options["dice_per_sample"],
        smooth=options["dice_smooth"],
    ) | cross_entropy_sums(logits, reference, counts, head=head)


def losses(
    sums: Mapping[str, jax.Array], options: Mapping[str, Any]
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The weighted sum of Dice loss and cross-entropy, and both as named parts."""
    dice = dice_loss(sums, smooth=options["dice_smooth"])
    entropy = cross_entropy(sums)
    loss = options["dice_weight"] * dice + options["cross_entropy_weight"] * entropy
    return loss, {"dice": dice, "cross_entropy": entropy}


def probabilities(logits: jax.Array, head: str) -> jax.Array:
    """Probability of each structure [..., N] from the head's logits.

    Args:
        logits: [..., N] of a `sigmoid` head, [..., 1 + N] of a `softmax` head, whose
            first channel is the background.
        head: "sigmoid" or "softmax".
    """
    if head == "sigmoid":
        return jax.nn.sigmoid(logits)
    return jax.nn.softmax(logits)[..., 1:]


def dice_sums(
    predicted: jax.Array,
    reference: jax.Array,
    counts: jax.Array,
    *,
    per_sample: bool,
    smooth: float,
) -> dict[str, jax.Array]:
    """The sums of each structure's Dice loss, [N] each; additive over batches.

    Args:
        predicted: probabilities [B, H, W, N].
        reference: masks [B, H, W, N], 0 or 1.
        counts: [B, N], 1 where the structure of this slice counts.
        per_sample: a Dice for each slice that shows the structure, averaged, instead of
            one over all slices.
        smooth: added to numerator and denominator.

    Returns:
        `samples`, the slices that show the structure, and what its Dice loss needs.
    """
    shown = counts * (reference.sum(axis=(1, 2)) > 0).astype(counts.dtype)
    overlap = (predicted * reference).sum(axis=(1, 2)) * counts
    size = (predicted + reference).sum(axis=(1, 2)) * counts
    if per_sample:
        loss = (1 - (2 * overlap + smooth) / (size + smooth)) * shown
        return {"dice_loss": loss.sum(axis=0), "samples": shown.sum(axis=0)}
    return {
        "overlap": overlap.sum(axis=0),
        "size": size.sum(axis=0),
        "samples": shown.sum(axis=0),
    }


def dice_loss(sums: Mapping[str, jax.Array], *, smooth: float) -> jax.Array:
    """Mean over the structures that any counted slice shows; 0 if there is none."""
    seen = (sums["samples"] > 0).astype(sums["samples"].dtype)
    if "dice_loss" in sums:
        by_structure = sums["dice_loss"] / jnp.maximum(sums["samples"], 1)
    else:
        by_structure = 1 - (2 * sums["overlap"] + smooth) / (sums["size"] + smooth)
    return (by_structure * seen).sum() / jnp.maximum(seen.sum(), 1)


def cross_entropy_sums(
    logits: jax.Array, reference: jax.Array, counts: jax.Array, *, head: str
) -> dict[str, jax.Array]:
    """Summed cross-entropy and the number of terms; arguments as in `dice_sums`."""
    if head == "sigmoid":
        # -log sigmoid(x) where the mask is 1, -log(1 - sigmoid(x)) where it is 0.
        by_voxel = jax.nn.softplus(logits) - logits * reference
        terms = logits[0, ..., 0].size
        total = (by_voxel.sum(axis=(1, 2)) * counts).sum()
        return {"cross_entropy": total, "terms": counts.sum() * terms}
    return _categorical_sums(logits, reference, counts)


def _categorical_sums(
    logits: jax.Array, reference: jax.Array, counts: jax.Array
) -> dict[str, jax.Array]:
    """Cross-entropy over background and structures.

    Where a structure was not contoured, its voxels are labelled background; so the
    probability of "background" there is that of the background or any such structure.
    """
    log_p = jax.nn.log_softmax(logits)
    absent = jnp.where(counts > 0, -jnp.inf, 0.0).astype(logits.dtype)[:, None, None, :]
    background = jax.nn.logsumexp(
        jnp.concatenate([log_p[..., :1], log_p[..., 1:] + absent], axis=-1), axis=-1
    )
    present = reference * counts[:, None, None, :]
    # Overlapping structures share the voxel equally.
    share = present / jnp.maximum(present.sum(axis=-1, keepdims=True), 1)
    labelled = (share * log_p[..., 1:]).sum(axis=-1)
    by_voxel = -jnp.where(present.sum(axis=-1) > 0, labelled, background)
    any_counts = (counts.sum(axis=-1) > 0).astype(logits.dtype)
    total = (by_voxel.sum(axis=(1, 2)) * any_counts).sum()
    return {"cross_entropy": total, "terms": any_counts.sum() * by_voxel[0].size}


def cross_entropy(sums: Mapping[str, jax.Array]) -> jax.Array:
    """Mean over voxels and structures that counted; 0 where none did."""
    return sums["cross_entropy"] / jnp.maximum(sums["terms"], 1)
