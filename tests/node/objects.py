"""Small CT objects, and a receiver in this process."""

import io

import pydicom
from pydicom import uid

from mtl_jax.node import limits, series_queue

LIMITS = limits.Limits(free_gb=1e-6, quiet_s=0.2, incomplete_s=0.6, idle_s=5.0)
ABOUT = series_queue.About("1.2.3", "1.2", "SCANNER", "127.0.0.1")
# What must not be in a log.
NAME = "QZNAME^HANS"


def ct(series="1.2.3", number=1, **changes):
    """A CT image of 8 x 8 pixels; `changes` by keyword."""
    made = pydicom.Dataset()
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = uid.CTImageStorage
    made.SOPClassUID = uid.CTImageStorage
    made.SOPInstanceUID = f"{series}.{number}"
    made.StudyInstanceUID, made.SeriesInstanceUID = "1.2", series
    made.PatientName, made.Modality = NAME, "CT"
    made.Rows = made.Columns = 8
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation = 15, 1
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.add_new("PixelData", "OW", bytes(128))
    for keyword, value in changes.items():
        setattr(made, keyword, value)
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    return made


def content(**values) -> bytes:
    """The file of such an image."""
    stream = io.BytesIO()
    ct(**values).save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def height(path) -> float:
    """The z of a slice."""
    return float(pydicom.dcmread(path).ImagePositionPatient[2])
