"""What the exported DICOM objects have in common, and how they are written.

Clauses are of DICOM PS3.3. Nothing here is shared with the readers or the phantoms:
what writes and what reads must not be wrong in the same way.
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

# Numbers keep so many decimals (mm): less than any reader's tolerance, and short.
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
    """An object of the CT's patient and study, in a series of its own."""
    made = ct_reference.shared(reference)
    made.SOPClassUID, made.SOPInstanceUID = sop_class, sop_instance
    made.ReferringPhysicianName = ""  # of type 2; not in the allow-list
    made.Modality, made.SeriesInstanceUID, made.SeriesNumber = modality, series, 1
    made.SeriesDescription = description
    made.InstanceNumber = 1
    made.Manufacturer = "mtl_jax"
    return made


def predicted(
    reference: ct_reference.CtReference,
    author: authors.Author,
    created: datetime.datetime,
    *,
    modality: str,
    sop_class: str,
) -> pydicom.Dataset:
    """A new object that `author` wrote; it says so, and what it is not for."""
    made = begin(
        reference,
        modality=modality,
        sop_class=sop_class,
        sop_instance=new_uid(),
        series=new_uid(),
        description=authors.NOTICE,
    )
    made.OperatorsName = ""
    made.ManufacturerModelName = text(author.model)
    made.SoftwareVersions = [text(author.version), text(author.checkpoint)]
    made.InstanceCreationDate, made.InstanceCreationTime = date_and_time(created)
    made.SeriesDate, made.SeriesTime = date_and_time(created)
    return made


def new_uid() -> uid.UID:
    """A unique identifier made by chance: no two objects ever share one."""
    return uid.generate_uid(prefix=None)


def date_and_time(moment: datetime.datetime) -> tuple[str, str]:
    """`moment` as DA and TM."""
    return moment.strftime("%Y%m%d"), moment.strftime("%H%M%S")


def text(value: str, most: int = 64) -> str:
    """`value` in ASCII (every character set has it), of at most so many characters."""
    plain = value.encode("ascii", "replace").decode("ascii").replace("\\", "/")
    return "".join(sign if sign.isprintable() else " " for sign in plain)[:most].strip()


def decimals(values: Iterable[float]) -> list[str]:
    """Numbers as decimal strings (DS) of at most 16 characters."""
    rounded = (round(float(value), DECIMALS) + 0.0 for value in values)
    return [valuerep.format_number_as_ds(value) for value in rounded]


def item(**elements: object) -> pydicom.Dataset:
    """A data set of `elements`, by keyword."""
    made = pydicom.Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def refer(sop_class: str, sop_instance: str) -> pydicom.Dataset:
    """An item that refers to an object (table 10-11)."""
    return item(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=sop_instance)


def save(made: pydicom.Dataset, path: Path) -> None:
    """Write `made` to `path`, whole or not at all.

    Implicit VR Little Endian: an element of explicit type may be too short for a
    contour, and every system reads it.
    """
    meta = dataset.FileMetaDataset()
    meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian
    meta.ImplementationVersionName = f"MTL_JAX {__version__}"[:16]
    made.file_meta = meta
    with files.whole(path) as partial, ct_reference.quietly():
        made.save_as(partial, enforce_file_format=True)
