"""Mean absolute error of the dose (Kim et al. 2024, 2.2.4), as sums and counts."""

import jax
import jax.numpy as jnp


def absolute_error(
    predicted: jax.Array, reference: jax.Array, counts: jax.Array
) -> dict[str, jax.Array]:
    """Summed absolute error over all voxels of the slices that count.

    Args:
        predicted: dose / prescription [B, H, W, 1].
        reference: dose / prescription [B, H, W, 1].
        counts: [B], 1 for a slice with a plan, 0 for padding and for no plan.

    Returns:
        Two additive scalars: `error` and the number of `voxels`.
    """
    by_slice = jnp.abs(predicted - reference).sum(axis=(1, 2, 3))
    voxels = predicted[0].size
    return {"error": (by_slice * counts).sum(), "voxels": counts.sum() * voxels}


def mean_absolute_error(sums: dict[str, jax.Array]) -> jax.Array:
    """The loss from `absolute_error`'s sums; 0 where no slice counted."""
    return sums["error"] / jnp.maximum(sums["voxels"], 1)
