"""Batches of slices that stay on the devices.

Input: the packed slices of a split (`pipeline.resident`), and the positions of a
batch's rows. Output: the batch on the devices, bit for bit as the host would make it;
with random changes, up to the rounding of an interpolation. Only positions and changes
are transferred.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy import ndimage

from mtl_jax.train import parallel

Arrays = Mapping[str, Any]
Table = Mapping[str, Arrays]

# Columns of a table whose bits are masks.
MASKS = ("masks", "beside")


Put = Callable[[Any], Any]


def put_batches(
    backend: parallel.Backend, table: Table | None, *, several: bool = False
) -> tuple[Put, Put]:
    """As `backend.put_batch`, for positions in `table`, of which each device has one.

    The second function takes those of `several` batches, [K, b, ...]. Without a table
    they are functions of the backend.
    """
    stacked = backend.stacked() if several else backend
    if table is None:
        return backend.put_batch, stacked.put_batch
    placed = backend.put_state(table)
    unpack = backend.predictions(unpacked)

    def unpacked_each(table: Table, batches: Mapping[str, jax.Array]) -> Any:
        return jax.lax.map(functools.partial(unpacked, table), batches)

    unpack_several = stacked.predictions(unpacked_each)
    return (
        lambda batch: unpack(placed, backend.put_batch(batch)),
        lambda batches: unpack_several(placed, stacked.put_batch(batches)),
    )


def unpacked(table: Table, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """The batch (core/records) of the `rows` [B] of `table`, with its changes."""
    slices, rules = table["slices"], table["rules"]
    rows = {name: column[batch["rows"]] for name, column in slices.items()}
    if "around" in rows:
        rows["around"] = slices["ct"][rows["around"]]  # [B, K, H, W]
    if "flipped" in batch:
        rows = _changed(rows, batch, rules)
    masks = rows["masks"]
    possible = (masks & rules["possible"]) > 0
    possible |= ~rows["mask_known"][:, None, None]
    found = {
        "image": jnp.concatenate(_channels(rows, rules), axis=-1),
        "contours": _bits(masks, rules["structures"]),
        "present": rows["present"][:, rules["structures"]],
        "dose": rows["dose"][..., None],
        "possible_dose": possible[..., None].astype(jnp.uint8),
        "has_dose": rows["has_dose"],
        "mask": batch["mask"],
        "patient": rows["patient"],
        "slice": rows["slice"],
    }
    if "site" in rules:
        found["structures"] = _bits(masks, rules["site"])
    return found


def _channels(rows: Arrays, rules: Arrays) -> list[jax.Array]:
    """The image's channels, each [B, H, W, n], in the order of `image_channels`."""
    windows = rules["windows"]
    own, *second = [_windowed(rows["ct"], window) for window in windows]
    channels = [own]
    if "beside" in rules:
        channels.append(rules["beside"][rows["beside"]])
    channels += second
    if "around" in rows:
        around = jnp.moveaxis(rows["around"], 1, 0)
        channels += [_windowed(ct, window) for ct in around for window in windows]
    if "target_distance" in rows:
        distance = rows["target_distance"].astype(jnp.float32)
        channels.append((distance * rules["distance_scale"])[..., None])
    return channels


def _changed(
    rows: Mapping[str, jax.Array], batch: Mapping[str, jax.Array], rules: Arrays
) -> dict[str, jax.Array]:
    """`rows` with the random changes of `pipeline.augment`, each row its own."""
    flipped = batch["flipped"]
    found = dict(rows)
    found["present"] = jnp.where(
        flipped[:, None], rows["present"][:, rules["mirrored"]], rows["present"]
    )
    outside = {"ct": rules["air"], "around": rules["air"], "dose": 0.0}
    for name in ("ct", "around", "dose", "target_distance", *MASKS):
        if name not in rows:
            continue
        image = rows[name]
        mirrored = jnp.flip(image, -1)
        if name in MASKS:
            mirrored = rules["mirrored_bits"][mirrored]
        image = jax.vmap(jnp.where)(flipped, mirrored, image)
        if "inverse" in batch:
            image = _moved(image, batch["inverse"], name, outside.get(name))
        if "noise_key" in batch and name in ("ct", "around"):
            image += rules["noise"] * _noise(batch["noise_key"], name, image.shape)
        found[name] = image
    return found


def _moved(image: jax.Array, inverse: jax.Array, name: str, outside: Any) -> jax.Array:
    """`image` [B, (K,) H, W] read where `inverse` [B, 2, 3] says.

    Masks are read at the nearest pixel, other images linearly; beyond the border there
    is `outside`, or with None what is on the border.
    """
    size = image.shape[-2:]
    planes = image.reshape(len(image), -1, *size)
    pixels = jnp.stack([*jnp.indices(size, jnp.float32), jnp.ones(size)])

    def read(plane: jax.Array, matrix: jax.Array) -> jax.Array:
        places = jnp.einsum("ij,jyx->iyx", matrix, pixels, precision="highest")
        if name in MASKS:
            return ndimage.map_coordinates(plane, [*places], 0, cval=0)
        plane = plane.astype(jnp.float32)
        if outside is None:
            return ndimage.map_coordinates(plane, [*places], 1, "nearest")
        # The function takes no traced value for what is outside.
        return ndimage.map_coordinates(plane - outside, [*places], 1) + outside

    moved = jax.vmap(jax.vmap(read, (0, None)))(planes, inverse)
    return moved.reshape(image.shape)


def _noise(keys: jax.Array, name: str, shape: tuple[int, ...]) -> jax.Array:
    """Standard normal numbers [B, ...] from the `keys` [B, 2] of the rows."""

    def draw(key: jax.Array) -> jax.Array:
        wrapped = jax.random.wrap_key_data(key, impl="threefry2x32")
        own = jax.random.fold_in(wrapped, int(name == "around"))
        return jax.random.normal(own, shape[1:])

    return jax.vmap(draw)(keys)


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
