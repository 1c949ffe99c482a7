"""Generated head-and-neck patients in the form of the OpenKBP challenge.

Input: a seed and the number of a patient. Output: a Patient with the challenge's ten
structures, stored CT values and kind of plans; or a cohort of them as CSV files. The
anatomy is random and simplified, but contours and dose can be learnt from the image. No
real patient's data is in it.
"""

from pathlib import Path

import numpy as np
from scipy import ndimage

from mtl_jax.core import geometry, records, sites
from mtl_jax.sources.openkbp import patient_csv
from mtl_jax.sources.phantom import (
    generated_folder,
    head_and_neck_anatomy,
    planned_dose,
    tissue_model,
)

# Increase it when the patients of a seed change: older cohorts are then not reused.
VERSION = 2

SITE = sites.OPENKBP
SHAPE = (128, 128, 128)
FIELD_MM = 236.0  # side of the square around the head that holds the body
PLAN_MARGIN_MM = 14.0  # dose is possible so far beyond the targets' slices

# Probability that a structure is not contoured. Of the four that networks learn to
# contour, at most one is missing.
MISSING_ONE_OF_FOUR = 0.2
MISSING = {"Esophagus": 0.5, "Larynx": 0.45, "Mandible": 0.3}


def make_patient(seed: int, index: int) -> records.Patient:
    """Patient `index` of the cohort `seed`; the same for the same arguments."""
    rng = np.random.default_rng([seed, index])
    in_plane_mm = float(np.round(rng.uniform(4.1, 4.3), 3))
    spacing_mm = (float(np.round(rng.uniform(3.0, 3.3), 3)), in_plane_mm, in_plane_mm)
    grid = geometry.Grid(SHAPE, spacing_mm)
    pose = _random_pose(rng, grid)
    window = _window(rng, grid, pose)
    z, y, x = np.ogrid[window]
    space = pose.space(z * spacing_mm[0], y * in_plane_mm, x * in_plane_mm)
    anatomy = head_and_neck_anatomy.generate(rng, space)
    targets = head_and_neck_anatomy.add_disease(anatomy)
    dose_gy, possible = _plan(rng, anatomy, targets, spacing_mm)

    def embed(part: np.ndarray) -> np.ndarray:
        volume = np.zeros(SHAPE, part.dtype)
        volume[window] = part
        return volume

    contoured = _some_contoured(rng, anatomy.organs | targets)
    return records.Patient(
        patient_id=f"pt_{index}",
        grid=grid,
        ct=embed(_scan(rng, anatomy)),
        structures={
            name: embed(contoured[name]) for name in SITE.names if name in contoured
        },
        dose_gy=embed(dose_gy),
        possible_dose_mask=embed(possible),
    )


def _random_pose(rng: np.random.Generator, grid: geometry.Grid) -> tissue_model.Pose:
    """A pose with the skull base near the middle of `grid`."""
    middle_mm = (np.asarray(grid.shape) - 1) / 2 * np.asarray(grid.spacing_mm)
    shift_mm = rng.uniform((-60, -42, -42), (90, 42, 42))
    z, y, x = middle_mm + shift_mm
    turn, tilt, lean = np.radians(rng.uniform((-20, -6, -4), (20, 6, 4)))
    size = rng.uniform(0.86, 1.03) * rng.uniform(0.96, 1.04, 3)
    return tissue_model.Pose(turn, tilt, lean, tuple(size), (x, y + 24.0, z))


def _window(
    rng: np.random.Generator, grid: geometry.Grid, pose: tissue_model.Pose
) -> tuple[slice, slice, slice]:
    """The part of `grid` that holds the scanned slices and, in them, the head."""
    x, y, z = pose.origin_mm
    foot_mm, head_mm = rng.uniform((-90, 46), (-76, 60)) * pose.size[2]
    dz, dy, dx = grid.spacing_mm
    side = round(FIELD_MM / dy)
    first = round((z + foot_mm) / dz)
    last = round((z + head_mm) / dz)
    row, column = round((y - 24) / dy) - side // 2, round(x / dx) - side // 2
    limit = SHAPE[1] - side
    row, column = int(np.clip(row, 0, limit)), int(np.clip(column, 0, limit))
    return (
        slice(max(first, 0), min(last, SHAPE[0])),
        slice(row, row + side),
        slice(column, column + side),
    )


def _scan(
    rng: np.random.Generator, anatomy: head_and_neck_anatomy.Anatomy
) -> np.ndarray:
    """Stored CT values: integers, HU + offset, 0 outside the body."""
    shape = anatomy.hu.shape
    hu = ndimage.gaussian_filter(np.clip(anatomy.hu, -1000, 3000), (0, 0.45, 0.45))
    texture = rng.standard_normal(shape, np.float32)
    texture = ndimage.gaussian_filter(texture, (0.8, 1.4, 1.4))
    texture *= 8.0 / texture.std()
    hu += texture + rng.uniform(6, 11) * rng.standard_normal(shape, np.float32)
    stored = np.clip(np.rint(hu + SITE.ct_offset_hu), 1, 4095)
    return np.where(anatomy.body, stored, 0).astype(np.float32)


def _plan(
    rng: np.random.Generator,
    anatomy: head_and_neck_anatomy.Anatomy,
    targets: dict[str, np.ndarray],
    spacing_mm: geometry.Spacing,
) -> tuple[np.ndarray, np.ndarray]:
    """Dose in Gy, and the mask of where dose is possible; both [Z, Y, X]."""
    prescription = np.zeros(anatomy.hu.shape, np.float32)
    for name, mask in targets.items():
        target_gy = SITE.structure(name).target_gy
        assert target_gy is not None
        prescription[mask] = target_gy
    treated = np.flatnonzero(prescription.any((1, 2)))
    margin = round(PLAN_MARGIN_MM / spacing_mm[0])
    reach = slice(max(treated[0] - margin, 0), treated[-1] + margin + 1)
    dose = np.zeros_like(prescription)
    dose[reach] = planned_dose.plan(
        density=np.clip(1 + anatomy.hu[reach] / 1000, 0, 2.2) * anatomy.body[reach],
        body=anatomy.body[reach],
        prescription_gy=prescription[reach],
        organs={name: mask[reach] for name, mask in anatomy.organs.items()},
        spacing_mm=(spacing_mm[0], spacing_mm[1]),
    )
    # Scale the plan so that about 95 % of PTV70 gets the prescription.
    covered = np.percentile(dose[targets["PTV70"]], 5)
    dose *= rng.uniform(68.5, 70.5) / covered
    possible = np.zeros_like(anatomy.body)
    possible[reach] = anatomy.body[reach]
    return np.round(dose.astype(np.float64), 3).astype(np.float32), possible


def _some_contoured(
    rng: np.random.Generator, structures: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The structures in the scan, without those that are left uncontoured."""
    missing = {name for name, rate in MISSING.items() if rng.random() < rate}
    if rng.random() < MISSING_ONE_OF_FOUR:
        missing.add(SITE.contoured[rng.integers(len(SITE.contoured))])
    return {
        name: structures[name]
        for name in SITE.names
        if name in structures and name not in missing and structures[name].any()
    }


def write_cohort(
    folder: Path,
    *,
    seed: int,
    train: int,
    validation: int,
    test: int,
    workers: int = 1,
) -> None:
    """Write phantoms into `folder`/provided-data as the challenge's CSV files.

    `train`, `validation` and `test` are numbers of patients; `workers` is a number of
    processes. The folder appears when all patients are written. A folder that holds
    the same cohort is left as it is.

    Raises:
        SourceError: the folder holds something else.
    """
    counts = {"train": train, "validation": validation, "test": test}
    stamp = {"generator": VERSION, "seed": seed, "patients": counts}
    splits = [split for split, count in counts.items() for _ in range(count)]
    tasks = [
        (f"provided-data/{split}-pats/pt_{index}", seed, index)
        for index, split in enumerate(splits, 1)
    ]
    generated_folder.write(folder, stamp, _write_patient, tasks, workers=workers)


def _write_patient(folder: Path, seed: int, index: int) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    patient_csv.write_patient(make_patient(seed, index), folder)
