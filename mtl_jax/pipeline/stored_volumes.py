"""Volumes on disk that belong to a split's patients, added to its slices.

Input: one `.npy` file a patient, [Z, Y, X] on the CT's own grid. Output: a Split whose
examples have one more field, the slice's plane of that volume.
"""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from mtl_jax.core import errors, files, records
from mtl_jax.datasets import prepared


@dataclasses.dataclass(frozen=True)
class Kind:
    """What the files hold."""

    field: Literal["predicted", "target_distance"]  # of core/records.Example
    dtype: type
    in_words: str  # in an error


def save(volume: np.ndarray, path: Path) -> None:
    """Write `volume` [Z, Y, X] to `path`, completely or not at all."""
    with files.whole(path) as partial, partial.open("wb") as file:
        np.lib.format.write_array(file, volume, allow_pickle=False)


def attach(
    split: prepared.Split, paths: Mapping[str, Path], kind: Kind
) -> prepared.Split:
    """`split` with the volumes in `paths`, by patient.

    Raises:
        DatasetError: a patient has no file, or one that is damaged or of another grid.
    """
    for entry in split.patients:
        if entry.patient_id not in paths:
            raise errors.DatasetError(
                f"split {split.name}: {entry.patient_id} has no {kind.in_words}"
            )
        path = paths[entry.patient_id]
        try:
            stored = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise errors.DatasetError(
                f"{kind.in_words} in {path}: the file is missing or damaged ({error}); "
                "delete it, and it is made again"
            ) from error
        if stored.shape != entry.grid.shape or stored.dtype != kind.dtype:
            raise errors.DatasetError(
                f"{kind.in_words} in {path} are {stored.dtype} {stored.shape}, "
                f"expected {np.dtype(kind.dtype)} {entry.grid.shape}; delete the file, "
                "and it is made again"
            )
    return dataclasses.replace(split, source=WithVolumes(split.source, paths, kind))


class WithVolumes:
    """Slices of a split, each with its plane of the patient's volume."""

    def __init__(
        self, source: prepared.Source, paths: Mapping[str, Path], kind: Kind
    ) -> None:
        self._source, self._files, self._kind = source, paths, kind
        self._volume = functools.lru_cache(maxsize=64)(self._open)

    def _open(self, patient: str) -> np.ndarray:
        return np.load(self._files[patient], mmap_mode="r", allow_pickle=False)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> records.Example:
        example = self._source[index]
        plane = self._volume(example["patient"])[example["slice"]]
        example[self._kind.field] = np.array(plane)
        return example
