"""The slices of a split, packed so that they stay on a device.

Input: a Split, its preprocessing and its random changes. Output: arrays of all its
slices on the network's grid, as they are stored, and for each row of a batch its
position in them and how it is changed: those of `batches.training`. `train.resident`
makes the batch.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tqdm

from mtl_jax.core import roles
from mtl_jax.datasets import prepared
from mtl_jax.pipeline import augment as augmentation
from mtl_jax.pipeline import batches, image_channels, resampling
from mtl_jax.pipeline import preprocess as preprocessing

Arrays = dict[str, np.ndarray]


def training(
    split: prepared.Split,
    walk: batches.Walk,
    preprocess: preprocessing.Preprocess,
    augment: augmentation.Augment | None,
) -> batches.Training:
    """The batches of `walk` over `split`, whose slices are read now.

    A batch has `rows` [b] int32, positions in the table, and `mask` [b], which is 1.
    With random changes it also has `flipped` [b] bool; `inverse` [b, 2, 3] float32 (as
    augment.Change.inverse), if slices may move; and `noise_key` [b, 2] uint32, if there
    is noise: the device draws it from this key, so its values are not the host's.
    """
    indices, around = _slices_and_neighbours(split, walk, preprocess)
    slices = _slices(split, indices, preprocess)
    if around is not None:
        slices["around"] = np.searchsorted(indices, around).astype(np.int32)

    def read(step: int) -> Arrays:
        rows = np.searchsorted(indices, walk.rows(step))
        batch = {"rows": rows.astype(np.int32), "mask": np.ones(walk.local, np.float32)}
        if augment is not None:
            generators = walk.generators(step)
            batch |= _changes(augment, generators, preprocess.image_size)
        return batch

    table = {"slices": slices, "rules": _rules(preprocess, augment)}
    return batches.endless(walk, read, table)


def _slices_and_neighbours(
    split: prepared.Split, walk: batches.Walk, preprocess: preprocessing.Preprocess
) -> tuple[np.ndarray, np.ndarray | None]:
    """The slices [n] that the walk or a slice of it needs, and the neighbours [n, K].

    A slice that is not in the walk is its own neighbour: nothing reads them.
    """
    indices = np.unique(walk.indices)
    if not preprocess.further.neighbours:
        return indices, None
    owner = batches.patient_of_slice(split)
    around = np.array(
        [
            batches.neighbours(i, split.patients[owner[i]], preprocess.further)
            for i in indices.tolist()
        ]
    )
    every = np.unique(np.append(indices, around))
    found = np.repeat(every[:, None], around.shape[1], axis=1)
    found[np.searchsorted(every, indices)] = around
    return every, found


def _changes(
    augment: augmentation.Augment,
    generators: Sequence[np.random.Generator],
    size: tuple[int, ...],
) -> Arrays:
    """How each row is changed."""
    drawn = [augment.draw(generator) for generator in generators]
    made = {"flipped": np.array([change.flipped for change in drawn])}
    if augment.may_move:
        inverses = [change.inverse(size) for change in drawn]
        made["inverse"] = np.stack(inverses).astype(np.float32)
    if augment.ct_noise:
        keys = [generator.integers(1 << 32, size=2) for generator in generators]
        made["noise_key"] = np.stack(keys).astype(np.uint32)
    return made


def _slices(
    split: prepared.Split, indices: np.ndarray, preprocess: preprocessing.Preprocess
) -> Arrays:
    """Arrays [n, ...] of the slices at `indices`, which are sorted."""
    owner = batches.patient_of_slice(split)
    columns: dict[str, list[Any]] = {}
    for index in tqdm.tqdm(indices.tolist(), desc="slices for the device"):
        example = preprocess.resample(split.source[index])
        patient = int(owner[index])
        row = {
            "ct": example["ct"],
            "masks": example["masks"],
            "dose": example["dose_gy"] / np.float32(preprocess.prescription_gy),
            "present": np.asarray(example["present"], np.float32),
            "has_dose": np.float32(example["has_dose"]),
            "mask_known": np.bool_(split.patients[patient].has_mask),
            "patient": np.int32(patient),
            "slice": np.int32(example["slice"]),
        }
        if key := roles.INPUTS[preprocess.beside_ct].masks:
            row["beside"] = dict(example)[key]
        if preprocess.further.target_distance_mm:
            row["target_distance"] = dict(example)["target_distance"]
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    return {name: np.stack(columns.pop(name)) for name in list(columns)}


def _rules(
    preprocess: preprocessing.Preprocess, augment: augmentation.Augment | None
) -> Arrays:
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
        "air": np.asarray(resampling.air(preprocess.site), np.float32),
    }
    if preprocess.all_structures:
        rules["site"] = np.arange(len(preprocess.site.names), dtype=np.uint16)
    for group in preprocess.groups:
        if isinstance(group, image_channels.BesideCt) and group.values.shape[1]:
            rules["beside"] = group.values  # [65536, n]
        if isinstance(group, image_channels.TargetDistance):
            rules["distance_scale"] = np.asarray(group.scale)
    if augment is not None:
        rules["mirrored"] = augment.mirrored.astype(np.int32)
        rules["mirrored_bits"] = augment.mirrored_bits
        rules["noise"] = np.asarray(augment.noise)
    return rules
