"""Predicted contours on disk, added to the slices of a split.

Input: one `.npy` file a patient, [Z, Y, X] uint16 on the CT's own grid, with the bits
of core/records.Example.masks. Output: a Split whose examples also have `predicted`.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mtl_jax.core import sites
from mtl_jax.datasets import prepared
from mtl_jax.pipeline import stored_volumes

KIND = stored_volumes.Kind("predicted", np.uint16, "predicted contours")


def bits(
    masks: Mapping[str, np.ndarray], site: sites.Site, shape: tuple[int, ...]
) -> np.ndarray:
    """Masks of `shape`, bool, by structure, as the bits of one uint16 array."""
    packed = np.zeros(shape, np.uint16)
    for name, mask in masks.items():
        bit = site.names.index(site.structure(name).name)
        packed |= mask.astype(np.uint16) << np.uint16(bit)
    return packed


def save(masks: Mapping[str, np.ndarray], site: sites.Site, path: Path) -> None:
    """Write masks [Z, Y, X], bool, by structure to `path`, completely or not at all."""
    shape = next(iter(masks.values())).shape
    stored_volumes.save(bits(masks, site, shape), path)


def attach(split: prepared.Split, paths: Mapping[str, Path]) -> prepared.Split:
    """`split` with the predicted contours in `paths`, by patient.

    Raises:
        DatasetError: a patient has no file, or one that is damaged or of another grid.
    """
    return stored_volumes.attach(split, paths, KIND)
