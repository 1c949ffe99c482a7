"""The CT of OpenKBP or of a NIfTI file as DICOM CT images (PS3.3 A.3).

Input: a CT in HU and an invented reference. Output: one file for each slice.

Neither has a frame of reference, so one is invented. Contours and dose in it can be
displayed only together with images in the same frame.
"""

from pathlib import Path

import numpy as np
import pydicom
from pydicom import uid

from mtl_jax.core import errors
from mtl_jax.export import ct_reference, dicom_objects

INTERCEPT_HU = -1024
HIGHEST = 2**16 - 1


def write(folder: Path, ct_hu: np.ndarray, reference: ct_reference.CtReference) -> None:
    """Write `ct_hu` [Z, Y, X] into `folder`, one file for each slice from the feet up.

    Values are rounded to integer HU and clipped to -1024 and above. Each file is
    written completely or not at all.

    Raises:
        GeometryError: the CT is not on the grid of `reference`.
        RecordError: the CT has NaN or infinite values, or came as DICOM images.
    """
    reference.check(ct_hu, "the CT")
    if not reference.invented:
        raise errors.RecordError(
            "the CT has images of its own, since it came as DICOM; new images can be "
            "written only for an invented reference"
        )
    if not np.all(np.isfinite(ct_hu)):
        raise errors.RecordError(
            "the CT has NaN or infinite values; expected finite values in HU"
        )
    for number, (image, instance) in enumerate(
        zip(ct_hu, reference.images, strict=True), 1
    ):
        dicom = dicom_objects.begin(
            reference,
            modality="CT",
            sop_class=uid.CTImageStorage,
            sop_instance=instance,
            series=reference.header.SeriesInstanceUID,
            description=f"{reference.source} CT, frame of reference is invented",
        )
        dicom.InstanceNumber = number
        dicom.ImageType = ["DERIVED", "PRIMARY", "AXIAL"]
        dicom.PatientPosition = "HFS"
        if reference.source == "OpenKBP":
            dicom.BodyPartExamined = "HEADNECK"
        dicom.AcquisitionNumber = dicom.KVP = None  # of type 2: unknown
        _add_plane(dicom, number - 1, reference)
        dicom.RescaleIntercept, dicom.RescaleSlope = INTERCEPT_HU, 1
        dicom.RescaleType = "HU"
        dicom.Rows, dicom.Columns = image.shape
        dicom.SamplesPerPixel, dicom.PhotometricInterpretation = 1, "MONOCHROME2"
        dicom.BitsAllocated, dicom.BitsStored, dicom.HighBit = 16, 16, 15
        dicom.PixelRepresentation = 0
        stored = np.clip(np.rint(image - np.float32(INTERCEPT_HU)), 0, HIGHEST)
        dicom.PixelData = stored.astype("<u2").tobytes()
        dicom_objects.save(dicom, folder / f"CT.{number:04d}.dcm")


def _add_plane(
    dicom: pydicom.Dataset, z: int, reference: ct_reference.CtReference
) -> None:
    """Add the Image Plane module (C.7.6.2) of slice `z`."""
    grid = reference.grid
    dicom.PixelSpacing = dicom_objects.decimals(grid.spacing_mm[1:])  # rows, columns
    dicom.SliceThickness = dicom_objects.decimals(grid.spacing_mm[:1])[0]
    corner_mm = grid.to_mm(np.array([z, 0, 0]))
    dicom.ImagePositionPatient = dicom_objects.decimals(corner_mm)
    dicom.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
