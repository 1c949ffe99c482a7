"""Predicted contours as a DICOM RT Structure Set (PS3.3 A.19).

Input: masks on the CT's grid. Output: one file with an ROI for each structure, named
after TG-263, unapproved, with closed contours on the CT's slices. A hole is a contour
inside another, which most systems read. Our reader reads the same voxels back.
"""

import datetime
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pydicom
from pydicom import charset, dataelem, tag, uid

from mtl_jax.core import contour_geometry, errors, geometry, sites
from mtl_jax.export import author as authors
from mtl_jax.export import ct_reference, dicom_objects

LABEL = "AI, NOT CLINICAL"  # 16 characters, the most that a label (SH) holds
DECIMALS = 3  # of coordinates in mm; with more, a DS could exceed 16 characters
# Detached Study Management: retired, but still the class of a referenced study
# (C.8.8.5.4).
STUDY = "1.2.840.10008.3.1.2.3.1"
# The name of a target after TG-263 begins with its type. Without one it is a CTV.
TARGETS = ("GTV", "CTV", "PTV")


def write(
    path: Path,
    masks: Mapping[str, np.ndarray],
    reference: ct_reference.CtReference,
    *,
    site: sites.Site,
    author: authors.Author,
    created: datetime.datetime,
    labels: Mapping[str, str] | None = None,
) -> str:
    """Write `masks` {structure of `site`: bool [Z, Y, X]}, on the grid of `reference`.

    An empty mask becomes an ROI without contours. ROIs are called after TG-263, or as
    `labels` says. Every call makes a new object and series; returns the object's UID.

    Raises:
        ConfigError: `site` has no such structure.
        GeometryError: a mask is not on the CT's grid.
        RecordError: a mask is not bool, or there is no mask.
    """
    structures = [site.structure(name) for name in masks]
    if not structures:
        raise errors.RecordError(
            "there are no contours to write; use a role that predicts contours"
        )
    for name, mask in masks.items():
        _check_mask(name, mask, reference)
    dicom = dicom_objects.predicted(
        reference,
        author,
        created,
        modality="RTSTRUCT",
        sop_class=uid.RTStructureSetStorage,
    )
    dicom.StructureSetLabel = LABEL
    dicom.StructureSetName = authors.NOTICE
    dicom.StructureSetDescription = dicom_objects.text(author.statement, 1024)
    date, time = dicom_objects.date_and_time(created)
    dicom.StructureSetDate, dicom.StructureSetTime = date, time
    dicom.ApprovalStatus = "UNAPPROVED"
    dicom.ReferencedFrameOfReferenceSequence = [_referenced_frame(reference)]
    numbered = list(enumerate(structures, 1))
    dicom.StructureSetROISequence = [
        _roi(
            number,
            (labels or {}).get(structure.name) or structure.tg263,
            reference,
            author,
        )
        for number, structure in numbered
    ]
    dicom.ROIContourSequence = [
        _roi_contour(number, structure, masks[structure.name], reference)
        for number, structure in numbered
    ]
    dicom.RTROIObservationsSequence = [
        _observation(number, structure) for number, structure in numbered
    ]
    dicom_objects.save(dicom, path)
    return str(dicom.SOPInstanceUID)


def _check_mask(
    name: str, mask: np.ndarray, reference: ct_reference.CtReference
) -> None:
    reference.check(mask, f"the mask of {name}")
    if mask.dtype != np.bool_:
        raise errors.RecordError(
            f"the mask of {name} is {mask.dtype}, expected bool; apply the threshold "
            "first"
        )


def interpreted_type(structure: sites.Structure) -> str:
    """The RTROIInterpretedType (C.8.8.8) of a structure: ORGAN, PTV, CTV or GTV."""
    if structure.target_gy is None:
        return "ORGAN"
    prefix = structure.tg263[:3].upper()
    return prefix if prefix in TARGETS else "CTV"


def _referenced_frame(reference: ct_reference.CtReference) -> pydicom.Dataset:
    """An item with the frame of reference, study, series and images of the CT."""
    header = reference.header
    series = dicom_objects.item(
        SeriesInstanceUID=header.SeriesInstanceUID,
        ContourImageSequence=[_image(instance) for instance in reference.images],
    )
    study = dicom_objects.refer(STUDY, header.StudyInstanceUID)
    study.RTReferencedSeriesSequence = [series]
    return dicom_objects.item(
        FrameOfReferenceUID=header.FrameOfReferenceUID,
        RTReferencedStudySequence=[study],
    )


def _image(instance: str) -> pydicom.Dataset:
    return dicom_objects.refer(uid.CTImageStorage, instance)


def _roi(
    number: int,
    label: str,
    reference: ct_reference.CtReference,
    author: authors.Author,
) -> pydicom.Dataset:
    return dicom_objects.item(
        ROINumber=number,
        ReferencedFrameOfReferenceUID=reference.header.FrameOfReferenceUID,
        ROIName=dicom_objects.text(label),
        ROIDescription=authors.NOTICE,
        ROIGenerationAlgorithm="AUTOMATIC",
        ROIGenerationDescription=dicom_objects.text(author.model),
    )


def _observation(number: int, structure: sites.Structure) -> pydicom.Dataset:
    return dicom_objects.item(
        ObservationNumber=number,
        ReferencedROINumber=number,
        RTROIInterpretedType=interpreted_type(structure),
        ROIInterpreter="",
    )


def _roi_contour(
    number: int,
    structure: sites.Structure,
    mask: np.ndarray,
    reference: ct_reference.CtReference,
) -> pydicom.Dataset:
    """The colour of an ROI and, unless its mask is empty, its contours (C.8.8.6)."""
    dicom = dicom_objects.item(
        ROIDisplayColor=list(structure.colour), ReferencedROINumber=number
    )
    contours = contour_geometry.from_mask(mask, reference.grid)
    # The sequence is of type 3: left out, not empty, if there are no contours.
    if contours:
        dicom.ContourSequence = [
            _contour(contour_number, contour.points_mm, reference)
            for contour_number, contour in enumerate(contours, 1)
        ]
    return dicom


def _contour(
    number: int, points_mm: np.ndarray, reference: ct_reference.CtReference
) -> pydicom.Dataset:
    """The item of a closed contour [P, 3], (x, y, z) in mm, and of its image."""
    dicom = dicom_objects.item(
        ContourNumber=number,
        ContourImageSequence=[_image(reference.images[_slice(points_mm, reference)])],
        ContourGeometricType="CLOSED_PLANAR",
        NumberOfContourPoints=len(points_mm),
    )
    values = np.round(points_mm, DECIMALS).ravel() + 0.0  # -0 becomes 0
    content = "\\".join(map(str, values.tolist())).encode("ascii")
    content += b" " * (len(content) % 2)
    # Stored as raw bytes: pydicom would convert each value to a number and back to
    # text, which takes longer than everything else.
    dicom.set_original_encoding(True, True, charset.default_encoding)
    key = tag.Tag("ContourData")
    dicom[key] = dataelem.RawDataElement(
        key, "DS", len(content), content, 0, is_implicit_VR=True, is_little_endian=True
    )
    return dicom


def _slice(points_mm: np.ndarray, reference: ct_reference.CtReference) -> int:
    """Index of the CT slice that the contour `points_mm` lies on."""
    grid: geometry.Grid = reference.grid
    return round(float(grid.to_index(points_mm[0])[0]))
