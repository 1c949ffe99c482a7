"""The CT of an OpenKBP patient as DICOM images (PS3.3 A.3), in an invented frame.

Contours and dose in a frame of reference that nobody measured can be looked at only
where that frame has an image in it.
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
    """Write `ct_hu` [Z, Y, X] into `folder`, a file a slice, numbered from the feet.

    Values are rounded to whole HU; below -1024 there is none. Each file is written
    whole or not at all.

    Raises:
        GeometryError: the CT is not on the grid of `reference`.
        RecordError: the CT has NaN or infinite values, or images of its own.
    """
    reference.check(ct_hu, "the CT")
    if not reference.invented:
        raise errors.RecordError(
            "this CT came as DICOM and has images of its own; only an invented "
            "reference gets new ones"
        )
    if not np.all(np.isfinite(ct_hu)):
        raise errors.RecordError("the CT has NaN or infinite values")
    for number, (image, instance) in enumerate(
        zip(ct_hu, reference.images, strict=True), 1
    ):
        made = dicom_objects.begin(
            reference,
            modality="CT",
            sop_class=uid.CTImageStorage,
            sop_instance=instance,
            series=reference.header.SeriesInstanceUID,
            description="OpenKBP CT, frame of reference is invented",
        )
        made.InstanceNumber = number
        made.ImageType = ["DERIVED", "PRIMARY", "AXIAL"]
        made.BodyPartExamined, made.PatientPosition = "HEADNECK", "HFS"
        made.AcquisitionNumber = made.KVP = None  # of type 2: not known
        _add_plane(made, number - 1, reference)
        made.RescaleIntercept, made.RescaleSlope = INTERCEPT_HU, 1
        made.RescaleType = "HU"
        made.Rows, made.Columns = image.shape
        made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
        made.BitsAllocated, made.BitsStored, made.HighBit = 16, 16, 15
        made.PixelRepresentation = 0
        stored = np.clip(np.rint(image - np.float32(INTERCEPT_HU)), 0, HIGHEST)
        made.PixelData = stored.astype("<u2").tobytes()
        dicom_objects.save(made, folder / f"CT.{number:04d}.dcm")


def _add_plane(
    made: pydicom.Dataset, z: int, reference: ct_reference.CtReference
) -> None:
    """Image Plane (C.7.6.2)."""
    grid = reference.grid
    made.PixelSpacing = dicom_objects.decimals(grid.spacing_mm[1:])  # rows, columns
    made.SliceThickness = dicom_objects.decimals(grid.spacing_mm[:1])[0]
    corner_mm = grid.to_mm(np.array([z, 0, 0]))
    made.ImagePositionPatient = dicom_objects.decimals(corner_mm)
    made.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
