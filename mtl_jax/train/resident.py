"""Batches of slices that stay on the devices.

Input: the packed slices of a split (`pipeline.resident`), and the positions of a
batch's rows. Output: the batch on the devices, bit for bit as the host would make it.
Only the positions are transferred.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax.train import parallel

Table = Mapping[str, Mapping[str, Any]]


def put_batches(backend: parallel.Backend, table: Table | None) -> Callable[[Any], Any]:
    """As `backend.put_batch`, for positions in `table`, of which each device has one.

    Without a table it is `backend.put_batch`.
    """
    if table is None:
        return backend.put_batch
    placed = backend.put_state(table)
    unpack = backend.predictions(unpacked)
    return lambda batch: unpack(placed, backend.put_batch(batch))


def unpacked(table: Table, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """The batch (core/records) of the `rows` [B] of `table`."""
    rules = table["rules"]
    part = {name: column[batch["rows"]] for name, column in table["slices"].items()}
    own, *further = [_windowed(part["ct"], window) for window in rules["windows"]]
    beside = [rules["beside"][part["beside"]]] if "beside" in rules else []
    possible = (part["masks"] & rules["possible"]) > 0
    possible |= ~part["mask_known"][:, None, None]
    found = {
        "image": jnp.concatenate([own, *beside, *further], axis=-1),
        "contours": _bits(part["masks"], rules["structures"]),
        "present": part["present"],
        "dose": part["dose"][..., None],
        "possible_dose": possible[..., None].astype(jnp.uint8),
        "has_dose": part["has_dose"],
        "mask": batch["mask"],
        "patient": part["patient"],
        "slice": part["slice"],
    }
    if "site" in rules:
        found["structures"] = _bits(part["masks"], rules["site"])
    return found


def _windowed(ct: jax.Array, window: jax.Array) -> jax.Array:
    """Stored values [B, H, W] as `image_channels.Window` writes them, [B, H, W, 1]."""
    offset, low, high, mean, std = window
    values = jnp.clip(ct.astype(jnp.float32) - offset, low, high)
    # XLA would multiply by the reciprocal of a number, which rounds twice.
    divisor = jax.lax.optimization_barrier(jnp.broadcast_to(std, values.shape))
    return ((values - mean) / divisor)[..., None]


def _bits(masks: jax.Array, positions: jax.Array) -> jax.Array:
    """[B, H, W, n] uint8: the bits of `masks` at `positions` [n]."""
    shifted = jnp.right_shift(masks[..., None], positions[None, None, None])
    return (shifted & 1).astype(jnp.uint8)
