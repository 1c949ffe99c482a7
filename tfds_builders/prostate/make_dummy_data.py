"""Writes the dummy cohort beside the builder: four patients of a few voxels each.

    python -m tfds_builders.prostate.make_dummy_data

They are DICOM files as a clinic exports them, without data of real patients. Their ROIs
have two kinds of names, with a mapping file. The last patient has no structure set and
is refused; splits.csv assigns the splits.
"""

from pathlib import Path

import numpy as np

from mtl_jax.core import geometry
from mtl_jax.sources.phantom import dicom_cohort, male_pelvis

FOLDER = Path(__file__).parent / "dummy_data"
SPLITS = {"one": "train", "two": "validation", "three": "test", "four": "train"}
MAPPING = """\
"Femoral Head Lef": Femur_L
"Femur_Head_L": Femur_L
"Femoral Head Rig": Femur_R
"Femur_Head_R": Femur_R
"Rectal wall": null
"""
GRID = geometry.Grid((5, 16, 20), (5.0, 4.0, 3.0), (-30.0, -20.0, -10.0))
DOSE_GRID = geometry.Grid((4, 12, 12), (6.0, 5.0, 5.0), (-32.0, -22.0, -9.0))
# First and last voxel (y, x) of each structure's box, in slices 1 to 3.
BOXES = {
    "External": ((1, 1), (14, 18)),
    "Bladder": ((3, 8), (5, 11)),
    "Rectum": ((11, 8), (12, 11)),
    "Rectal_Wall": ((11, 8), (12, 11)),
    "Femur_L": ((6, 15), (9, 17)),
    "Femur_R": ((6, 2), (9, 4)),
    "Prostate": ((7, 8), (9, 11)),
    "PTV_6000": ((6, 7), (10, 12)),
}


def pelvis(seed: int) -> male_pelvis.Pelvis:
    """A body of boxes, with chance values in CT and dose."""
    rng = np.random.default_rng(seed)
    structures = {}
    for name, ((y, x), (last_y, last_x)) in BOXES.items():
        structures[name] = np.zeros(GRID.shape, np.bool_)
        structures[name][1:4, y : last_y + 1, x : last_x + 1] = True
    tissue = rng.integers(-50, 80, GRID.shape)
    ct = np.where(structures["External"], tissue, -1000).astype(np.float32)
    dose = rng.uniform(0, 62, DOSE_GRID.shape).astype(np.float32)
    return male_pelvis.Pelvis(GRID, ct, structures, DOSE_GRID, dose)


def write(folder: Path) -> None:
    """Write the cohort into `folder`."""
    for seed, name in enumerate(SPLITS):
        dicom_cohort.write_patient(
            folder / name,
            pelvis(seed),
            patient_id=f"PHANTOM-{name}",
            naming="tg263" if seed % 2 else "clinic",
        )
    for path in (folder / "four").glob("RS.*"):
        path.unlink()
    rows = "".join(f"{name},{split}\n" for name, split in SPLITS.items())
    (folder / "splits.csv").write_text("patient,split\n" + rows)
    (folder / "mapping.yaml").write_text(MAPPING)


if __name__ == "__main__":
    write(FOLDER)
