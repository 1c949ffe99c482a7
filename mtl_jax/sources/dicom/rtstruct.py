"""An RTSTRUCT to its ROIs as planar contours in patient millimetres.

Input: a structure set's file. Output: a StructureSet, whose ROIs hold only closed
contours; points, open lines and damaged contours are left out and counted. Contours are
matched to slices by their coordinates (core/contour_geometry), never by UIDs.
"""

import collections
import dataclasses
import unicodedata
from collections.abc import Iterator

import numpy as np
import pydicom

from mtl_jax.core import contour_geometry, errors
from mtl_jax.sources.dicom import elements, headers, orientation

KEYWORDS = (
    *("SOPInstanceUID", "ReferencedFrameOfReferenceSequence"),
    *("StructureSetROISequence", "ROIContourSequence", "RTROIObservationsSequence"),
)
# Whether contours of this type are combined by exclusive or (PS3.3 C.8.8.6.1).
CLOSED = {"CLOSED_PLANAR": False, "CLOSEDPLANAR_XOR": True}
# Reasons to leave out contours, of those that may have been a part of the ROI.
UNKNOWN = "contours left out, of unknown type"
DAMAGED = "contours left out, with damaged coordinates"
UNREAD = (UNKNOWN, DAMAGED)


@dataclasses.dataclass(frozen=True)
class Roi:
    """A region of interest; without contours it was not contoured."""

    name: str  # as it is in the file: foreign text
    label: str  # the same, without identifiers
    kind: str  # RTROIInterpretedType such as PTV, ORGAN, EXTERNAL; '' without one
    frame_uid: str  # of its coordinates, '' without one
    contours: tuple[contour_geometry.Contour, ...]
    left_out: tuple[str, ...]  # contours that enclose no area, by reason
    unread: tuple[str, ...]  # contours that cannot be read, by reason


@dataclasses.dataclass(frozen=True)
class StructureSet:
    """The ROIs of an RTSTRUCT and the images it refers to."""

    file: headers.File
    rois: tuple[Roi, ...]
    frame_uids: frozenset[str]
    series_uids: frozenset[str]
    image_uids: frozenset[str]
    notes: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names to assign: of two ROIs with one name, an empty one does not count."""
        contoured = [roi.name for roi in self.rois if roi.contours]
        empty = {roi.name for roi in self.rois} - set(contoured)
        return (*contoured, *sorted(empty))

    def roi(self, name: str) -> Roi:
        """The ROI called `name`, one with contours before one without."""
        matches = [roi for roi in self.rois if roi.name == name]
        return max(matches, key=lambda roi: len(roi.contours))


def read(file: headers.File) -> StructureSet:
    """The structure set in `file`.

    Raises:
        SourceError: it has no ROIs or contours at all, or two ROIs of one number.
    """
    dataset = elements.load(file.path, file.name, KEYWORDS, pixels=False)
    listed = _numbered(file, dataset, "StructureSetROISequence", "ROINumber")
    contoured = _numbered(file, dataset, "ROIContourSequence", "ReferencedROINumber")
    observed = _numbered(
        file, dataset, "RTROIObservationsSequence", "ReferencedROINumber"
    )
    if not listed:
        raise file.error("lists no ROI (StructureSetROISequence); export it again")
    if not contoured:
        raise file.error("holds no contours (ROIContourSequence); export it again")
    if max(map(len, listed.values())) > 1:
        raise file.error("has two ROIs of one ROINumber; export it again")
    frames, series, images = _references(file, dataset)
    for items in observed.values():
        for item in items:
            interpreter = elements.text(item, "ROIInterpreter", file.name)
            file.identifiers.add_element("ROIInterpreter", interpreter)
    rois = [
        _roi(file, item, contoured.get(number, []), observed.get(number, []), frames)
        for number, (item,) in listed.items()
    ]
    images |= _images(file, [item for items in contoured.values() for item in items])
    nameless = sum(len(items) for n, items in contoured.items() if n not in listed)
    notes = [f"{file.name} has contours of no listed ROI: {nameless}"]
    return StructureSet(
        file,
        tuple(rois),
        frozenset(frames),
        frozenset(series),
        frozenset(images),
        tuple(notes if nameless else ()),
    )


def frames(file: headers.File) -> set[str]:
    """UIDs of the frames of reference that a structure set says it was drawn in."""
    dataset = elements.load(file.path, file.name, KEYWORDS, pixels=False)
    return _references(file, dataset)[0]


def _numbered(
    file: headers.File, dataset: pydicom.Dataset, sequence: str, key: str
) -> dict[int, list[pydicom.Dataset]]:
    """Items by the ROI number that they are linked by: positions mean nothing."""
    by_number: dict[int, list[pydicom.Dataset]] = {}
    for item in elements.items(dataset, sequence, file.name):
        number = int(elements.numbers(item, key, file.name, 1)[0])
        by_number.setdefault(number, []).append(item)
    return by_number


def _roi(
    file: headers.File,
    item: pydicom.Dataset,
    contour_sequences: list[pydicom.Dataset],
    observed: list[pydicom.Dataset],
    frames: set[str],
) -> Roi:
    # Umlauts may be one character or two, which look alike.
    text = elements.text(item, "ROIName", file.name)
    name = unicodedata.normalize("NFC", text)
    frame = elements.text(item, "ReferencedFrameOfReferenceUID", file.name)
    contours = []
    left_out, unread = collections.Counter[str](), collections.Counter[str]()
    for contour_sequence in contour_sequences:
        for contour_item in elements.items(
            contour_sequence, "ContourSequence", file.name
        ):
            contour = _contour(file, contour_item)
            if isinstance(contour, str):
                (unread if contour in UNREAD else left_out)[contour] += 1
            else:
                contours.append(contour)
    kinds = [elements.text(o, "RTROIInterpretedType", file.name) for o in observed]
    return Roi(
        name=name,
        label=errors.printable(file.identifiers.hide(name)),
        kind=next((kind for kind in kinds if kind), ""),
        frame_uid=frame or (min(frames) if len(frames) == 1 else ""),
        contours=tuple(contours),
        left_out=tuple(f"{reason}: {n}" for reason, n in sorted(left_out.items())),
        unread=tuple(f"{reason}: {n}" for reason, n in sorted(unread.items())),
    )


def _contour(
    file: headers.File, item: pydicom.Dataset
) -> contour_geometry.Contour | str:
    """A closed contour, or why it is none."""
    kind = elements.text(item, "ContourGeometricType", file.name)
    kind = kind.upper()
    if kind not in CLOSED:
        is_standard = kind in ("POINT", "OPEN_PLANAR", "OPEN_NONPLANAR")
        return f"contours left out, {kind}" if is_standard else UNKNOWN
    points = _points(item)
    # Cut off by a writer, 64 KiB still are a polygon: the stated number tells.
    stated = elements.numbers(item, "NumberOfContourPoints", file.name)
    if points is None or (stated and stated[0] != len(points)):
        return DAMAGED
    # Some writers repeat the first point at the end.
    if len(points) > 1 and np.array_equal(points[0], points[-1]):
        points = points[:-1]
    if len(points) < 3:
        return "contours left out, of fewer than 3 points"
    return contour_geometry.Contour(points, xor=CLOSED[kind])


def _points(item: pydicom.Dataset) -> np.ndarray | None:
    """[P, 3] of ContourData; None if a number is missing, or no number."""
    # From the bytes: ten times as fast as pydicom's decimals, and blanks are seen.
    element = item.get_item("ContourData", keep_deferred=True)
    content = element.value if element is not None else None
    if isinstance(content, bytes):
        texts = content.decode("ascii", "replace").rstrip(" \0").split("\\")
    else:
        texts = [] if content is None else [str(value) for value in content]
    try:
        values = np.array([float(text) for text in texts])
    except ValueError:
        return None
    if any("_" in text for text in texts):  # a number to Python, not to DICOM
        return None
    if values.size % 3 or not np.all(np.abs(values) < orientation.FAR_MM):
        return None
    return values.reshape(-1, 3)


def _references(
    file: headers.File, dataset: pydicom.Dataset
) -> tuple[set[str], set[str], set[str]]:
    """UIDs of the frames of reference, series and images that it was drawn on."""
    frames, series, images = set(), set(), set()
    name = file.name
    for frame in elements.items(dataset, "ReferencedFrameOfReferenceSequence", name):
        frames.add(elements.text(frame, "FrameOfReferenceUID", name))
        for study in elements.items(frame, "RTReferencedStudySequence", name):
            for item in elements.items(study, "RTReferencedSeriesSequence", name):
                series.add(elements.text(item, "SeriesInstanceUID", name))
                images |= set(_image_uids(file, item))
    return frames - {""}, series - {""}, images


def _images(file: headers.File, contour_sequences: list[pydicom.Dataset]) -> set[str]:
    """UIDs of the images that contours refer to, if they do."""
    return {
        uid
        for sequence in contour_sequences
        for contour in elements.items(sequence, "ContourSequence", file.name)
        for uid in _image_uids(file, contour)
    }


def _image_uids(file: headers.File, item: pydicom.Dataset) -> Iterator[str]:
    for image in elements.items(item, "ContourImageSequence", file.name):
        yield elements.text(image, "ReferencedSOPInstanceUID", file.name)
