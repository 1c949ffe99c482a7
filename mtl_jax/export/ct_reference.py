"""The CT that exported objects refer to.

Input: the files of a CT series, or the id and grid of another CT. Output: a
CtReference, from which exported objects copy only the attributes in the list below.
"""

import copy
import dataclasses
import json
import re
import uuid
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom
import pydicom.config
from pydicom import tag, uid

from mtl_jax.core import errors, geometry
from mtl_jax.export import inherited

# The only attributes that exported objects copy from their CT: Patient (PS3.3 C.7.1.1),
# General Study (C.7.2.1) and Frame of Reference (C.7.4.1). With them goes the character
# set (C.12.1). Attributes that the CT lacks are written empty (type 2).
SHARED = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber"),
    *("FrameOfReferenceUID", "PositionReferenceIndicator"),
)
CHARACTERS = "SpecificCharacterSet"
# Attributes that are also read, to refer to the CT.
SERIES, IMAGE, POSITION = "SeriesInstanceUID", "SOPInstanceUID", "ImagePositionPatient"
HEADER = (CHARACTERS, *SHARED, SERIES)
_NEEDED = ("StudyInstanceUID", "FrameOfReferenceUID", SERIES)

# PositionReferenceIndicator of an invented frame of reference, by where the CT is from.
INVENTED = {
    "OpenKBP": "INVENTED: OpenKBP HAS NO COORDINATES",
    "NIfTI": "INVENTED: NIfTI HAS NO FRAME OF REFERENCE",
}
# The UUID namespace of all UIDs of invented references (RFC 9562, version 5).
_NAMESPACE = uuid.UUID("6f0c2a6e-5c0f-4a53-9d51-9a7d2c1f6b1e")


@dataclasses.dataclass(frozen=True)
class CtReference:
    """The CT that exported objects refer to.

    Raises:
        GeometryError: `grid` is not canonical, or not one image for each slice.
    """

    grid: geometry.Grid  # canonical: z to the head, rows to posterior, columns to left
    header: pydicom.Dataset  # of one image; only SHARED is copied from it
    images: tuple[str, ...]  # SOPInstanceUID of each slice, from the feet
    mended: tuple[str, ...] = ()  # on values of the header that were not valid

    def __post_init__(self) -> None:
        if not np.array_equal(self.grid.direction, geometry.CANONICAL):
            raise errors.GeometryError(
                "the CT's grid is rotated; exported objects need the canonical axes, "
                "as mtl_jax's readers return them"
            )
        if len(self.images) != self.grid.shape[0]:
            raise errors.GeometryError(
                f"{len(self.images)} images for {self.grid.shape[0]} slices of the CT; "
                "expected one image for each slice"
            )

    @property
    def invented(self) -> bool:
        """Whether the frame of reference is invented, not a scanner's."""
        return self.source is not None

    @property
    def source(self) -> str | None:
        """Where a CT without a frame of reference is from, in INVENTED; else None."""
        indicator = self.header.get("PositionReferenceIndicator")
        return next((s for s, text in INVENTED.items() if text == indicator), None)

    def check(self, volume: np.ndarray, label: str) -> None:
        """Raise a GeometryError unless `volume` [Z, Y, X] has the shape of the CT.

        `label` names the volume in the message.
        """
        if volume.shape != self.grid.shape:
            raise errors.GeometryError(
                f"{label} is {volume.shape}, expected the CT's shape "
                f"{self.grid.shape}; resample it first with geometry.resample"
            )


@contextmanager
def quietly() -> Iterator[None]:
    """Suppress pydicom's warnings, which would print values of the CT's header."""
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        yield


def read(paths: Sequence[Path], grid: geometry.Grid) -> CtReference:
    """The reference to a CT series; `paths` has one file for each slice from the feet.

    Raises:
        SourceError: an image cannot be read, does not lie at its slice of `grid`, or
            lacks an identifier that exported objects need.
        GeometryError: `grid` is not canonical, or has another number of slices.
    """
    return from_headers((_read_header(p, n) for n, p in enumerate(paths)), grid)


def from_headers(found: Iterable[pydicom.Dataset], grid: geometry.Grid) -> CtReference:
    """As `read`, from headers that hold at least HEADER, IMAGE and POSITION."""
    images, headers = [], []
    for number, header in enumerate(found):
        if number < grid.shape[0]:
            _check_position(header, number, grid)
        images.append(_text(header, IMAGE, number))
        headers.append(header)
    for number, header in enumerate(headers):
        for keyword in _NEEDED:
            if _text(header, keyword, number) != _text(headers[0], keyword, 0):
                raise errors.SourceError(
                    f"the CT's image of slice {number + 1} from the feet differs "
                    f"from the first in {keyword}; leave only the images of one scan"
                )
    header = _listed(headers[0]) if headers else pydicom.Dataset()
    with quietly():
        mended = inherited.mend(header)
    return CtReference(grid, header, tuple(images), mended)


def _listed(header: pydicom.Dataset) -> pydicom.Dataset:
    """`header` without the elements that are not listed above."""
    listed = pydicom.Dataset()
    for keyword in (*HEADER, IMAGE, POSITION):
        if keyword in header:
            listed[tag.Tag(keyword)] = header.get_item(keyword)
    listed.set_original_encoding(
        *header.original_encoding, header.original_character_set
    )
    return listed


def _read_header(path: Path, number: int) -> pydicom.Dataset:
    try:
        with quietly():
            return pydicom.dcmread(
                path,
                force=True,
                stop_before_pixels=True,
                specific_tags=[*HEADER, IMAGE, POSITION],
            )
    # A damaged file may raise any exception, and its path may name the patient.
    except Exception as error:
        raise errors.SourceError(
            f"the CT's image of slice {number + 1} from the feet cannot be read "
            f"({type(error).__name__}); copy it again"
        ) from None


def _text(header: pydicom.Dataset, keyword: str, number: int) -> str:
    with quietly():
        value = str(header.get(keyword) or "")
    if not value:
        raise errors.SourceError(
            f"the CT's image of slice {number + 1} from the feet has no {keyword}, "
            "to which contours and dose must refer; export the CT again"
        )
    return value


def _check_position(header: pydicom.Dataset, number: int, grid: geometry.Grid) -> None:
    """Raise a SourceError unless the image lies at the slice `number` of `grid`."""
    try:
        with quietly():
            z_mm = float(header[POSITION].value[2])
    except (KeyError, IndexError, TypeError, ValueError):
        z_mm = np.nan
    expected_mm = grid.origin_mm[2] + number * grid.spacing_mm[0]
    if not abs(z_mm - expected_mm) < grid.spacing_mm[0] / 2:
        raise errors.SourceError(
            f"the CT's image of slice {number + 1} from the feet lies at z "
            f"{z_mm:g} mm, expected {expected_mm:g} mm; pass the files in the order of "
            "the slices, from the feet up"
        )


def invented(
    grid: geometry.Grid, *, patient_id: str, source: str = "OpenKBP"
) -> CtReference:
    """An invented reference for a CT that is not DICOM; `source` is in INVENTED.

    The same id and grid give the same UIDs. PositionReferenceIndicator says that the
    frame of reference is invented. `ct_images.write` writes images for it.

    Raises:
        GeometryError: `grid` is not canonical.
        RecordError: `patient_id` is not a valid id in DICOM.
    """
    if not re.fullmatch(r"[\w.-]{1,48}", patient_id, re.ASCII):
        raise errors.RecordError(
            f"the patient's id has {len(patient_id)} characters; a patient's id for "
            "DICOM has 1 to 48 ASCII letters, digits, _ . or -: rename the patient's "
            "folder"
        )
    identity = json.dumps([patient_id, dataclasses.asdict(grid)], default=float)

    def make(entity: str) -> uid.UID:
        # A UID made from a UUID (PS3.5 B.2).
        return uid.UID(f"2.25.{uuid.uuid5(_NAMESPACE, f'{entity} {identity}').int}")

    header = pydicom.Dataset()
    header.PatientName, header.PatientID = f"{source}^{patient_id}", patient_id
    header.StudyInstanceUID, header.SeriesInstanceUID = make("study"), make("series")
    header.FrameOfReferenceUID = make("frame")
    header.PositionReferenceIndicator = INVENTED[source]
    images = tuple(make(f"image {number}") for number in range(grid.shape[0]))
    return CtReference(grid, header, images)


def shared(reference: CtReference) -> pydicom.Dataset:
    """A new data set with the attributes that objects copy from the CT."""
    dicom = pydicom.Dataset()
    with quietly():
        if CHARACTERS in reference.header:
            dicom[CHARACTERS] = copy.deepcopy(reference.header[CHARACTERS])
        for keyword in SHARED:
            if keyword in reference.header:
                dicom[keyword] = copy.deepcopy(reference.header[keyword])
            else:
                setattr(dicom, keyword, "")
    return dicom
