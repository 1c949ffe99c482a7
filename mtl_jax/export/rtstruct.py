"""Predicted contours as a DICOM RT Structure Set (PS3.3 A.19).

Goes in: masks on the CT's grid. Comes out: one file with an ROI a structure, named
after TG-263, unapproved, its closed contours on the CT's slices. A hole is a contour
inside another, which most systems read. Our reader gives back the same voxels.
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

LABEL = "AI, NOT CLINICAL"  # all that fits into the 16 characters of a label
DECIMALS = 3  # of coordinates in mm; more makes values longer than a DS may be
# A retired class that systems still name where a study is referred to (C.8.8.5.4).
STUDY = "1.2.840.10008.3.1.2.3.1"
# A target's name after TG-263 begins with what it is; other targets are treated as
# clinical ones.
TARGETS = ("GTV", "CTV", "PTV")


def write(
    path: Path,
    masks: Mapping[str, np.ndarray],
    reference: ct_reference.CtReference,
    *,
    site: sites.Site,
    author: authors.Author,
    created: datetime.datetime,
) -> None:
    """Write `masks` {structure of `site`: bool [Z, Y, X]} on the grid of `reference`.

    An empty mask is an ROI without contours. Every call makes a new object and series.

    Raises:
        ConfigError: `site` has no such structure.
        GeometryError: a mask is not on the CT's grid.
        RecordError: a mask is not of bool, or there is none.
    """
    structures = [site.structure(name) for name in masks]
    if not structures:
        raise errors.RecordError("no contours to write: this role predicts none")
    for name, mask in masks.items():
        reference.check(mask, f"the mask of {name}")
        if mask.dtype != np.bool_:
            raise errors.RecordError(
                f"the mask of {name} is {mask.dtype}, expected bool: apply the "
                "threshold first"
            )
    made = dicom_objects.predicted(
        reference,
        author,
        created,
        modality="RTSTRUCT",
        sop_class=uid.RTStructureSetStorage,
    )
    made.StructureSetLabel = LABEL
    made.StructureSetName = authors.NOTICE
    made.StructureSetDescription = dicom_objects.text(author.statement, 1024)
    made.StructureSetDate, made.StructureSetTime = dicom_objects.date_and_time(created)
    made.ApprovalStatus = "UNAPPROVED"
    made.ReferencedFrameOfReferenceSequence = [_referenced_frame(reference)]
    numbered = list(enumerate(structures, 1))
    made.StructureSetROISequence = [
        _roi(number, one, reference, author) for number, one in numbered
    ]
    made.ROIContourSequence = [
        _drawn(number, one, masks[one.name], reference) for number, one in numbered
    ]
    made.RTROIObservationsSequence = [
        dicom_objects.item(
            ObservationNumber=number,
            ReferencedROINumber=number,
            RTROIInterpretedType=interpreted_type(one),
            ROIInterpreter="",
        )
        for number, one in numbered
    ]
    dicom_objects.save(made, path)


def interpreted_type(structure: sites.Structure) -> str:
    """The RTROIInterpretedType (C.8.8.8) of a structure: ORGAN, PTV, CTV or GTV."""
    if structure.target_gy is None:
        return "ORGAN"
    prefix = structure.tg263[:3].upper()
    return prefix if prefix in TARGETS else "CTV"


def _referenced_frame(reference: ct_reference.CtReference) -> pydicom.Dataset:
    """The frame of reference, study, series and all images of the CT."""
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
    structure: sites.Structure,
    reference: ct_reference.CtReference,
    author: authors.Author,
) -> pydicom.Dataset:
    return dicom_objects.item(
        ROINumber=number,
        ReferencedFrameOfReferenceUID=reference.header.FrameOfReferenceUID,
        ROIName=dicom_objects.text(structure.tg263),
        ROIDescription=authors.NOTICE,
        ROIGenerationAlgorithm="AUTOMATIC",
        ROIGenerationDescription=dicom_objects.text(author.model),
    )


def _drawn(
    number: int,
    structure: sites.Structure,
    mask: np.ndarray,
    reference: ct_reference.CtReference,
) -> pydicom.Dataset:
    """The item of an ROI with its colour and, if it has any, its contours."""
    made = dicom_objects.item(
        ROIDisplayColor=list(structure.colour), ReferencedROINumber=number
    )
    contours = contour_geometry.from_mask(mask, reference.grid)
    # Without an item the sequence would be there and empty (type 3: leave it out).
    if contours:
        made.ContourSequence = [
            _contour(place, contour.points_mm, reference)
            for place, contour in enumerate(contours, 1)
        ]
    return made


def _contour(
    number: int, points_mm: np.ndarray, reference: ct_reference.CtReference
) -> pydicom.Dataset:
    """A closed contour [P, 3] and the image that it lies on."""
    made = dicom_objects.item(
        ContourNumber=number,
        ContourImageSequence=[_image(reference.images[_slice(points_mm, reference)])],
        ContourGeometricType="CLOSED_PLANAR",
        NumberOfContourPoints=len(points_mm),
    )
    values = np.round(points_mm, DECIMALS).ravel() + 0.0  # -0 becomes 0
    content = "\\".join(map(str, values.tolist())).encode("ascii")
    content += b" " * (len(content) % 2)
    # As the bytes that the file will have: pydicom would make a number and a text again
    # of each value, which takes longer than all the rest.
    made.set_original_encoding(True, True, charset.default_encoding)
    key = tag.Tag("ContourData")
    made[key] = dataelem.RawDataElement(
        key, "DS", len(content), content, 0, is_implicit_VR=True, is_little_endian=True
    )
    return made


def _slice(points_mm: np.ndarray, reference: ct_reference.CtReference) -> int:
    grid: geometry.Grid = reference.grid
    return round(float(grid.to_index(points_mm[0])[0]))
