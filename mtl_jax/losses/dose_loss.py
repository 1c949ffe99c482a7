"""Loss of the dose: the mean absolute error (Kim et al. 2024, 2.2.4).

Input: the predicted dose / prescription [B, H, W, 1] and a batch. Output: additive
sums, and the loss from them. `counts`, `sums` and `losses` are a row of
`objective.LOSSES`.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp


def counts(batch: Mapping[str, jax.Array]) -> jax.Array:
    """[B], 1 for a slice with a plan, 0 for padding and for no plan."""
    return batch["has_dose"] * batch["mask"]


def sums(
    predicted: jax.Array,
    batch: Mapping[str, jax.Array],
    counts: jax.Array,
    options: Mapping[str, Any],
) -> dict[str, jax.Array]:
    """As `absolute_error`, for the batch's `dose`."""
    return absolute_error(predicted, batch["dose"].astype(predicted.dtype), counts)


def losses(
    sums: Mapping[str, jax.Array], options: Mapping[str, Any]
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The loss from the sums; it has no named parts."""
    return mean_absolute_error(sums), {}


def absolute_error(
    predicted: jax.Array, reference: jax.Array, counts: jax.Array
) -> dict[str, jax.Array]:
    """Summed absolute error over all voxels of the slices that count.

    Args:
        predicted: dose / prescription [B, H, W, 1].
        reference: dose / prescription [B, H, W, 1].
        counts: [B], as the function of this name returns them.

    Returns:
        Two additive scalars: `error` and the number of `voxels`.
    """
    by_slice = jnp.abs(predicted - reference).sum(axis=(1, 2, 3))
    voxels = predicted[0].size
    return {"error": (by_slice * counts).sum(), "voxels": counts.sum() * voxels}


def mean_absolute_error(sums: Mapping[str, jax.Array]) -> jax.Array:
    """The loss from `absolute_error`'s sums; 0 where no slice counted."""
    return sums["error"] / jnp.maximum(sums["voxels"], 1)
