"""Generated prostate patients: a CT in HU, contours and a planned dose of a pelvis.

Input: a seed and the number of a patient. Output: a Pelvis, with a plan of 60 Gy on a
dose grid of its own, as planning systems export it. The anatomy is random and
simplified; no real patient's data is in it.
"""

import dataclasses

import numpy as np
from scipy import ndimage

from mtl_jax.core import errors, geometry
from mtl_jax.sources.phantom import male_pelvis_anatomy, planned_dose, tissue_model

SHAPE = (40, 80, 96)
SPACING_MM = (5.0, 3.9, 4.2)
# The extent that a scan needs to hold every body with its organs, and how far from its
# middle they may lie in a larger scan; z, y, x.
NEEDED_MM = (160.0, 250.0, 360.0)
SHIFT_MM = (60.0, 45.0, 60.0)
MIDDLE_Z_MM = 6.0  # middle of the organs in the anatomy's frame

# Names of the structures, in the order of the RTSTRUCT.
STRUCTURES = (
    "External",
    "Bladder",
    "Rectum",
    "Rectal_Wall",
    "Femur_L",
    "Femur_R",
    "Prostate",
    "PTV_6000",
)

PRESCRIPTION_GY = 60.0
DOSE_SPACING_MM = (6.0, 5.1, 5.7)  # z, y, x
PLAN_SPACING_MM = 5.5  # in plane: beams are planned on square slices
# More beams from the sides, as in arcs that spare the rectum and bladder.
GANTRY_DEG = (40, 75, 90, 105, 140, 180, 220, 255, 270, 285, 320)
ORGAN_COST = {"Rectum": 0.03, "Bladder": 0.03, "Femur_L": 0.01, "Femur_R": 0.01}


@dataclasses.dataclass(frozen=True)
class Pelvis:
    """A CT and contours [Z, Y, X] on `grid`, and a dose [Z, Y, X] on `dose_grid`."""

    grid: geometry.Grid
    ct_hu: np.ndarray  # float32, integers from -1000 to 3000
    structures: dict[str, np.ndarray]  # bool, by name in STRUCTURES
    dose_grid: geometry.Grid
    dose_gy: np.ndarray  # float32


def make_pelvis(
    seed: int,
    index: int,
    *,
    shape: tuple[int, int, int] = SHAPE,
    spacing_mm: geometry.Spacing = SPACING_MM,
) -> Pelvis:
    """Patient `index` of the cohort `seed`; the same for the same arguments.

    `shape` and `spacing_mm` (z, y, x) are those of the CT.

    Raises:
        GeometryError: the scan is too small for a pelvis.
    """
    extent_mm = np.multiply(shape, spacing_mm)
    if np.any(extent_mm < NEEDED_MM):
        raise errors.GeometryError(
            f"a scan of {shape} voxels of {spacing_mm} mm covers "
            f"{tuple(extent_mm.tolist())} mm (z, y, x), but a pelvis needs "
            f"{NEEDED_MM} mm; use more or larger voxels"
        )
    rng = np.random.default_rng([seed, index])
    x_mm, y_mm, z_mm = np.round(rng.uniform((-260, -230, -900), (-140, -90, 300)), 1)
    grid = geometry.Grid(shape, spacing_mm, (float(x_mm), float(y_mm), float(z_mm)))
    axes = [np.arange(n) * mm for n, mm in zip(shape, spacing_mm, strict=True)]
    space = _random_pose(rng, extent_mm, spacing_mm).space(*np.ix_(*axes))
    anatomy = male_pelvis_anatomy.generate(rng, space)
    dose_grid = _dose_grid(rng, grid, anatomy.structures)
    return Pelvis(
        grid=grid,
        ct_hu=_scan(rng, anatomy.hu, spacing_mm),
        structures={name: anatomy.structures[name] for name in STRUCTURES},
        dose_grid=dose_grid,
        dose_gy=_plan(rng, anatomy, grid, dose_grid),
    )


def _random_pose(
    rng: np.random.Generator, extent_mm: np.ndarray, spacing_mm: geometry.Spacing
) -> tissue_model.Pose:
    """A pose near the middle of the scan; `extent_mm` and `spacing_mm` are z, y, x."""
    room_mm = np.minimum((extent_mm - NEEDED_MM) / 2, SHIFT_MM)
    middle_mm = (extent_mm - spacing_mm) / 2
    z, y, x = middle_mm + rng.uniform(-room_mm, room_mm)
    turn, tilt, lean = np.radians(rng.uniform((-7, -5, -4), (7, 5, 4)))
    size = rng.uniform(0.92, 1.0) * rng.uniform(0.97, 1.03, 3)
    return tissue_model.Pose(turn, tilt, lean, tuple(size), (x, y, z - MIDDLE_Z_MM))


def _scan(
    rng: np.random.Generator, tissue_hu: np.ndarray, spacing_mm: geometry.Spacing
) -> np.ndarray:
    """The CT of the tissue: blurred, noisy, in integer HU."""
    blur = np.divide((0.0, 1.8, 1.8), spacing_mm)
    hu = ndimage.gaussian_filter(tissue_hu, blur)
    texture = rng.standard_normal(hu.shape, np.float32)
    texture = ndimage.gaussian_filter(texture, np.divide((2.4, 5.0, 5.0), spacing_mm))
    hu += np.where(tissue_hu > -500, texture * (6.0 / texture.std()), 0)
    hu += rng.uniform(5, 10) * rng.standard_normal(hu.shape, np.float32)
    return np.clip(np.rint(hu), -1000, 3000).astype(np.float32)


def _dose_grid(
    rng: np.random.Generator, grid: geometry.Grid, structures: dict[str, np.ndarray]
) -> geometry.Grid:
    """A grid around the body, as high as the organs; no voxel centre is the CT's."""
    body = np.argwhere(structures["External"])
    organs = np.argwhere(
        np.any([structures[n] for n in STRUCTURES if n != "External"], 0)
    )
    low = np.array([organs[:, 0].min(), *body[:, 1:].min(0)]) * grid.spacing_mm
    high = np.array([organs[:, 0].max(), *body[:, 1:].max(0)]) * grid.spacing_mm
    low = np.round(low - rng.uniform(6, 12, 3), 1)
    z, y, x = (low + np.asarray(grid.origin_mm)[::-1]).tolist()
    counts = np.ceil((high + 6 - low) / DOSE_SPACING_MM).astype(int) + 1
    depth, height, width = counts.tolist()
    return geometry.Grid((depth, height, width), DOSE_SPACING_MM, (x, y, z))


def _plan(
    rng: np.random.Generator,
    anatomy: male_pelvis_anatomy.Anatomy,
    grid: geometry.Grid,
    dose_grid: geometry.Grid,
) -> np.ndarray:
    """Dose in Gy on `dose_grid`, planned on square slices at the same heights."""
    sides = np.multiply(dose_grid.shape[1:], dose_grid.spacing_mm[1:])
    side = int(np.ceil(sides.max() / PLAN_SPACING_MM))
    square = geometry.fit_in_plane(dose_grid, (side, side), PLAN_SPACING_MM)

    def onto(volume: np.ndarray) -> np.ndarray:
        return geometry.resample(volume.astype(np.float32), grid, onto=square)

    masks = {name: onto(mask) > 0.5 for name, mask in anatomy.structures.items()}
    density = np.where(anatomy.body, np.clip(1 + anatomy.hu / 1000, 0, 2.2), 0)
    dose = planned_dose.plan(
        density=onto(density),
        body=masks["External"],
        prescription_gy=np.where(masks["PTV_6000"], np.float32(PRESCRIPTION_GY), 0),
        organs=masks,
        spacing_mm=(square.spacing_mm[0], PLAN_SPACING_MM),
        organ_cost=ORGAN_COST,
        gantry_deg=GANTRY_DEG,
    )
    # Scale the plan so that 95 % of the PTV gets at least 57 to 59.5 Gy.
    covered = np.percentile(dose[masks["PTV_6000"]], 5)
    dose = (dose * (rng.uniform(57.0, 59.5) / covered)).astype(np.float32)
    return geometry.resample(dose, square, onto=dose_grid)
