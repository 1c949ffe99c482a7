"""A predicted dose as a DICOM RT Dose (PS3.3 A.18).

Input: a dose in Gy on the CT's grid. Output: one file of 16-bit unsigned integers; the
dose in Gy is an integer times DoseGridScaling.

With an RT Plan, the object is the dose of that plan (DoseSummationType PLAN). PLAN,
FRACTION, BEAM and the like must refer to an existing plan (C.8.8.3). `rtplan` writes
one on request; the dose then says that its plan is invented, and this package's reader
of cohorts refuses it: a predicted dose cannot become training data by accident.

Without a plan the type is PLAN_OVERVIEW, which the standard has for doses without an RT
Plan; the attributes of its overview are of type 2 and are left empty. Software that
needs no plan opens such a dose. Planning systems and the reader require a PLAN.
"""

import datetime
import decimal
from pathlib import Path

import numpy as np
import pydicom
import pydicom.config
from pydicom import tag, uid

from mtl_jax.core import errors
from mtl_jax.export import author as authors
from mtl_jax.export import ct_reference, dicom_objects, rtplan

# 16 bits: with 32, a file is twice the size, dciodvfy (2022) cannot check it, and the
# last bits are far below the accuracy of any dose.
HIGHEST = 2**16 - 1
# The scaling of a dose that is 0 everywhere: any value would do, but readers refuse 0.
NO_DOSE = "1E-6"
# By this the reader of cohorts knows a dose that must not become training data.
INVENTED = "the plan is invented"
PLANS = (uid.RTPlanStorage, uid.RTIonPlanStorage)
UIDS = ("SOPInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
REFERENCED = "ReferencedSOPInstanceUID"
IGNORE = pydicom.config.IGNORE
Plan = pydicom.Dataset  # of an RT Plan, at least what `check_plan` reads


def write(
    path: Path,
    dose_gy: np.ndarray,
    reference: ct_reference.CtReference,
    *,
    author: authors.Author,
    created: datetime.datetime,
    plan: Plan | None = None,
) -> None:
    """Write `dose_gy` [Z, Y, X], which lies on the grid of `reference`.

    Negative values, which a network may predict, become 0. All others are stored to
    within half of `quantum_gy`. Every call makes a new object and series.

    Raises:
        GeometryError: the dose is not on the CT's grid.
        RecordError: the dose has NaN or infinite values.
        SourceError: `plan` is no RT Plan, or is of another patient, study or frame of
            reference.
    """
    reference.check(dose_gy, "the dose")
    scaling = _scaling(dose_gy)
    if plan is not None:
        check_plan(plan, reference)
    dicom = dicom_objects.predicted(
        reference, author, created, modality="RTDOSE", sop_class=uid.RTDoseStorage
    )
    dicom.ContentDate, dicom.ContentTime = dicom_objects.date_and_time(created)
    dicom.ImageComments = dicom_objects.text(author.statement, 1024)
    _add_grid(dicom, reference)
    dicom.DoseUnits, dicom.DoseType = "GY", "PHYSICAL"
    dicom.DoseComment = authors.NOTICE
    if plan is not None and plan.get("RTPlanLabel") == rtplan.LABEL:
        dicom.DoseComment = f"{authors.NOTICE}; {INVENTED}"
    dicom.DoseGridScaling = scaling
    if plan is None:
        dicom.DoseSummationType = "PLAN_OVERVIEW"
        dicom.PlanOverviewSequence = [_empty_overview()]
    else:
        dicom.DoseSummationType = "PLAN"
        referred = dicom_objects.refer(plan.SOPClassUID, plan.SOPInstanceUID)
        dicom.ReferencedRTPlanSequence = [referred]
    dicom.PixelData = _stored(dose_gy, float(scaling)).tobytes()
    dicom_objects.save(dicom, path)


def quantum_gy(dose_gy: np.ndarray) -> float:
    """The step in Gy in which `dose_gy` is stored; errors are at most half of it.

    For a dose of up to 80 Gy, it is below 0.0013 Gy.
    """
    return float(_scaling(dose_gy))


def _scaling(dose_gy: np.ndarray) -> str:
    """DoseGridScaling as written: rounded up, so that the highest dose fits."""
    highest = float(dose_gy.max())
    lowest = float(dose_gy.min())
    if not np.isfinite(highest) or not np.isfinite(lowest):
        raise errors.RecordError(
            "the dose has NaN or infinite values, expected finite values in Gy; check "
            "the CT and the checkpoint, one of which is damaged"
        )
    if highest <= 0:
        return NO_DOSE
    # Ten digits and an exponent make 15 characters; a DS may have 16.
    context = decimal.Context(prec=10, rounding=decimal.ROUND_CEILING)
    scaling = context.divide(decimal.Decimal(highest), decimal.Decimal(HIGHEST))
    return f"{scaling:.9E}"


def _stored(dose_gy: np.ndarray, scaling: float) -> np.ndarray:
    """The dose as integers [Z, Y, X], made slice by slice to save memory."""
    stored = np.empty(dose_gy.shape, "<u2")
    for z, plane in enumerate(dose_gy):
        stored[z] = np.clip(np.rint(plane.astype(np.float64) / scaling), 0, HIGHEST)
    return stored


def _add_grid(dicom: pydicom.Dataset, reference: ct_reference.CtReference) -> None:
    """Add Image Plane, Image Pixel and Multi-frame (C.7.6.2, C.7.6.3, C.7.6.6)."""
    grid = reference.grid
    slices, dicom.Rows, dicom.Columns = grid.shape
    dicom.PixelSpacing = dicom_objects.decimals(grid.spacing_mm[1:])  # rows, columns
    dicom.SliceThickness = dicom_objects.decimals(grid.spacing_mm[:1])[0]
    dicom.ImagePositionPatient = dicom_objects.decimals(grid.origin_mm)
    dicom.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dicom.NumberOfFrames = slices
    dicom.FrameIncrementPointer = tag.Tag("GridFrameOffsetVector")
    offsets_mm = np.arange(slices) * grid.spacing_mm[0]  # from the first frame
    dicom.GridFrameOffsetVector = dicom_objects.decimals(offsets_mm)
    dicom.SamplesPerPixel, dicom.PhotometricInterpretation = 1, "MONOCHROME2"
    dicom.BitsAllocated, dicom.BitsStored, dicom.HighBit = 16, 16, 15
    dicom.PixelRepresentation = 0


def _empty_overview() -> pydicom.Dataset:
    """The overview of a plan of which nothing is known."""
    return dicom_objects.item(
        PlanOverviewIndex=1,
        RTPlanLabel="",
        TreatmentSite="",
        TreatmentSiteCodeSequence=[],
        PrescriptionOverviewSequence=[],
    )


def check_plan(plan: Plan, reference: ct_reference.CtReference) -> None:
    """Raise a SourceError unless `plan` is one of this CT, with valid UIDs."""
    if plan.get("SOPClassUID") not in PLANS or not plan.get("SOPInstanceUID"):
        raise errors.SourceError(
            "the reference plan is not an RT Plan (RTPLAN); pass the file of an RT Plan"
        )
    named = plan.get("ReferencedStructureSetSequence") or ()
    uids = [(keyword, plan.get(keyword)) for keyword in UIDS]
    uids += [(REFERENCED, item.get(REFERENCED)) for item in named]
    for keyword, value in uids:
        if value and not uid.UID(str(value), IGNORE).is_valid:
            raise errors.SourceError(
                f"the reference plan has a {keyword} that is no UID, to which nothing "
                "can refer; export the plan again"
            )
    keywords = ["PatientID", "StudyInstanceUID"]
    # Optional in a plan (type 3).
    if plan.get("FrameOfReferenceUID"):
        keywords.append("FrameOfReferenceUID")
    for keyword in keywords:
        if str(reference.header.get(keyword, "")) != str(plan.get(keyword, "")):
            raise errors.SourceError(
                f"the reference plan has a different {keyword} than the CT; pass the "
                "plan that was made on this CT, or no plan"
            )
