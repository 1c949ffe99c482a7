"""The DICOM files of one patient's prediction.

Input: a Case and its prediction. Output: RS.dcm, RD.dcm, on request RP.dcm, and the CT
of a patient that did not come as DICOM; and remarks on what is not as one may expect.
"""

import dataclasses
import datetime
from pathlib import Path

import numpy as np

from mtl_jax.core import records
from mtl_jax.export import ct_images, roi_labels, rtdose, rtplan, rtstruct
from mtl_jax.predict import cases, trained_model

STRUCTURES, DOSE, PLAN, CT = "RS.dcm", "RD.dcm", "RP.dcm", "CT"


@dataclasses.dataclass(frozen=True)
class Options:
    """How they are written."""

    plan: rtdose.Plan | None = None  # an existing one, that the dose refers to
    with_plan: bool = False  # write a plan for the dose
    short_names: bool = False  # of ROIs, for systems that cut them


def write(
    folder: Path,
    case: cases.Case,
    prediction: records.PredictedVolumes,
    model: trained_model.TrainedModel,
    options: Options,
) -> list[str]:
    """Write the files into `folder`; the remarks, in sentences."""
    created = datetime.datetime.now()
    remarks = list(case.reference.mended)
    structure_set, contour_remarks = _write_contours(
        folder / STRUCTURES, case, prediction, model, created, options
    )
    remarks += contour_remarks
    if case.reference.invented:
        hu = case.patient.ct - np.float32(model.site.ct_offset_hu)
        ct_images.write(folder / CT, hu, case.reference)
    if prediction.dose_gy is None:
        return remarks
    plan = options.plan
    if options.with_plan:
        if structure_set is None and case.patient.structures:
            structure_set = next(iter(case.structure_sets), None)
        plan = rtplan.write(
            folder / PLAN,
            case.reference,
            structure_set=structure_set,
            author=model.author,
            created=created,
        )
    rtdose.write(
        folder / DOSE,
        prediction.dose_gy,
        case.reference,
        author=model.author,
        created=created,
        plan=plan,
    )
    return remarks


def _write_contours(
    path: Path,
    case: cases.Case,
    prediction: records.PredictedVolumes,
    model: trained_model.TrainedModel,
    created: datetime.datetime,
    options: Options,
) -> tuple[str | None, list[str]]:
    """Write what was drawn; the structure set's UID, None without one, and remarks."""
    drawn = {name: mask for name, mask in prediction.contours.items() if mask.any()}
    remarks = [
        f"{name} is empty, and not in {STRUCTURES}"
        for name in prediction.contours
        if name not in drawn
    ]
    if not drawn:
        return None, remarks
    tg263 = {name: model.site.structure(name).tg263 for name in drawn}
    labels = tg263
    if options.short_names:
        shorter = roi_labels.short(tg263.values())
        labels = {name: shorter[full] for name, full in tg263.items()}
    remarks += [
        f"{tg263[name]} is called {label} in {STRUCTURES}"
        for name, label in labels.items()
        if label != tg263[name]
    ]
    uid = rtstruct.write(
        path,
        drawn,
        case.reference,
        site=model.site,
        author=model.author,
        created=created,
        labels=labels,
    )
    return uid, remarks
