"""The volumes that a role is given beside what a data set stores.

Input: a split of a data set, and a configuration. Output: the split whose examples also
have predicted contours or distances to the targets, where the role takes them.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import ml_collections

from mtl_jax.core import roles
from mtl_jax.datasets import prepared
from mtl_jax.pipeline import predicted_contours, target_distance


def target_distance_mm(config: ml_collections.ConfigDict) -> float:
    """`data.target_distance_mm`, or 0 for a role that does not see the targets."""
    shown = roles.get(config.role).input.shows_targets
    return config.data.target_distance_mm if shown else 0.0


def attach(
    split: prepared.Split,
    config: ml_collections.ConfigDict,
    data: prepared.Prepared,
    *,
    workdir: Path,
    contours: Mapping[str, Mapping[str, Path]],
) -> prepared.Split:
    """`split` of `data`, with the volumes that the role of `config` takes.

    Distances to the targets are computed if they are missing. They are kept beside the
    data, for all runs on them, or in `workdir` if the data's folder is read-only.
    `contours` has files by split and patient.
    """
    if roles.get(config.role).input.contoured_by:
        split = predicted_contours.attach(split, contours[split.name])
    if target_distance_mm(config):
        writable = os.access(data.path, os.W_OK)
        folder = (data.path if writable else workdir) / target_distance.FOLDER
        split = target_distance.attach(split, folder, data.fingerprint)
    return split
