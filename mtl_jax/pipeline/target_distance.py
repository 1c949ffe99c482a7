"""The signed distance to the targets' surface, in 3D (not in the paper).

Input: a patient's masks as a data set stores them. Output: [Z, Y, X] int16 in units of
0.1 mm; positive outside the targets, negative inside. For a split it is computed once
and kept in a `.npy` file for each patient.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tqdm

from mtl_jax.core import files, geometry, locks, sites
from mtl_jax.datasets import prepared
from mtl_jax.pipeline import stored_volumes

UNIT_MM = 0.1
# The largest distance, inside and outside; everywhere in a patient without a target.
FAR_MM = 500.0
FOLDER = "target_distance"
KIND = stored_volumes.Kind("target_distance", np.int16, "distances to the targets")


def compute(
    masks: np.ndarray, spacing_mm: geometry.Spacing, site: sites.Site
) -> np.ndarray:
    """[Z, Y, X] int16, 0.1 mm: the distance to the surface of the site's targets.

    Outside the union of all targets it is the distance to the nearest voxel inside,
    inside it is minus the distance to the nearest voxel outside, both from centre to
    centre and at most FAR_MM.

    Args:
        masks: [Z, Y, X] uint16, the bits of core/records.Example.masks.
        spacing_mm: z, y, x.
        site: says which structures are targets.
    """
    targets = _is_target(masks, site)
    far = round(FAR_MM / UNIT_MM)
    if targets.all() or not targets.any():
        return np.full(masks.shape, -far if targets.all() else far, np.int16)
    distance_mm = geometry.signed_distance_mm(targets, spacing_mm)
    return np.clip(np.rint(distance_mm / UNIT_MM), -far, far).astype(np.int16)


def _is_target(masks: np.ndarray, site: sites.Site) -> np.ndarray:
    targets = [structure.target_gy is not None for structure in site.structures]
    return (masks & np.uint16(sum(1 << bit for bit in np.flatnonzero(targets)))) > 0


def attach(split: prepared.Split, folder: Path, fingerprint: str) -> prepared.Split:
    """`split` whose examples also have `target_distance`.

    Patients without a file in `folder` get one. Several processes may call this at the
    same time. `fingerprint` is that of the data set.
    """
    paths = _paths(split, folder, fingerprint)
    if not all(path.exists() for path in paths.values()):
        advice = "give another --workdir"
        with locks.held(folder, advice, wait=True):
            _compute_missing(split, paths)
    return stored_volumes.attach(split, paths, KIND)


def _paths(split: prepared.Split, folder: Path, fingerprint: str) -> dict[str, Path]:
    """The file of each patient; another one if the data or the targets differ."""
    targets = [s.name for s in split.site.structures if s.target_gy is not None]
    basis = {"data": fingerprint, "targets": targets, "far_mm": FAR_MM}
    home = folder / files.json_digest(basis)[:16] / split.name
    ids = [entry.patient_id for entry in split.patients]
    return {patient_id: home / f"{patient_id}.npy" for patient_id in ids}


def _compute_missing(split: prepared.Split, paths: Mapping[str, Path]) -> None:
    missing = [e for e in split.patients if not paths[e.patient_id].exists()]
    description = f"distances to the targets, {split.name}"
    for entry in tqdm.tqdm(missing, desc=description, unit="pt"):
        run = range(entry.start, entry.start + entry.slices)
        masks = np.stack([split.source[index]["masks"] for index in run])
        volume = compute(masks, entry.grid.spacing_mm, split.site)
        stored_volumes.save(volume, paths[entry.patient_id])
