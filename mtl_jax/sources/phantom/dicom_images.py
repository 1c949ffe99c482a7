"""The CT images and the RT Dose of a generated pelvis.

Input: a Pelvis and its identity. Output: pydicom data sets.

Clauses are of DICOM PS3.3. No code is shared with `export` or the readers: an error
there must not be hidden by the same error here.
"""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
from pydicom import dataset, tag, uid, valuerep

from mtl_jax.core import geometry
from mtl_jax.sources.phantom import male_pelvis

# Direction of the slices, rows and columns of a scan in each patient position, relative
# to a canonical volume (z to the head, y to the posterior, x to the left).
POSITIONS = {
    "HFS": (1, 1, 1),
    "HFP": (1, -1, -1),
    "FFS": (-1, 1, -1),
    "FFP": (-1, -1, 1),
}
CT_INTERCEPT_HU = -1024
DOSE_MAXIMUM = 2**16 - 1
MANUFACTURER = "mtl_jax phantom"  # of type 2 in General Equipment (C.7.5.1)


@dataclasses.dataclass(frozen=True)
class Identity:
    """What determines all UIDs of a phantom."""

    patient_id: str
    position: str  # one of POSITIONS
    naming: str

    def uid(self, *entity: object) -> uid.UID:
        """The UID of an entity of this patient, such as ("CT", 3) or ("study",)."""
        parts = (self.patient_id, self.position, self.naming, *entity)
        return uid.generate_uid(entropy_srcs=[str(part) for part in parts])


def as_stored(
    volume: np.ndarray, grid: geometry.Grid, position: str
) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """`volume` [Z, Y, X] as the frames of a scan in a patient position.

    Returns the frames [Z, Y, X], the centre (x, y, z) in mm of the first voxel of each
    frame [Z, 3], and the ImageOrientationPatient of all frames.
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
    """CT Image objects (A.3), one for each slice, ordered along the slice normal."""
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
    """The RT Dose object (A.18) of a whole plan, on the dose grid."""
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
    # Required for the dose of a plan (C.8.8.3); the plan itself is not written.
    dose.ReferencedRTPlanSequence = [
        reference(uid.RTPlanStorage, identity.uid("RTPLAN", 1))
    ]
    # The stored values are made with the scaling as written, of at most 16 characters.
    dose.DoseGridScaling = scaling = f"{frames.max() / DOSE_MAXIMUM:.9e}"
    stored = np.rint(frames / np.float64(scaling))
    _add_pixels(dose, stored.astype("<u2"), bits=16)
    return dose


def common(
    identity: Identity, modality: str, sop_class: str, number: int = 1
) -> dataset.Dataset:
    """A new object with patient, study, series, frame of reference and equipment.

    `number` is its InstanceNumber in the series of its modality.
    """
    dicom = dataset.Dataset()
    dicom.SOPClassUID = sop_class
    dicom.SOPInstanceUID = identity.uid(modality, number)
    dicom.PatientName = f"Phantom^{identity.patient_id}"
    dicom.PatientID = identity.patient_id
    dicom.PatientBirthDate = dicom.PatientSex = ""
    dicom.StudyInstanceUID = identity.uid("study")
    dicom.StudyDate = dicom.StudyTime = ""
    dicom.AccessionNumber = dicom.StudyID = ""
    dicom.ReferringPhysicianName = ""
    dicom.Modality = modality
    dicom.SeriesInstanceUID = identity.uid(modality)
    dicom.SeriesNumber = 1
    dicom.InstanceNumber = number
    dicom.FrameOfReferenceUID = identity.uid("frame")
    dicom.PositionReferenceIndicator = ""
    dicom.Manufacturer = MANUFACTURER
    return dicom


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
    """A sequence item that refers to an object, with `more` elements."""
    return item(
        ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=instance, **more
    )


def item(**elements: object) -> dataset.Dataset:
    """A sequence item with `elements` {keyword: value}."""
    dicom = dataset.Dataset()
    for keyword, value in elements.items():
        setattr(dicom, keyword, value)
    return dicom


def _decimals(values: Iterable[float]) -> list[str]:
    """Numbers as decimal strings (DS) of at most 16 characters."""
    return [valuerep.format_number_as_ds(float(value)) for value in values]
