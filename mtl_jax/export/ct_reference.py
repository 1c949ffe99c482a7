"""The CT that a prediction belongs to, as exported objects refer to it.

Goes in: the files of a CT series, or an OpenKBP patient's id and grid. Comes out: a
CtReference, whose header holds no more than the allow-list below.
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

# What exported objects share with their CT, and nothing else of it: who the patient is
# (PS3.3 C.7.1.1), which study (C.7.2.1), which coordinates (C.7.4.1), and how names are
# encoded (C.12.1). An object without these of type 2 has them empty.
SHARED = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber"),
    *("FrameOfReferenceUID", "PositionReferenceIndicator"),
)
CHARACTERS = "SpecificCharacterSet"
# What is referred to besides.
SERIES, IMAGE, POSITION = "SeriesInstanceUID", "SOPInstanceUID", "ImagePositionPatient"
HEADER = (CHARACTERS, *SHARED, SERIES)
_NEEDED = ("StudyInstanceUID", "FrameOfReferenceUID", SERIES)

# PositionReferenceIndicator of a frame of reference that no scanner measured.
INVENTED = "INVENTED: OpenKBP HAS NO COORDINATES"
# Of it all identifiers of invented references are made (RFC 9562, version 5).
_NAMESPACE = uuid.UUID("6f0c2a6e-5c0f-4a53-9d51-9a7d2c1f6b1e")


@dataclasses.dataclass(frozen=True)
class CtReference:
    """The CT that a prediction belongs to: what exported objects refer to."""

    grid: geometry.Grid  # canonical: z to the head, rows to posterior, columns to left
    header: pydicom.Dataset  # of one image; only HEADER of it is ever copied
    images: tuple[str, ...]  # SOPInstanceUID of each slice, from the feet

    def __post_init__(self) -> None:
        if not np.array_equal(self.grid.direction, geometry.CANONICAL):
            raise errors.GeometryError(
                "the CT's grid is turned; exported objects need the canonical one, "
                "which mtl_jax's readers give"
            )
        if len(self.images) != self.grid.shape[0]:
            raise errors.GeometryError(
                f"{len(self.images)} images for {self.grid.shape[0]} slices of the CT; "
                "there is one for each slice"
            )

    @property
    def invented(self) -> bool:
        """Whether the frame of reference is of no scanner."""
        return self.header.get("PositionReferenceIndicator") == INVENTED

    def check(self, volume: np.ndarray, what: str) -> None:
        """GeometryError unless `volume` lies on the CT's grid."""
        if volume.shape != self.grid.shape:
            raise errors.GeometryError(
                f"{what} is {volume.shape}, the CT {self.grid.shape}; bring it to the "
                "CT's grid first with geometry.resample"
            )


@contextmanager
def quietly() -> Iterator[None]:
    """Keep pydicom from warning, which would print values of the CT's header."""
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        yield


def read(paths: Sequence[Path], grid: geometry.Grid) -> CtReference:
    """The reference to the CT series in `paths`: the file of each slice, from the feet.

    Raises:
        SourceError: an image cannot be read, lies at no slice of `grid`, or has no
            identifier that exported objects need.
        GeometryError: `grid` is not canonical, or of another number of slices.
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
                    f"the CT's image of slice {number + 1} from the feet has another "
                    f"{keyword} than the first; leave the images of one scan"
                )
    header = _listed(headers[0]) if headers else pydicom.Dataset()
    return CtReference(grid, header, tuple(images))


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
    # A damaged file may raise anything at all; its path may name the patient.
    except Exception as error:
        raise errors.SourceError(
            f"the CT's image of slice {number + 1} from the feet cannot be read "
            f"({type(error).__name__}); copy it again"
        ) from None


def _text(header: pydicom.Dataset, keyword: str, number: int) -> str:
    with quietly():
        found = str(header.get(keyword) or "")
    if not found:
        raise errors.SourceError(
            f"the CT's image of slice {number + 1} from the feet has no {keyword}, "
            "which contours and dose must refer to; export the CT again"
        )
    return found


def _check_position(header: pydicom.Dataset, number: int, grid: geometry.Grid) -> None:
    """SourceError unless the slice `number` of `grid` is nearest to the image."""
    try:
        with quietly():
            z_mm = float(header[POSITION].value[2])
    except (KeyError, IndexError, TypeError, ValueError):
        z_mm = np.nan
    expected_mm = grid.origin_mm[2] + number * grid.spacing_mm[0]
    if not abs(z_mm - expected_mm) < grid.spacing_mm[0] / 2:
        raise errors.SourceError(
            f"the CT's image of slice {number + 1} from the feet lies at z "
            f"{z_mm:g} mm, the slice at {expected_mm:g} mm; give the files in the "
            "order of the slices, from the feet"
        )


def invented(grid: geometry.Grid, *, patient_id: str) -> CtReference:
    """A reference for an OpenKBP patient, whose data has no coordinates.

    The same id and grid give the same identifiers; PositionReferenceIndicator says that
    the frame of reference is invented. export/ct_images writes the images to it.
    """
    if not re.fullmatch(r"[\w.-]{1,48}", patient_id, re.ASCII):
        raise errors.RecordError(
            "a patient's id for DICOM has 1 to 48 ASCII letters, digits, _ . or -; "
            f"found {len(patient_id)} characters: name the patient's folder so"
        )
    whole = json.dumps([patient_id, dataclasses.asdict(grid)], default=float)

    def make(what: str) -> uid.UID:
        # A UID made from a UUID (PS3.5 B.2).
        return uid.UID(f"2.25.{uuid.uuid5(_NAMESPACE, f'{what} {whole}').int}")

    header = pydicom.Dataset()
    header.PatientName, header.PatientID = f"OpenKBP^{patient_id}", patient_id
    header.StudyInstanceUID, header.SeriesInstanceUID = make("study"), make("series")
    header.FrameOfReferenceUID = make("frame")
    header.PositionReferenceIndicator = INVENTED
    images = tuple(make(f"image {number}") for number in range(grid.shape[0]))
    return CtReference(grid, header, images)


def shared(reference: CtReference) -> pydicom.Dataset:
    """A new data set with what an object of the same study shares with the CT."""
    made = pydicom.Dataset()
    with quietly():
        if CHARACTERS in reference.header:
            made[CHARACTERS] = copy.deepcopy(reference.header[CHARACTERS])
        for keyword in SHARED:
            if keyword in reference.header:
                made[keyword] = copy.deepcopy(reference.header[keyword])
            else:
                setattr(made, keyword, "")
    return made
