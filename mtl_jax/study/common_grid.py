"""Patients whose CTs differ in shape, laid on each other by their CTs' centres.

Goes in: a patient, or a volume of a cohort. Comes out: the patient on the cohort's one
grid, or the volume read at a patient's voxels. No image is looked at.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mtl_jax.core import geometry, records

# Finer voxels make a mean over patients no sharper, only larger.
FINEST_MM = 3.0


def covering(grids: Sequence[geometry.Grid]) -> geometry.Grid:
    """A grid of the median spacing, at least 3 mm, that covers each of `grids`."""
    spacings = np.array([grid.spacing_mm for grid in grids])
    sizes = spacings * np.array([grid.shape for grid in grids])
    spacing = np.maximum(np.median(spacings, axis=0), FINEST_MM)
    shape = np.ceil(sizes.max(axis=0) / spacing - 1e-6).astype(int)
    z, y, x = shape.tolist()
    return geometry.Grid((z, y, x), tuple(spacing.tolist()))


def lay(patient: records.Patient, onto: geometry.Grid) -> records.Patient:
    """`patient` on the grid `onto`, its CT left out (zeros).

    Its possible-dose mask ends with its CT.
    """

    def mask(volume: np.ndarray) -> np.ndarray:
        return read(volume, patient.grid, at=onto, order=0)

    covers = patient.possible_dose_mask
    dose_gy = patient.dose_gy
    if dose_gy is not None:
        dose_gy = read(dose_gy, patient.grid, at=onto, order=1)
    return records.Patient(
        patient_id=patient.patient_id,
        grid=onto,
        ct=np.zeros(onto.shape, np.float32),
        structures={name: mask(one) for name, one in patient.structures.items()},
        dose_gy=dose_gy,
        possible_dose_mask=mask(
            np.ones(patient.grid.shape, bool) if covers is None else covers
        ),
    )


def read(
    volume: np.ndarray, grid: geometry.Grid, *, at: geometry.Grid, order: int
) -> np.ndarray:
    """`volume` [Z, Y, X] on `grid` at the voxels of `at`, centre on centre; else 0."""
    return geometry.resample(volume, _centred(grid), _centred(at), order=order)


def _centred(grid: geometry.Grid) -> geometry.Grid:
    """The grid with its centre at 0 mm."""
    size = (np.array(grid.shape) - 1) * np.array(grid.spacing_mm)
    z, y, x = (-size / 2).tolist()
    return dataclasses.replace(grid, origin_mm=(x, y, z), direction=geometry.CANONICAL)
