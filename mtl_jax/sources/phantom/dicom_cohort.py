"""Generated prostate patients as DICOM-RT files.

Input: a seed and a number of patients, or one Pelvis. Output: a folder for each patient
with its CT series, RTSTRUCT and RTDOSE, as a planning system exports them. Names and
ids say that the patient is a phantom.
"""

from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dataset, uid

from mtl_jax import __version__
from mtl_jax.core import errors, geometry
from mtl_jax.sources.phantom import (
    dicom_contours,
    dicom_images,
    generated_folder,
    male_pelvis,
)

# Increase it when the files of a seed change: older cohorts are then not reused.
VERSION = 1

# ROI names by structure: after AAPM TG-263, or as clinics write them; each patient gets
# one of the latter at random. At most 16 characters: some systems cut off the rest.
NAMINGS = {
    "tg263": {name: (name,) for name in male_pelvis.STRUCTURES},
    "clinic": {
        "External": ("BODY", "External", "Skin"),
        "Bladder": ("Bladder", "BLADDER", "bladder"),
        "Rectum": ("Rectum", "RECTUM", "rectum"),
        "Rectal_Wall": ("Rectal wall", "RectumWall"),
        "Femur_L": ("Femoral Head Lef", "Lt Femur", "LeftFemur", "Femur_Head_L"),
        "Femur_R": ("Femoral Head Rig", "Rt Femur", "RightFemur", "Femur_Head_R"),
        "Prostate": ("Prostate", "PROSTATE", "prostate"),
        "PTV_6000": ("PTV", "PTV60", "PTV 60Gy"),
    },
}


def write_patient(
    folder: Path,
    pelvis: male_pelvis.Pelvis,
    *,
    patient_id: str,
    position: str = "HFS",
    naming: str = "tg263",
) -> None:
    """Write a phantom's CT series, RTSTRUCT and RTDOSE into the new folder `folder`.

    `patient_id`, `position` (HFS, HFP, FFS or FFP) and `naming` (one of NAMINGS)
    determine all UIDs. Files are named by UID, so not in the order of the slices.

    Raises:
        ConfigError: `position` or `naming` is unknown.
        SourceError: `folder` is not empty.
    """
    _check_options(position, naming)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise errors.SourceError(
            "the folder for the phantom patient is not empty; move it away, or choose "
            "another folder"
        )
    identity = dicom_images.Identity(patient_id, position, naming)
    names = _choose_names(identity)
    with generated_folder.scratch(folder) as new_folder:
        for ct in dicom_images.ct_slices(pelvis, identity):
            _save(new_folder, "CT", ct, uid.ExplicitVRLittleEndian)
        contours = dicom_contours.structure_set(pelvis, identity, names)
        # With an explicit VR, an element is too short for a long contour.
        _save(new_folder, "RS", contours, uid.ImplicitVRLittleEndian)
        dose = dicom_images.rt_dose(pelvis, identity)
        _save(new_folder, "RD", dose, uid.ExplicitVRLittleEndian)
        new_folder.rename(folder)


def write_cohort(
    folder: Path,
    *,
    seed: int,
    patients: int,
    workers: int = 1,
    position: str = "HFS",
    naming: str = "tg263",
    shape: tuple[int, int, int] = male_pelvis.SHAPE,
    spacing_mm: geometry.Spacing = male_pelvis.SPACING_MM,
) -> None:
    """Write a cohort of phantoms into `folder`, each into a folder of its own.

    `patients` is the number of patients, `workers` that of processes; `shape` and
    `spacing_mm` (z, y, x) are those of the CTs; see `write_patient` for the others. The
    folder appears when all patients are written. A folder that holds the same cohort is
    left as it is.

    Raises:
        ConfigError: `position` or `naming` is unknown.
        GeometryError: the scan is too small for a pelvis.
        SourceError: the folder holds something else.
    """
    _check_options(position, naming)
    scan = {"shape": list(shape), "spacing_mm": list(spacing_mm)}
    options: dict[str, Any] = {"position": position, "naming": naming} | scan
    stamp = {"generator": VERSION, "seed": seed, "patients": patients} | options
    tasks = [
        (name_patient(seed, index), seed, index, position, naming, shape, spacing_mm)
        for index in range(1, patients + 1)
    ]
    generated_folder.write(folder, stamp, _make_patient, tasks, workers=workers)


def name_patient(seed: int, index: int) -> str:
    """Id and folder name of patient `index` of the cohort `seed`."""
    return f"PHANTOM-{seed}-{index:03d}"


def _make_patient(
    folder: Path,
    seed: int,
    index: int,
    position: str,
    naming: str,
    shape: tuple[int, int, int],
    spacing_mm: geometry.Spacing,
) -> None:
    pelvis = male_pelvis.make_pelvis(seed, index, shape=shape, spacing_mm=spacing_mm)
    write_patient(
        folder,
        pelvis,
        patient_id=name_patient(seed, index),
        position=position,
        naming=naming,
    )


def _check_options(position: str, naming: str) -> None:
    known = {"position": dicom_images.POSITIONS, "naming": NAMINGS}
    for option, value in (("position", position), ("naming", naming)):
        if value not in known[option]:
            raise errors.ConfigError(
                f"unknown {option} {value!r}{errors.nearest(value, known[option])}; "
                f"expected one of {', '.join(known[option])}"
            )


def _choose_names(identity: dicom_images.Identity) -> dict[str, str]:
    """The names of this patient's ROIs, by structure."""
    rng = np.random.default_rng(list(identity.patient_id.encode()))
    return {
        structure: names[rng.integers(len(names))]
        for structure, names in NAMINGS[identity.naming].items()
    }


def _save(
    folder: Path, prefix: str, dicom: dataset.Dataset, transfer_syntax: uid.UID
) -> None:
    """Write `dicom` into `folder`, named by `prefix` and its UID."""
    meta = dataset.FileMetaDataset()
    meta.TransferSyntaxUID = transfer_syntax
    meta.ImplementationVersionName = f"MTL_JAX {__version__}"[:16]
    dicom.file_meta = meta
    dicom.save_as(
        folder / f"{prefix}.{dicom.SOPInstanceUID}.dcm", enforce_file_format=True
    )
