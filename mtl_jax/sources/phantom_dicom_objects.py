"""A generated pelvis as DICOM objects: volumes go in, pydicom's data sets come out.

Clauses are of DICOM PS3.3. Nothing here is shared with `export`, nor with the readers:
what writes and what reads must not be wrong in the same way.
"""

import dataclasses
from collections.abc import Iterable, Iterator

import contourpy
import numpy as np
from pydicom import dataset, tag, uid, valuerep

from mtl_jax.core import geometry
from mtl_jax.sources import phantom_pelvis

# Steps through a canonical volume (z, y, x) that give the rows, columns and slices of a
# scan in this patient position: to the head, the posterior and the left, or back.
POSITIONS = {
    "HFS": (1, 1, 1),
    "HFP": (1, -1, -1),
    "FFS": (-1, 1, -1),
    "FFP": (-1, -1, 1),
}
CT_INTERCEPT_HU = -1024
DOSE_MAXIMUM = 2**16 - 1
MANUFACTURER = "mtl_jax phantom"  # a name is asked for; nobody made this scanner
ROI_TYPES = {"External": "EXTERNAL", "Prostate": "CTV", "PTV_6000": "PTV"}  # else ORGAN
# Detached Study Management: retired, but still how a structure set names its study.
STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"


@dataclasses.dataclass(frozen=True)
class Identity:
    """Who a phantom is: the same identity gives the same UIDs."""

    patient_id: str
    position: str  # one of POSITIONS
    naming: str

    def uid(self, *what: object) -> uid.UID:
        """The unique identifier of `what` of this patient."""
        words = (self.patient_id, self.position, self.naming, *what)
        return uid.generate_uid(entropy_srcs=[str(word) for word in words])


def as_stored(
    volume: np.ndarray, grid: geometry.Grid, position: str
) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """`volume` [Z, Y, X] as frames in a patient position, and where they lie.

    Also the centre (x, y, z) of the first voxel of each frame [Z, 3], and the
    ImageOrientationPatient of all.
    """
    z, y, x = steps = POSITIONS[position]
    first = [
        0 if step > 0 else n - 1 for step, n in zip(steps, grid.shape, strict=True)
    ]
    corners = np.tile(first, (grid.shape[0], 1))
    corners[:, 0] += z * np.arange(grid.shape[0])
    return volume[::z, ::y, ::x], grid.to_mm(corners), [x, 0, 0, 0, y, 0]


def ct_slices(
    pelvis: phantom_pelvis.Pelvis, identity: Identity
) -> Iterator[dataset.Dataset]:
    """CT Image objects (A.3), one a slice, along the normal of the slices."""
    frames, corners, orientation = as_stored(
        pelvis.ct_hu, pelvis.grid, identity.position
    )
    series = identity.uid("CT")
    for number, (frame, corner) in enumerate(zip(frames, corners, strict=True), 1):
        slice_uid = identity.uid("CT", number)
        ct = _object(identity, "CT", uid.CTImageStorage, series, slice_uid)
        ct.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ct.BodyPartExamined = "PELVIS"
        ct.PatientPosition = identity.position
        ct.AcquisitionNumber = 1
        ct.InstanceNumber = number
        ct.KVP = 120
        ct.RescaleIntercept, ct.RescaleSlope = CT_INTERCEPT_HU, 1
        ct.RescaleType = "HU"
        _add_plane(ct, pelvis.grid, corner, orientation)
        _add_pixels(ct, (frame - CT_INTERCEPT_HU).astype("<u2"), bits=12)
        yield ct


def rt_dose(pelvis: phantom_pelvis.Pelvis, identity: Identity) -> dataset.Dataset:
    """The RT Dose object (A.18) of a whole plan, on the dose's own grid."""
    frames, corners, orientation = as_stored(
        pelvis.dose_gy, pelvis.dose_grid, identity.position
    )
    dose = _object(identity, "RTDOSE", uid.RTDoseStorage)
    dose.InstanceNumber = 1
    dose.OperatorsName = ""
    _add_plane(dose, pelvis.dose_grid, corners[0], orientation)
    dose.NumberOfFrames = len(frames)
    dose.FrameIncrementPointer = tag.Tag("GridFrameOffsetVector")
    offsets = np.arange(len(frames)) * pelvis.dose_grid.spacing_mm[0]
    dose.GridFrameOffsetVector = _decimals(offsets)
    dose.DoseUnits = "GY"
    dose.DoseType = "PHYSICAL"
    dose.DoseSummationType = "PLAN"
    # Asked of the dose of a plan (C.8.8.3); the plan itself is not exported.
    dose.ReferencedRTPlanSequence = [
        _reference(uid.RTPlanStorage, identity.uid("RTPLAN", 1))
    ]
    # The stored numbers are made with the scaling as it is written: 16 characters.
    dose.DoseGridScaling = scaling = f"{frames.max() / DOSE_MAXIMUM:.9e}"
    stored = np.rint(frames / np.float64(scaling))
    _add_pixels(dose, stored.astype("<u2"), bits=16)
    return dose


def structure_set(
    pelvis: phantom_pelvis.Pelvis, identity: Identity, names: dict[str, str]
) -> dataset.Dataset:
    """The RT Structure Set object (A.19); `names` says what each ROI is called.

    A hole is a CLOSED_PLANAR contour within another, as planning systems write it.
    """
    contours = _object(identity, "RTSTRUCT", uid.RTStructureSetStorage)
    contours.OperatorsName = ""
    contours.StructureSetLabel = "PHANTOM"
    contours.StructureSetDate = contours.StructureSetTime = ""
    depth = pelvis.grid.shape[0]
    # The slices from the feet, whatever the order in which they were numbered.
    numbers = range(1, depth + 1)[:: POSITIONS[identity.position][0]]
    slices = [
        _reference(uid.CTImageStorage, identity.uid("CT", number)) for number in numbers
    ]
    contours.ReferencedFrameOfReferenceSequence = [_reference_series(identity, slices)]
    contours.StructureSetROISequence = []
    contours.ROIContourSequence = []
    contours.RTROIObservationsSequence = []
    for number, (structure, mask) in enumerate(pelvis.structures.items(), 1):
        roi = dataset.Dataset()
        roi.ROINumber = number
        roi.ReferencedFrameOfReferenceUID = identity.uid("frame")
        roi.ROIName = names[structure]
        roi.ROIGenerationAlgorithm = "AUTOMATIC"
        contours.StructureSetROISequence.append(roi)
        drawn = dataset.Dataset()
        drawn.ROIDisplayColor = [60 + 37 * number % 196, 255 - 29 * number % 196, 90]
        drawn.ContourSequence = list(_contours(mask, pelvis.grid, slices))
        drawn.ReferencedROINumber = number
        contours.ROIContourSequence.append(drawn)
        observation = dataset.Dataset()
        observation.ObservationNumber = number
        observation.ReferencedROINumber = number
        observation.RTROIInterpretedType = ROI_TYPES.get(structure, "ORGAN")
        observation.ROIInterpreter = ""
        contours.RTROIObservationsSequence.append(observation)
    return contours


def trace(mask: np.ndarray) -> list[np.ndarray]:
    """Closed outlines [N, 2] (y, x) of `mask` [Y, X], outer ones and those of holes.

    They run half a voxel outside the centres; the last point is not the first again.
    """
    padded = np.pad(mask.astype(np.float64), 1)
    lines = contourpy.contour_generator(z=padded, line_type="Separate").lines(0.5)
    return [np.asarray(line)[:-1, ::-1] - 1 for line in lines]


def _contours(
    mask: np.ndarray, grid: geometry.Grid, slices: list[dataset.Dataset]
) -> Iterator[dataset.Dataset]:
    for z in np.flatnonzero(mask.any((1, 2))):
        for outline in trace(mask[z]):
            heights = np.full(len(outline), float(z))
            points = grid.to_mm(np.column_stack([heights, outline]))
            contour = dataset.Dataset()
            contour.ContourImageSequence = [slices[z]]
            contour.ContourGeometricType = "CLOSED_PLANAR"
            contour.NumberOfContourPoints = len(points)
            contour.ContourData = [f"{value:.3f}" for value in points.ravel()]
            yield contour


def _object(
    identity: Identity,
    modality: str,
    sop_class: str,
    series: str | None = None,
    instance: str | None = None,
) -> dataset.Dataset:
    """What all have: patient, study, series, frame of reference and equipment."""
    made = dataset.Dataset()
    made.SOPClassUID = sop_class
    made.SOPInstanceUID = instance or identity.uid(modality, 1)
    made.PatientName = f"Phantom^{identity.patient_id}"
    made.PatientID = identity.patient_id
    made.PatientBirthDate = made.PatientSex = ""
    made.StudyInstanceUID = identity.uid("study")
    made.StudyDate = made.StudyTime = made.AccessionNumber = made.StudyID = ""
    made.ReferringPhysicianName = ""
    made.Modality = modality
    made.SeriesInstanceUID = series or identity.uid(modality)
    made.SeriesNumber = 1
    made.FrameOfReferenceUID = identity.uid("frame")
    made.PositionReferenceIndicator = ""
    made.Manufacturer = MANUFACTURER
    return made


def _add_plane(
    image: dataset.Dataset,
    grid: geometry.Grid,
    corner: np.ndarray,
    orientation: list[float],
) -> None:
    """The Image Plane module (C.7.6.2)."""
    image.PixelSpacing = _decimals(grid.spacing_mm[1:])  # between rows, then columns
    image.SliceThickness = _decimals(grid.spacing_mm[:1])[0]
    image.ImagePositionPatient = _decimals(corner)
    image.ImageOrientationPatient = orientation


def _add_pixels(image: dataset.Dataset, stored: np.ndarray, *, bits: int) -> None:
    """The Image Pixel module (C.7.6.3): unsigned integers [..., Y, X]."""
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.Rows, image.Columns = stored.shape[-2:]
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, bits, bits - 1
    image.PixelRepresentation = 0
    image.PixelData = stored.tobytes()


def _reference(sop_class: str, instance: str) -> dataset.Dataset:
    item = dataset.Dataset()
    item.ReferencedSOPClassUID = sop_class
    item.ReferencedSOPInstanceUID = instance
    return item


def _reference_series(
    identity: Identity, slices: list[dataset.Dataset]
) -> dataset.Dataset:
    """The CT that the contours were drawn on (C.8.8.5)."""
    series = dataset.Dataset()
    series.SeriesInstanceUID = identity.uid("CT")
    series.ContourImageSequence = slices
    study = _reference(STUDY_CLASS, identity.uid("study"))
    study.RTReferencedSeriesSequence = [series]
    frame = dataset.Dataset()
    frame.FrameOfReferenceUID = identity.uid("frame")
    frame.RTReferencedStudySequence = [study]
    return frame


def _decimals(values: Iterable[float]) -> list[str]:
    """Numbers as decimal strings of at most 16 characters."""
    return [valuerep.format_number_as_ds(float(value)) for value in values]
