"""A generated pelvis as DICOM images: CT and dose go in, pydicom's data sets come out.

Clauses are of DICOM PS3.3. Nothing here is shared with `export`, nor with the readers:
what writes and what reads must not be wrong in the same way.
"""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
from pydicom import dataset, tag, uid, valuerep

from mtl_jax.core import geometry
from mtl_jax.sources.phantom import male_pelvis

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
    pelvis: male_pelvis.Pelvis, identity: Identity
) -> Iterator[dataset.Dataset]:
    """CT Image objects (A.3), one a slice, along the normal of the slices."""
    frames, corners, orientation = as_stored(
        pelvis.ct_hu, pelvis.grid, identity.position
    )
    for number, (frame, corner) in enumerate(zip(frames, corners, strict=True), 1):
        ct = common(identity, "CT", uid.CTImageStorage, number)
        ct.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ct.BodyPartExamined = "PELVIS"
        ct.PatientPosition = identity.position
        ct.AcquisitionNumber = 1
        ct.KVP = 120
        ct.RescaleIntercept, ct.RescaleSlope = CT_INTERCEPT_HU, 1
        ct.RescaleType = "HU"
        _add_plane(ct, pelvis.grid, corner, orientation)
        _add_pixels(ct, (frame - CT_INTERCEPT_HU).astype("<u2"), bits=12)
        yield ct


def rt_dose(pelvis: male_pelvis.Pelvis, identity: Identity) -> dataset.Dataset:
    """The RT Dose object (A.18) of a whole plan, on the dose's own grid."""
    frames, corners, orientation = as_stored(
        pelvis.dose_gy, pelvis.dose_grid, identity.position
    )
    dose = common(identity, "RTDOSE", uid.RTDoseStorage)
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
        reference(uid.RTPlanStorage, identity.uid("RTPLAN", 1))
    ]
    # The stored numbers are made with the scaling as it is written: 16 characters.
    dose.DoseGridScaling = scaling = f"{frames.max() / DOSE_MAXIMUM:.9e}"
    stored = np.rint(frames / np.float64(scaling))
    _add_pixels(dose, stored.astype("<u2"), bits=16)
    return dose


def common(
    identity: Identity, modality: str, sop_class: str, number: int = 1
) -> dataset.Dataset:
    """What all have: patient, study, series, frame of reference and equipment.

    The object is that `number` in the series of its modality.
    """
    made = dataset.Dataset()
    made.SOPClassUID = sop_class
    made.SOPInstanceUID = identity.uid(modality, number)
    made.PatientName = f"Phantom^{identity.patient_id}"
    made.PatientID = identity.patient_id
    made.PatientBirthDate = made.PatientSex = ""
    made.StudyInstanceUID = identity.uid("study")
    made.StudyDate = made.StudyTime = made.AccessionNumber = made.StudyID = ""
    made.ReferringPhysicianName = ""
    made.Modality = modality
    made.SeriesInstanceUID = identity.uid(modality)
    made.SeriesNumber = 1
    made.InstanceNumber = number
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


def reference(sop_class: str, instance: str, **more: object) -> dataset.Dataset:
    """An item that refers to an object, with `more` elements."""
    return item(
        ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=instance, **more
    )


def item(**elements: object) -> dataset.Dataset:
    """A data set of `elements`, by keyword."""
    made = dataset.Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def _decimals(values: Iterable[float]) -> list[str]:
    """Numbers as decimal strings of at most 16 characters."""
    return [valuerep.format_number_as_ds(float(value)) for value in values]
