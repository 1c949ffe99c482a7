"""The slices of a split, packed so that they stay on a device.

Input: a Split and its preprocessing. Output: arrays of all its slices on the network's
grid, as they are stored, and the positions of a batch's rows in them: of the batches
that `batches.training` would make without augmentation. `train.resident` unpacks them.
"""

import dataclasses
from typing import Any

import numpy as np
import tqdm

from mtl_jax.core import errors, roles
from mtl_jax.datasets import prepared
from mtl_jax.pipeline import batches, image_channels
from mtl_jax.pipeline import preprocess as preprocessing

Arrays = dict[str, np.ndarray]


def training(
    split: prepared.Split, walk: batches.Walk, preprocess: preprocessing.Preprocess
) -> batches.Training:
    """The batches of `walk` over `split`, whose slices are read now.

    A batch has `rows` [b] int32, positions in the table, and `mask` [b], which is 1.

    Raises:
        ConfigError: the image has channels that this does not know.
    """
    further = preprocess.further
    if further.neighbours or further.target_distance_mm:
        raise errors.ConfigError(
            "data.on_device is True, which knows no data.neighbours and no "
            "data.target_distance_mm: set it to False"
        )
    indices = np.unique(walk.indices)
    slices = _slices(split, indices, preprocess)

    def read(step: int) -> Arrays:
        rows = np.searchsorted(indices, walk.rows(step))
        return {"rows": rows.astype(np.int32), "mask": np.ones(walk.local, np.float32)}

    table = {"slices": slices, "rules": _rules(preprocess)}
    return batches.endless(walk, read, table)


def _slices(
    split: prepared.Split, indices: np.ndarray, preprocess: preprocessing.Preprocess
) -> Arrays:
    """Arrays [n, ...] of the slices at `indices`, which are sorted."""
    owner = batches.patient_of_slice(split)
    columns: dict[str, list[Any]] = {}
    for index in tqdm.tqdm(indices.tolist(), desc="slices for the device"):
        example = preprocess.resample(split.source[index])
        patient = int(owner[index])
        structures = preprocess.bits.structure_indices
        row = {
            "ct": example["ct"],
            "masks": example["masks"],
            "dose": example["dose_gy"] / np.float32(preprocess.prescription_gy),
            "present": np.asarray(example["present"], np.float32)[structures],
            "has_dose": np.float32(example["has_dose"]),
            "mask_known": np.bool_(split.patients[patient].has_mask),
            "patient": np.int32(patient),
            "slice": np.int32(example["slice"]),
        }
        if key := roles.INPUTS[preprocess.beside_ct].masks:
            row["beside"] = dict(example)[key]
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    return {name: np.stack(columns.pop(name)) for name in list(columns)}


def _rules(preprocess: preprocessing.Preprocess) -> Arrays:
    """What a slice's row of a batch depends on."""
    bits = preprocess.bits
    windows = [
        dataclasses.astuple(group.window)
        for group in preprocess.groups
        if isinstance(group, image_channels.CtSlice)
    ]
    rules = {
        "windows": np.array(windows, np.float32),  # [w, 5]
        "structures": bits.structure_indices.astype(np.uint16),
        "possible": np.asarray(bits.possible_bit),
    }
    if preprocess.all_structures:
        rules["site"] = np.arange(len(preprocess.site.names), dtype=np.uint16)
    for group in preprocess.groups:
        if isinstance(group, image_channels.BesideCt) and group.values.shape[1]:
            rules["beside"] = group.values  # [65536, n]
    return rules
