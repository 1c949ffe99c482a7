"""The files of one patient's prediction.

Goes in: a Case and what is to be exported of it. Comes out: a folder filled with files
that other software opens; a role exports only what it predicts.
"""

import dataclasses
import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mtl_jax.core import records
from mtl_jax.export import author as authors
from mtl_jax.export import ct_images, nifti, openkbp_csv, rtdose, rtstruct
from mtl_jax.figures import patient_figure
from mtl_jax.predict import cases, statistics, trained_model
from mtl_jax.sources.dicom import elements

STRUCTURES, DOSE, CT = "RS.dcm", "RD.dcm", "CT"
PREVIEW, STATISTICS, EVALUATION = "preview.png", "statistics.json", "evaluation.csv"
# What of a plan is looked at.
PLAN = (
    *("SOPClassUID", "SOPInstanceUID"),
    *("PatientID", "StudyInstanceUID", "FrameOfReferenceUID"),
)


@dataclasses.dataclass(frozen=True)
class Formats:
    """What is written besides."""

    dicom: bool  # of an OpenKBP patient too, in place of CSV
    nifti: bool
    plan: Path | None  # the RT Plan that the dose is of


def write(
    folder: Path,
    case: cases.Case,
    found: records.PredictedVolumes,
    told: Mapping[str, np.ndarray],
    about: trained_model.Description,
    formats: Formats,
) -> dict[str, Any]:
    """Fill `folder` with all but the statistics; what these say of it.

    `told` are the contours that the role took in.
    """
    grid, quantum_gy = case.patient.grid, None
    if formats.dicom or not case.reference.invented:
        quantum_gy = _write_dicom(folder, case, found, about, formats)
    else:
        _write_csv(folder, found)
    if formats.nifti:
        for name, mask in found.contours.items():
            nifti.write(folder / f"{name}.nii.gz", mask, grid)
        if found.dose_gy is not None:
            nifti.write(folder / "dose.nii.gz", found.dose_gy, grid)
    _draw(folder / PREVIEW, case.patient, found, about)
    said: dict[str, Any] = {
        "grid": {"shape": list(grid.shape), "spacing_mm": list(grid.spacing_mm)},
        "structures": statistics.of_structures(about, grid, found, told),
    }
    if found.dose_gy is not None:
        said["dose"] = statistics.of_dose(found.dose_gy, quantum_gy)
    return said


def _write_dicom(
    folder: Path,
    case: cases.Case,
    found: records.PredictedVolumes,
    about: trained_model.Description,
    formats: Formats,
) -> float | None:
    """RS.dcm and RD.dcm, and the CT where its frame is invented; the dose's quantum."""
    created = datetime.datetime.now()
    if found.contours:
        rtstruct.write(
            folder / STRUCTURES,
            found.contours,
            case.reference,
            site=about.site,
            author=about.author,
            created=created,
        )
    if case.reference.invented:
        hu = case.patient.ct - np.float32(about.site.ct_offset_hu)
        ct_images.write(folder / CT, hu, case.reference)
    if found.dose_gy is None:
        return None
    plan = None
    if formats.plan is not None:
        name = "the reference plan"
        plan = elements.load(formats.plan, name, PLAN, pixels=False)
    rtdose.write(
        folder / DOSE,
        found.dose_gy,
        case.reference,
        author=about.author,
        created=created,
        plan=plan,
    )
    return rtdose.quantum_gy(found.dose_gy)


def _write_csv(folder: Path, found: records.PredictedVolumes) -> None:
    """The challenge's own files; a structure without a voxel has none, as there."""
    for name, mask in found.contours.items():
        if mask.any():
            (folder / f"{name}.csv").write_bytes(openkbp_csv.mask_bytes(mask))
    if found.dose_gy is not None:
        content = openkbp_csv.csv_bytes(found.dose_gy)
        (folder / "dose.csv").write_bytes(content)


def _draw(
    path: Path,
    patient: records.Patient,
    found: records.PredictedVolumes,
    about: trained_model.Description,
) -> None:
    """The prediction over the CT, on a few slices."""
    predicted = dataclasses.replace(
        patient, structures=found.contours, dose_gy=found.dose_gy
    )
    title = f"{about.author.model}: {authors.NOTICE}"
    patient_figure.draw(
        path, predicted, site=about.site, title=title, names=tuple(found.contours)
    )
