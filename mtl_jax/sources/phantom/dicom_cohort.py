"""Generated patients as DICOM-RT: a seed goes in, a cohort of folders comes out.

Each folder holds a patient's CT series, its RT structure set and its RT dose, as a
planning system exports them, under names that are obviously a phantom's.
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

# Counts up when a seed's files change: a cohort of another version is not reused.
VERSION = 1

# What ROIs are called: names after AAPM TG-263, or what clinics write, of which each
# patient has a choice. A name has at most 16 characters, as some systems cut it.
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
    """Write a phantom's CT series, RTSTRUCT and RTDOSE into `folder`, which is new.

    `patient_id`, `position` (HFS, HFP, FFS or FFP) and `naming` (one of NAMINGS) decide
    all unique identifiers. Files are called by them, in no order of the slices.

    Raises:
        ConfigError: `position` or `naming` is unknown.
        SourceError: `folder` is not empty.
    """
    _check(position, naming)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise errors.SourceError(
            "the folder of a phantom patient holds something already; move it away, "
            "or choose another folder"
        )
    who = dicom_images.Identity(patient_id, position, naming)
    names = _choose_names(who)
    with generated_folder.scratch(folder) as made:
        for ct in dicom_images.ct_slices(pelvis, who):
            _save(made, "CT", ct, uid.ExplicitVRLittleEndian)
        contours = dicom_contours.structure_set(pelvis, who, names)
        # A long contour does not fit into an element of explicit type.
        _save(made, "RS", contours, uid.ImplicitVRLittleEndian)
        dose = dicom_images.rt_dose(pelvis, who)
        _save(made, "RD", dose, uid.ExplicitVRLittleEndian)
        made.rename(folder)


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
    """Write so many phantom `patients` into `folder`, each into a folder of its own.

    `shape` and `spacing_mm` (z, y, x) are the scans'. The folder appears when all is
    written. One that holds the same cohort is left as it is; one that holds anything
    else is a SourceError. So many `workers` are at it.

    Raises:
        ConfigError: `position` or `naming` is unknown.
        GeometryError: the scan is too small for a pelvis.
        SourceError: the folder holds something else.
    """
    _check(position, naming)
    scan = {"shape": list(shape), "spacing_mm": list(spacing_mm)}
    drawn: dict[str, Any] = {"position": position, "naming": naming} | scan
    stamp = {"generator": VERSION, "seed": seed, "patients": patients} | drawn
    tasks = [
        (name_patient(seed, index), seed, index, position, naming, shape, spacing_mm)
        for index in range(1, patients + 1)
    ]
    generated_folder.write(folder, stamp, _make_patient, tasks, workers=workers)


def name_patient(seed: int, index: int) -> str:
    """The id of phantom `index` of the cohort `seed`, and of its folder."""
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


def _check(position: str, naming: str) -> None:
    known = {"position": dicom_images.POSITIONS, "naming": NAMINGS}
    for what, value in (("position", position), ("naming", naming)):
        if value not in known[what]:
            raise errors.ConfigError(
                f"unknown {what} {value!r}{errors.nearest(value, known[what])}; "
                f"known: {', '.join(known[what])}"
            )


def _choose_names(who: dicom_images.Identity) -> dict[str, str]:
    """What this patient's ROIs are called, by structure."""
    rng = np.random.default_rng(list(who.patient_id.encode()))
    return {
        structure: names[rng.integers(len(names))]
        for structure, names in NAMINGS[who.naming].items()
    }


def _save(
    folder: Path, prefix: str, made: dataset.Dataset, transfer_syntax: uid.UID
) -> None:
    meta = dataset.FileMetaDataset()
    meta.TransferSyntaxUID = transfer_syntax
    meta.ImplementationVersionName = f"MTL_JAX {__version__}"[:16]
    made.file_meta = meta
    made.save_as(
        folder / f"{prefix}.{made.SOPInstanceUID}.dcm", enforce_file_format=True
    )
