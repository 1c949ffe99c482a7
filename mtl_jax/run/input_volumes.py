"""The splits of a run, with the volumes that its role is given beside them.

Input: a data set, and a configuration. Output: splits whose examples also have
predicted contours or distances to the targets, where the role takes them.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import ml_collections

from mtl_jax.core import errors, roles
from mtl_jax.datasets import prepared
from mtl_jax.pipeline import image_channels, predicted_contours, target_distance


def further_channels(config: ml_collections.ConfigDict) -> image_channels.Further:
    """The image's channels after those of the role."""
    data, role_input = config.data, roles.get(config.role).input
    return image_channels.Further(
        ct_second_window=tuple(data.ct_second_window),
        neighbours=data.neighbours,
        neighbour_mm=data.neighbour_mm,
        # For a role that does not see the targets, the key has no effect.
        target_distance_mm=data.target_distance_mm * role_input.shows_targets,
    )


def open_split(
    name: str,
    config: ml_collections.ConfigDict,
    data: prepared.Prepared,
    *,
    workdir: Path,
    contours: Mapping[str, Mapping[str, Path]],
) -> prepared.Split:
    """The split `name` of `data`, with the volumes that the role of `config` takes.

    Distances to the targets are computed if they are missing. They are kept beside the
    data, for all runs on them, or in `workdir` if the data's folder is read-only.
    `contours` has files by split and patient.

    Raises:
        DatasetError: the data set has no such split.
    """
    if name not in data.splits:
        raise errors.DatasetError(
            f"the data set has no {name} split, only {', '.join(data.splits)}; build "
            "it from a source that has one"
        )
    split = data.splits[name]
    if roles.get(config.role).input.contoured_by:
        split = predicted_contours.attach(split, contours[name])
    if further_channels(config).target_distance_mm:
        writable = os.access(data.path, os.W_OK)
        folder = (data.path if writable else workdir) / target_distance.FOLDER
        split = target_distance.attach(split, folder, data.fingerprint)
    return split
