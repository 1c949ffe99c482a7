"""Writes the dummy data set beside the builder: five patients of a few voxels each.

    python -m tfds_builders.openkbp.make_dummy_data

The files have the challenge's format, and no data of its patients. The second test
patient lacks a parotid, so cohort `paper` excludes it.
"""

from pathlib import Path

import numpy as np

from mtl_jax.core import geometry, records
from mtl_jax.sources.openkbp import patient_csv

PATIENTS = {
    "train": ("pt_2", "pt_10"),
    "validation": ("pt_201",),
    "test": ("pt_241", "pt_242"),
}
FOLDER = Path(__file__).parent / "dummy_data"
# Corner (z, y, x) of each structure's box of 2 x 2 x 2 voxels, inside the body.
CORNERS = {
    "Brainstem": (62, 62, 63),
    "SpinalCord": (60, 66, 63),
    "RightParotid": (62, 62, 60),
    "LeftParotid": (62, 62, 66),
    "Larynx": (60, 60, 63),
    "PTV70": (60, 62, 60),
}


def patient(patient_id: str, seed: int, without: tuple[str, ...]) -> records.Patient:
    """A body of 4 x 8 x 8 voxels, boxes as organs, random CT and dose values."""
    rng = np.random.default_rng(seed)
    shape = (128, 128, 128)
    body = np.zeros(shape, np.bool_)
    body[60:64, 60:68, 60:68] = True
    ct = np.where(body, rng.integers(950, 1100, shape), 0).astype(np.float32)
    mask = body & (np.arange(128)[:, None, None] < 63)
    dose_gy = np.where(mask, rng.uniform(0, 72, shape).round(3), 0).astype(np.float32)
    structures = {}
    for name, (z, y, x) in CORNERS.items():
        if name not in without:
            structures[name] = np.zeros(shape, np.bool_)
            structures[name][z : z + 2, y : y + 2, x : x + 2] = True
    return records.Patient(
        patient_id=patient_id,
        grid=geometry.Grid(shape=shape, spacing_mm=(2.5, 3.906, 3.906)),
        ct=ct,
        structures=structures,
        dose_gy=dose_gy,
        possible_dose_mask=mask,
    )


def write(folder: Path) -> None:
    """Write `provided-data` with the five patients into `folder`."""
    for split, ids in PATIENTS.items():
        for number, patient_id in enumerate(ids):
            without = ("LeftParotid",) if patient_id == "pt_242" else ()
            made = patient(patient_id, seed=len(split) + number, without=without)
            place = folder / "provided-data" / f"{split}-pats" / patient_id
            patient_csv.write_patient(made, place)


if __name__ == "__main__":
    write(FOLDER)
