"""The RT Structure Set of a generated pelvis.

Input: a Pelvis, whose identity it is, and ROI names. Output: a pydicom data set.

Clauses are of DICOM PS3.3. Contours are traced here, with no code shared with `export`
or the readers: an error there must not be hidden by the same error here.
"""

import contourpy
import numpy as np
from pydicom import dataset, uid

from mtl_jax.core import geometry
from mtl_jax.sources.phantom import dicom_images as objects
from mtl_jax.sources.phantom import male_pelvis

ROI_TYPES = {"External": "EXTERNAL", "Prostate": "CTV", "PTV_6000": "PTV"}  # else ORGAN
# Detached Study Management: retired, but still how a structure set names its study.
STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"


def structure_set(
    pelvis: male_pelvis.Pelvis, identity: objects.Identity, names: dict[str, str]
) -> dataset.Dataset:
    """The RT Structure Set object (A.19), with ROI `names` {structure: ROI name}.

    A hole is a CLOSED_PLANAR contour inside another, as planning systems write it.
    """
    contours = objects.common(identity, "RTSTRUCT", uid.RTStructureSetStorage)
    contours.OperatorsName = ""
    contours.StructureSetLabel = "PHANTOM"
    contours.StructureSetDate = contours.StructureSetTime = ""
    depth = pelvis.grid.shape[0]
    # Instance numbers of the slices from the feet up.
    numbers = range(1, depth + 1)[:: objects.POSITIONS[identity.position][0]]
    slices = [
        objects.reference(uid.CTImageStorage, identity.uid("CT", number))
        for number in numbers
    ]
    contours.ReferencedFrameOfReferenceSequence = [_reference_series(identity, slices)]
    rois = list(enumerate(pelvis.structures, 1))
    contours.StructureSetROISequence = [
        objects.item(
            ROINumber=number,
            ReferencedFrameOfReferenceUID=identity.uid("frame"),
            ROIName=names[structure],
            ROIGenerationAlgorithm="AUTOMATIC",
        )
        for number, structure in rois
    ]
    contours.ROIContourSequence = [
        objects.item(
            ROIDisplayColor=[60 + 37 * number % 196, 255 - 29 * number % 196, 90],
            ContourSequence=_contours(
                pelvis.structures[structure], pelvis.grid, slices
            ),
            ReferencedROINumber=number,
        )
        for number, structure in rois
    ]
    contours.RTROIObservationsSequence = [
        objects.item(
            ObservationNumber=number,
            ReferencedROINumber=number,
            RTROIInterpretedType=ROI_TYPES.get(structure, "ORGAN"),
            ROIInterpreter="",
        )
        for number, structure in rois
    ]
    return contours


def trace(mask: np.ndarray) -> list[np.ndarray]:
    """Closed outlines [N, 2] (y, x) of `mask` [Y, X], including those of holes.

    They run half a voxel outside the voxel centres. The first point is not repeated.
    """
    padded = np.pad(mask.astype(np.float64), 1)
    lines = contourpy.contour_generator(z=padded, line_type="Separate").lines(0.5)
    return [np.asarray(line)[:-1, ::-1] - 1 for line in lines]


def _contours(
    mask: np.ndarray, grid: geometry.Grid, slices: list[dataset.Dataset]
) -> list[dataset.Dataset]:
    contours = []
    for z in np.flatnonzero(mask.any((1, 2))):
        for outline in trace(mask[z]):
            heights = np.full(len(outline), float(z))
            points = grid.to_mm(np.column_stack([heights, outline]))
            contour = objects.item(
                ContourImageSequence=[slices[z]],
                ContourGeometricType="CLOSED_PLANAR",
                NumberOfContourPoints=len(points),
                ContourData=[f"{value:.3f}" for value in points.ravel()],
            )
            contours.append(contour)
    return contours


def _reference_series(
    identity: objects.Identity, slices: list[dataset.Dataset]
) -> dataset.Dataset:
    """The CT that the contours were drawn on (C.8.8.5)."""
    series = objects.item(
        SeriesInstanceUID=identity.uid("CT"), ContourImageSequence=slices
    )
    study = objects.reference(
        STUDY_CLASS, identity.uid("study"), RTReferencedSeriesSequence=[series]
    )
    return objects.item(
        FrameOfReferenceUID=identity.uid("frame"), RTReferencedStudySequence=[study]
    )
