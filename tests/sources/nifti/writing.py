"""NIfTI files for tests, written by nibabel alone in any orientation; data sets."""

import json

import nibabel
import numpy as np
from nibabel import orientations

from tfds_builders.prostate import make_dummy_data

# Label values of the dummy patients: PTV_6000 has the prostate inside.
VALUES = {"Bladder": 1, "Rectum": 2, "Femur_L": 3, "Femur_R": 4, "Prostate": 5}
RING = 6
REGIONS = {"background": 0, **VALUES, "PTV_6000": [5, RING]}


def image(volume, grid, codes="LPS"):
    """`volume` [Z, Y, X] on `grid` whose axes run to `codes`, reordered by nibabel."""
    z, y, x = grid.spacing_mm
    affine = np.diag([-x, -y, z, 1.0])
    affine[:3, 3] = np.multiply(grid.origin_mm, (-1, -1, 1))
    plain = nibabel.Nifti1Image(np.ascontiguousarray(volume.transpose(2, 1, 0)), affine)
    turn = orientations.ornt_transform(
        orientations.io_orientation(affine), orientations.axcodes2ornt(codes)
    )
    return plain.as_reoriented(turn)


def write(path, volume, grid, codes="LPS"):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image(volume, grid, codes), path)
    return path


def labels(pelvis):
    """The label map of a dummy patient, uint8."""
    values = np.where(pelvis.structures["PTV_6000"], RING, 0).astype(np.uint8)
    for name, value in VALUES.items():
        values[pelvis.structures[name]] = value
    return values


def write_case(folder, name, seed, codes="LPS", part="Tr", *, ct_name=None):
    """The three files of the dummy patient `seed` in nnU-Net's folders."""
    pelvis = make_dummy_data.pelvis(seed)
    ct = pelvis.ct_hu.astype(np.int16)
    ct_name = ct_name or f"{name}_0000"
    write(folder / f"images{part}" / f"{ct_name}.nii.gz", ct, pelvis.grid, codes)
    map_ = labels(pelvis)
    write(folder / f"labels{part}" / f"{name}.nii.gz", map_, pelvis.grid, codes)
    dose, grid = pelvis.dose_gy, pelvis.dose_grid
    write(folder / f"doses{part}" / f"{name}.nii.gz", dose, grid, codes[::-1])


def nnunet(folder, **changes):
    """dataset.json of nnU-Net with `changes`."""
    content = {
        "channel_names": {"0": "CT"},
        "labels": REGIONS,
        "numTraining": 3,
        "file_ending": ".nii.gz",
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps({**content, **changes}))
    return folder
