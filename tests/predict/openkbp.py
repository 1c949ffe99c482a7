"""A patient in the challenge's format with a few voxels that are not empty."""

import pathlib

import numpy as np

from mtl_jax.core import geometry, records
from mtl_jax.sources.openkbp import patient_csv

GRID = geometry.Grid(patient_csv.SHAPE, (3.0, 4.0, 4.5))
INSIDE = (slice(60, 66), slice(40, 80), slice(50, 90))


def patient(name: str = "pt_7") -> records.Patient:
    rng = np.random.default_rng(7)
    possible = np.zeros(GRID.shape, bool)
    possible[INSIDE] = True
    ct, dose = np.zeros(GRID.shape, np.float32), np.zeros(GRID.shape, np.float32)
    ct[INSIDE] = rng.integers(900, 1200, ct[INSIDE].shape)
    dose[INSIDE] = rng.integers(1, 70, dose[INSIDE].shape)
    cord, target = np.zeros(GRID.shape, bool), np.zeros(GRID.shape, bool)
    cord[60:66, 60:66, 66:72] = True
    target[61:65, 50:58, 60:80] = True
    structures = {"SpinalCord": cord, "PTV70": target}
    return records.Patient(name, GRID, ct, structures, dose, possible)


def write(folder: pathlib.Path) -> pathlib.Path:
    patient_csv.write_patient(patient(), folder)
    return folder
