"""A predicted dose as a DICOM RT Dose (PS3.3 A.18).

Goes in: a dose in Gy on the CT's grid. Comes out: one file with 16-bit unsigned
integers, which times DoseGridScaling are the dose.

With a plan it is that plan's dose (DoseSummationType PLAN). Without one it may not be
called so: PLAN, FRACTION, BEAM and the like must name the plan that they are of
(C.8.8.3), and none is invented here. What the standard has for a dose that is of no RT
Plan is PLAN_OVERVIEW: an overview stands in for the plan, and all that it would say of
one is empty here, as attributes of type 2 may be. What asks for no plan opens it;
planning systems, and this package's reader of cohorts, ask for a PLAN: no predicted
dose becomes training data by accident.
"""

import datetime
import decimal
from pathlib import Path

import numpy as np
import pydicom
from pydicom import tag, uid

from mtl_jax.core import errors
from mtl_jax.export import author as authors
from mtl_jax.export import ct_reference, dicom_objects

# Of 16 bits: with 32 a file is twice the size, and dciodvfy (2022) cannot check it. The
# last bits would be far below what any dose is known to.
MOST = 2**16 - 1
# Where there is no dose at all any scaling will do, but 0 is refused by readers.
NO_DOSE = "1E-6"
PLANS = (uid.RTPlanStorage, uid.RTIonPlanStorage)


def write(
    path: Path,
    dose_gy: np.ndarray,
    reference: ct_reference.CtReference,
    *,
    author: authors.Author,
    created: datetime.datetime,
    plan: pydicom.Dataset | None = None,
) -> None:
    """Write `dose_gy` [Z, Y, X] on the grid of `reference`.

    Negative values, which networks may predict and no dose has, become 0. All others
    are kept to within half of `quantum_gy`. Every call makes a new object and series.

    Raises:
        GeometryError: the dose is not on the CT's grid.
        RecordError: the dose has NaN or infinite values.
        SourceError: `plan` is no RT plan, or of another patient, study or frame.
    """
    reference.check(dose_gy, "the dose")
    scaling = _scaling(dose_gy)
    if plan is not None:
        _check_plan(plan, reference)
    made = dicom_objects.predicted(
        reference, author, created, modality="RTDOSE", sop_class=uid.RTDoseStorage
    )
    made.ContentDate, made.ContentTime = dicom_objects.date_and_time(created)
    made.ImageComments = dicom_objects.text(author.statement, 1024)
    _add_grid(made, reference)
    made.DoseUnits, made.DoseType = "GY", "PHYSICAL"
    made.DoseComment = authors.NOTICE
    made.DoseGridScaling = scaling
    if plan is None:
        made.DoseSummationType = "PLAN_OVERVIEW"
        made.PlanOverviewSequence = [_nothing_known()]
    else:
        made.DoseSummationType = "PLAN"
        referred = dicom_objects.refer(plan.SOPClassUID, plan.SOPInstanceUID)
        made.ReferencedRTPlanSequence = [referred]
    made.PixelData = _stored(dose_gy, float(scaling)).tobytes()
    dicom_objects.save(made, path)


def quantum_gy(dose_gy: np.ndarray) -> float:
    """The step in Gy in which `dose_gy` is stored: errors are at most half of it.

    A dose of up to 80 Gy has one below 0.0013 Gy.
    """
    return float(_scaling(dose_gy))


def _scaling(dose_gy: np.ndarray) -> str:
    """DoseGridScaling as it is written: rounded up, so that the highest dose fits."""
    highest = float(dose_gy.max())
    lowest = float(dose_gy.min())
    if not np.isfinite(highest) or not np.isfinite(lowest):
        raise errors.RecordError(
            "the dose has NaN or infinite values, which cannot be written; the "
            "checkpoint, or the CT that it was given, is damaged"
        )
    if highest <= 0:
        return NO_DOSE
    # Ten digits and an exponent make 15 characters.
    rules = decimal.Context(prec=10, rounding=decimal.ROUND_CEILING)
    scaling = rules.divide(decimal.Decimal(highest), decimal.Decimal(MOST))
    return f"{scaling:.9E}"


def _stored(dose_gy: np.ndarray, scaling: float) -> np.ndarray:
    """Unsigned integers [Z, Y, X]; slice by slice, as doubles take much memory."""
    stored = np.empty(dose_gy.shape, "<u2")
    for z, plane in enumerate(dose_gy):
        stored[z] = np.clip(np.rint(plane.astype(np.float64) / scaling), 0, MOST)
    return stored


def _add_grid(made: pydicom.Dataset, reference: ct_reference.CtReference) -> None:
    """Image Plane, Image Pixel and Multi-frame (C.7.6.2, C.7.6.3, C.7.6.6)."""
    grid = reference.grid
    slices, made.Rows, made.Columns = grid.shape
    made.PixelSpacing = dicom_objects.decimals(grid.spacing_mm[1:])  # rows, columns
    made.SliceThickness = dicom_objects.decimals(grid.spacing_mm[:1])[0]
    made.ImagePositionPatient = dicom_objects.decimals(grid.origin_mm)
    made.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    made.NumberOfFrames = slices
    made.FrameIncrementPointer = tag.Tag("GridFrameOffsetVector")
    offsets_mm = np.arange(slices) * grid.spacing_mm[0]  # from the first frame
    made.GridFrameOffsetVector = dicom_objects.decimals(offsets_mm)
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 16, 15
    made.PixelRepresentation = 0


def _nothing_known() -> pydicom.Dataset:
    """An overview of a plan that does not exist."""
    return dicom_objects.item(
        PlanOverviewIndex=1,
        RTPlanLabel="",
        TreatmentSite="",
        TreatmentSiteCodeSequence=[],
        PrescriptionOverviewSequence=[],
    )


def _check_plan(plan: pydicom.Dataset, reference: ct_reference.CtReference) -> None:
    """SourceError unless the dose may be called that of `plan`."""
    if plan.get("SOPClassUID") not in PLANS or not plan.get("SOPInstanceUID"):
        raise errors.SourceError(
            "the reference plan is no RT Plan (RTPLAN); give the plan's file"
        )
    keywords = ["PatientID", "StudyInstanceUID"]
    # Of type 3 in a plan.
    if plan.get("FrameOfReferenceUID"):
        keywords.append("FrameOfReferenceUID")
    for keyword in keywords:
        mine, its = (str(one.get(keyword, "")) for one in (reference.header, plan))
        if mine != its:
            raise errors.SourceError(
                f"the reference plan has another {keyword} than the CT; give the plan "
                "that was made on this CT, or none"
            )
