"""Generated prostate patients: a seed goes in, the volumes of a pelvis come out.

A cartoon with a CT in HU, contours and a plan of 60 Gy on a grid of its own, as a
planning system would export them, and no patient's data in it.
"""

import dataclasses

import numpy as np
from scipy import ndimage

from mtl_jax.core import errors, geometry
from mtl_jax.sources.phantom import male_pelvis_anatomy, patient_frame, planned_dose

SHAPE = (40, 80, 96)
SPACING_MM = (5.0, 3.9, 4.2)
# What a scan must cover to hold every body with its organs, and how far from the
# middle a larger scan may have them; z, y, x.
NEEDED_MM = (160.0, 250.0, 360.0)
SHIFT_MM = (60.0, 45.0, 60.0)
MIDDLE_Z_MM = 6.0  # height in the anatomy's frame about which the organs lie

# Names of the structures, in the order in which they are written.
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
# More beams from the sides, as an arc that spares rectum and bladder has them.
GANTRY_DEG = (40, 75, 90, 105, 140, 180, 220, 255, 270, 285, 320)
ORGAN_COST = {"Rectum": 0.03, "Bladder": 0.03, "Femur_L": 0.01, "Femur_R": 0.01}


@dataclasses.dataclass(frozen=True)
class Pelvis:
    """A CT with contours [Z, Y, X], and a dose on another grid [Z, Y, X]."""

    grid: geometry.Grid
    ct_hu: np.ndarray  # float32, whole numbers from -1000 to 3000
    structures: dict[str, np.ndarray]  # bool, by the names of STRUCTURES
    dose_grid: geometry.Grid
    dose_gy: np.ndarray  # float32


def make_pelvis(
    seed: int,
    index: int,
    *,
    shape: tuple[int, int, int] = SHAPE,
    spacing_mm: geometry.Spacing = SPACING_MM,
) -> Pelvis:
    """Phantom `index` of the cohort `seed`, the same whenever it is asked for.

    `shape` and `spacing_mm` (z, y, x) are the scan's.

    Raises:
        GeometryError: the scan is too small for a pelvis.
    """
    extent_mm = np.multiply(shape, spacing_mm)
    if np.any(extent_mm < NEEDED_MM):
        raise errors.GeometryError(
            f"a scan of {shape} voxels of {spacing_mm} mm covers "
            f"{tuple(extent_mm.tolist())} mm (z, y, x), a pelvis needs {NEEDED_MM}"
        )
    rng = np.random.default_rng([seed, index])
    x_mm, y_mm, z_mm = np.round(rng.uniform((-260, -230, -900), (-140, -90, 300)), 1)
    grid = geometry.Grid(shape, spacing_mm, (float(x_mm), float(y_mm), float(z_mm)))
    axes = [np.arange(n) * mm for n, mm in zip(shape, spacing_mm, strict=True)]
    space = _draw_pose(rng, extent_mm, spacing_mm).space(*np.ix_(*axes))
    anatomy = male_pelvis_anatomy.draw_anatomy(rng, space)
    dose_grid = _dose_grid(rng, grid, anatomy.structures)
    return Pelvis(
        grid=grid,
        ct_hu=_scan(rng, anatomy.hu, spacing_mm),
        structures={name: anatomy.structures[name] for name in STRUCTURES},
        dose_grid=dose_grid,
        dose_gy=_plan(rng, anatomy, grid, dose_grid),
    )


def _draw_pose(
    rng: np.random.Generator, extent_mm: np.ndarray, spacing_mm: geometry.Spacing
) -> patient_frame.Pose:
    """A pose somewhere around the middle of the scan; lengths are z, y, x."""
    room_mm = np.minimum((extent_mm - NEEDED_MM) / 2, SHIFT_MM)
    middle_mm = (extent_mm - spacing_mm) / 2
    z, y, x = middle_mm + rng.uniform(-room_mm, room_mm)
    turn, tilt, lean = np.radians(rng.uniform((-7, -5, -4), (7, 5, 4)))
    size = rng.uniform(0.92, 1.0) * rng.uniform(0.97, 1.03, 3)
    return patient_frame.Pose(turn, tilt, lean, tuple(size), (x, y, z - MIDDLE_Z_MM))


def _scan(
    rng: np.random.Generator, tissue_hu: np.ndarray, spacing_mm: geometry.Spacing
) -> np.ndarray:
    """The tissue as a scanner shows it: blurred, noisy, in whole HU."""
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
    """A grid about the body, as high as the organs, with no voxel in common."""
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

    masks = {n: onto(mask) > 0.5 for n, mask in anatomy.structures.items()}
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
    # Plans are scaled so that 95 % of the PTV gets 57 to 59.5 Gy.
    covered = np.percentile(dose[masks["PTV_6000"]], 5)
    dose = (dose * (rng.uniform(57.0, 59.5) / covered)).astype(np.float32)
    return geometry.resample(dose, square, onto=dose_grid)
