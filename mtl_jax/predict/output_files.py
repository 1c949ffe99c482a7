"""The files of one patient's prediction.

Input: a Case and its prediction. Output: a folder of files that other software opens,
and the values for statistics.json. A role exports only what it predicts.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtl_jax.core import geometry, metric_names, records
from mtl_jax.export import author as authors
from mtl_jax.export import nifti, openkbp_csv, rtdose
from mtl_jax.figures import patient_figure
from mtl_jax.metrics import dvh
from mtl_jax.predict import cases, dicom_files, trained_model

PREVIEW, STATISTICS, EVALUATION = "preview.png", "statistics.json", "evaluation.csv"
CUBIC_MM_PER_CC = 1000.0
# In statistics.json: what is wrong with the prediction, and remarks on its files.
FAILURES, EXPORT = "failures", "export"


@dataclasses.dataclass(frozen=True)
class Formats:
    """Which files are written."""

    dicom: bool  # DICOM for patients of OpenKBP and NIfTI too; OpenKBP: in place of CSV
    nifti: bool
    plan: Path | None = None  # the RT Plan that the dose refers to
    refer_to_approved_plan: bool = False
    with_plan: bool = False  # write an RT Plan for the dose
    short_names: bool = False  # of ROIs


def write(
    folder: Path,
    case: cases.Case,
    prediction: records.PredictedVolumes,
    contours_in: Mapping[str, np.ndarray],
    model: trained_model.TrainedModel,
    formats: Formats,
    failures: Sequence[str] = (),
    plan: rtdose.Plan | None = None,
) -> dict[str, Any]:
    """Fill `folder` with all but statistics.json; the values for that.

    Args:
        folder: an empty one.
        case: the patient.
        prediction: what was predicted of it.
        contours_in: the contours that the role took in, by structure, [Z, Y, X] bool.
        model: the model that predicted it.
        formats: which files to write.
        failures: what is wrong with the prediction (`result_checks`).
        plan: the reference plan, read from its file.
    """
    grid, quantum_gy = case.patient.grid, None
    remarks: list[str] = []
    if formats.dicom or case.kind == "dicom":
        options = dicom_files.Options(plan, formats.with_plan, formats.short_names)
        remarks = dicom_files.write(folder, case, prediction, model, options)
        if prediction.dose_gy is not None:
            quantum_gy = rtdose.quantum_gy(prediction.dose_gy)
    elif case.kind == "openkbp":
        _write_csv(folder, prediction)
    if formats.nifti or case.kind == "nifti":
        _write_nifti(folder, prediction, case)
    _write_preview(folder / PREVIEW, case.patient, prediction, model, failures)
    values: dict[str, Any] = {
        "grid": {"shape": list(grid.shape), "spacing_mm": list(grid.spacing_mm)},
        "structures": structure_statistics(model, grid, prediction, contours_in),
    }
    if prediction.dose_gy is not None:
        values["dose"] = dose_statistics(prediction.dose_gy, quantum_gy)
    return values | {FAILURES: list(failures), EXPORT: remarks}


def _write_nifti(
    folder: Path, prediction: records.PredictedVolumes, case: cases.Case
) -> None:
    """A file for each structure and the dose; of a NIfTI CT in its order of axes."""
    order, grid = case.order or nifti.USUAL, case.patient.grid
    for name, mask in prediction.contours.items():
        nifti.write(folder / f"{name}.nii.gz", mask, grid, order)
    if prediction.dose_gy is not None:
        nifti.write(folder / "dose.nii.gz", prediction.dose_gy, grid, order)


def _write_csv(folder: Path, prediction: records.PredictedVolumes) -> None:
    """The challenge's own files; as there, an empty structure has none."""
    for name, mask in prediction.contours.items():
        if mask.any():
            (folder / f"{name}.csv").write_bytes(openkbp_csv.mask_bytes(mask))
    if prediction.dose_gy is not None:
        content = openkbp_csv.csv_bytes(prediction.dose_gy)
        (folder / "dose.csv").write_bytes(content)


def _write_preview(
    path: Path,
    patient: records.Patient,
    prediction: records.PredictedVolumes,
    model: trained_model.TrainedModel,
    failures: Sequence[str],
) -> None:
    """A picture of the prediction over the CT, on a few slices."""
    predicted = dataclasses.replace(
        patient, structures=prediction.contours, dose_gy=prediction.dose_gy
    )
    title = f"{model.author.model}: {authors.NOTICE}"
    if failures:
        title += f"\nCheck: {'; '.join(failures)}"
    patient_figure.draw(
        path, predicted, site=model.site, title=title, names=tuple(prediction.contours)
    )


def model_statistics(model: trained_model.TrainedModel) -> dict[str, Any]:
    """Which model made the prediction, with which version of this package."""
    author = model.author
    others = [{"checkpoint": o.digest, "step": o.step} for o in model.others]
    return {
        "notice": authors.NOTICE,
        "model": author.model,
        "version": author.version,
        "checkpoint": model.digest,
        "step": model.step,
        **({"averaged_with": others} if others else {}),
    }


def structure_statistics(
    model: trained_model.TrainedModel,
    grid: geometry.Grid,
    prediction: records.PredictedVolumes,
    contours_in: Mapping[str, np.ndarray],
) -> dict[str, Any]:
    """Volume in cc and DVH metrics by structure.

    For a role that predicts no contours: of `contours_in`, [Z, Y, X] bool by structure.
    """
    masks, origin = prediction.contours, "predicted"
    if not masks:
        masks = contours_in
        origin = "drawn by its contour network" if model.contour_model else "given"
        if model.contour_model and model.others:
            origin = "drawn by the first network's contour network"
    return {
        name: {
            "tg263": model.site.structure(name).tg263,
            "contours": origin,
            "volume_cc": int(mask.sum()) * grid.voxel_mm3 / CUBIC_MM_PER_CC,
            "dose": _dvh_metrics(model, name, mask, prediction.dose_gy, grid),
        }
        for name, mask in masks.items()
    }


def _dvh_metrics(
    model: trained_model.TrainedModel,
    name: str,
    mask: np.ndarray,
    dose_gy: np.ndarray | None,
    grid: geometry.Grid,
) -> dict[str, Any]:
    """The site's metrics of a structure; {} without a dose or voxels."""
    # Coverage needs the targets of a plan, which a prediction does not have.
    names = [
        metric
        for metric in model.rules.template.dvh.get(name, ())
        if not metric_names.parse(metric, "dvh").form.of_target
    ]
    if dose_gy is None or not names or not mask.any():
        return {}
    (inside,) = dvh.inside(mask, dose_gy)
    values = dvh.metrics(names, inside, grid.voxel_mm3)
    return {
        metric: {"value": value, "unit": metric_names.parse(metric, "dvh").unit}
        for metric, value in zip(names, values, strict=True)
    }


def dose_statistics(dose_gy: np.ndarray, quantum_gy: float | None) -> dict[str, Any]:
    """The maximum of `dose_gy` [Z, Y, X], and the largest rounding error in the file.

    `quantum_gy`: the step between two stored values; None: the file is not rounded.
    """
    error = {} if quantum_gy is None else {"rounded_by_at_most_gy": quantum_gy / 2}
    return {"highest_gy": float(dose_gy.max()), **error}
