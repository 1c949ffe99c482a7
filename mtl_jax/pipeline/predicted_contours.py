"""Predicted contours on disk, added to the slices of a split.

Input: one `.npy` file a patient, [Z, Y, X] uint16 on the CT's own grid, with the bits
of core/records.Example.masks. Output: a Split whose examples also have `predicted`.
"""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mtl_jax.core import errors, files, records, sites
from mtl_jax.datasets import prepared


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
    packed = bits(masks, site, next(iter(masks.values())).shape)
    with files.whole(path) as partial, partial.open("wb") as file:
        np.lib.format.write_array(file, packed, allow_pickle=False)


def attach(split: prepared.Split, paths: Mapping[str, Path]) -> prepared.Split:
    """`split` with the predicted contours in `paths`, by patient.

    Raises:
        DatasetError: a patient has no file, or one that is damaged or of another grid.
    """
    for entry in split.patients:
        if entry.patient_id not in paths:
            raise errors.DatasetError(
                f"split {split.name}: no contours were predicted for {entry.patient_id}"
            )
        path = paths[entry.patient_id]
        try:
            stored = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise errors.DatasetError(
                f"predicted contours {path} are missing or damaged ({error}); "
                "delete the file, and they are predicted again"
            ) from error
        if stored.shape != entry.grid.shape or stored.dtype != np.uint16:
            raise errors.DatasetError(
                f"predicted contours {path} are {stored.dtype} {stored.shape}, "
                f"expected uint16 {entry.grid.shape}; delete the file"
            )
    return dataclasses.replace(split, source=WithPredicted(split.source, paths))


class WithPredicted:
    """Slices of a split, each with its predicted contours."""

    def __init__(self, source: prepared.Source, paths: Mapping[str, Path]) -> None:
        self._source, self._files = source, paths
        self._volume = functools.lru_cache(maxsize=64)(self._open)

    def _open(self, patient: str) -> np.ndarray:
        return np.load(self._files[patient], mmap_mode="r", allow_pickle=False)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> records.Example:
        example = self._source[index]
        masks = self._volume(example["patient"])[example["slice"]]
        example["predicted"] = np.array(masks)
        return example
