"""What all exported DICOM objects have in common, and how they are written.

Input: the CT reference and the author of an object. Output: a pydicom data set with
the common modules, and its file.

Clauses are of DICOM PS3.3. No code is shared with the readers or the phantoms: an error
there must not be hidden by the same error here.
"""

import datetime
from collections.abc import Iterable
from pathlib import Path

import pydicom
from pydicom import dataset, uid, valuerep

from mtl_jax import __version__
from mtl_jax.core import files
from mtl_jax.export import author as authors
from mtl_jax.export import ct_reference

# Decimals of numbers in mm: far below any reader's tolerance, but short.
DECIMALS = 9


def begin(
    reference: ct_reference.CtReference,
    *,
    modality: str,
    sop_class: str,
    sop_instance: str,
    series: str,
    description: str,
) -> pydicom.Dataset:
    """A new object of the CT's patient and study, in the series `series`."""
    dicom = ct_reference.shared(reference)
    dicom.SOPClassUID, dicom.SOPInstanceUID = sop_class, sop_instance
    dicom.ReferringPhysicianName = ""  # of type 2, and not copied from the CT
    dicom.Modality, dicom.SeriesInstanceUID, dicom.SeriesNumber = modality, series, 1
    dicom.SeriesDescription = description
    dicom.InstanceNumber = 1
    dicom.Manufacturer = "mtl_jax"
    return dicom


def predicted(
    reference: ct_reference.CtReference,
    author: authors.Author,
    created: datetime.datetime,
    *,
    modality: str,
    sop_class: str,
) -> pydicom.Dataset:
    """A new object in a new series, with its author and the notice."""
    dicom = begin(
        reference,
        modality=modality,
        sop_class=sop_class,
        sop_instance=new_uid(),
        series=new_uid(),
        description=authors.NOTICE,
    )
    dicom.OperatorsName = ""
    dicom.ManufacturerModelName = text(author.model)
    dicom.SoftwareVersions = [text(v) for v in (author.version, *author.checkpoints)]
    dicom.InstanceCreationDate, dicom.InstanceCreationTime = date_and_time(created)
    dicom.SeriesDate, dicom.SeriesTime = date_and_time(created)
    return dicom


def new_uid() -> uid.UID:
    """A new random UID."""
    return uid.generate_uid(prefix=None)


def date_and_time(moment: datetime.datetime) -> tuple[str, str]:
    """`moment` as values of type DA and TM (PS3.5 6.2)."""
    return moment.strftime("%Y%m%d"), moment.strftime("%H%M%S")


def text(value: str, most: int = 64) -> str:
    """`value` in ASCII, which every character set has; at most `most` characters."""
    plain = value.encode("ascii", "replace").decode("ascii").replace("\\", "/")
    return "".join(sign if sign.isprintable() else " " for sign in plain)[:most].strip()


def decimals(values: Iterable[float]) -> list[str]:
    """`values` as decimal strings (DS) of at most 16 characters."""
    rounded = (round(float(value), DECIMALS) + 0.0 for value in values)
    return [valuerep.format_number_as_ds(value) for value in rounded]


def item(**elements: object) -> pydicom.Dataset:
    """A sequence item with `elements` {keyword: value}."""
    dicom = pydicom.Dataset()
    for keyword, value in elements.items():
        setattr(dicom, keyword, value)
    return dicom


def refer(sop_class: str, sop_instance: str) -> pydicom.Dataset:
    """A sequence item that refers to an object (table 10-11)."""
    return item(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=sop_instance)


def save(dicom: pydicom.Dataset, path: Path) -> None:
    """Write `dicom` to `path`, completely or not at all.

    The transfer syntax is Implicit VR Little Endian: every system reads it, and with an
    explicit VR an element can be too short for a contour.
    """
    meta = dataset.FileMetaDataset()
    meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian
    meta.ImplementationVersionName = f"MTL_JAX {__version__}"[:16]
    dicom.file_meta = meta
    with files.whole(path) as partial, ct_reference.quietly():
        dicom.save_as(partial, enforce_file_format=True)
