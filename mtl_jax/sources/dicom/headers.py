"""A patient's folder to the DICOM headers in it, sorted by kind.

Input: a folder with DICOM files, other files and subfolders. Output: a Folder with the
CT images by series, the structure sets, doses and plans. Each is a File whose name in
messages is its kind and number, such as `ct/ slice 4 of 120` (from the feet): the words
of a path may identify the patient, and are shown on request alone.
"""

import dataclasses
import filecmp
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom import uid

from mtl_jax.core import errors, note_kinds
from mtl_jax.sources.dicom import deidentification, elements, identity

CT = uid.CTImageStorage
CT_KINDS = (CT, uid.EnhancedCTImageStorage, uid.LegacyConvertedEnhancedCTImageStorage)
STRUCTURE_SET, DOSE = uid.RTStructureSetStorage, uid.RTDoseStorage
PLANS = (uid.RTPlanStorage, uid.RTIonPlanStorage)

# Only these elements are read, so a broken private element does no harm.
HEADER = (
    *deidentification.KEYWORDS,
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"),
    *("FrameOfReferenceUID", "ImageType", "ImagePositionPatient"),
    *("ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "NumberOfFrames"),
    *("SamplesPerPixel", "PixelRepresentation", "RescaleType", "BodyPartExamined"),
    *("DoseUnits", "DoseType", "DoseSummationType", "DoseGridScaling", "DoseComment"),
    *("GridFrameOffsetVector", "ReferencedRTPlanSequence"),
    *("ReferencedStructureSetSequence", "FractionGroupSequence", "BeamSequence"),
    # What exported objects share with their CT besides (export/ct_reference).
    *("PatientSex", "StudyDate", "StudyTime", "PositionReferenceIndicator"),
    "ApprovalStatus",
)
# The terms of code strings that messages quote; others may be anything.
TERMS = {
    "RescaleType": ("OD", "HU", "US", "MGML", "Z_EFF", "ED", "EDW", "HU_MOD", "PCT"),
    "DoseUnits": ("GY", "CGY", "RELATIVE"),
    "DoseType": ("PHYSICAL", "EFFECTIVE", "ERROR"),
    "DoseSummationType": (
        *("PLAN", "MULTI_PLAN", "PLAN_OVERVIEW", "FRACTION", "BEAM", "BRACHY"),
        *("FRACTION_SESSION", "BEAM_SESSION", "BRACHY_SESSION", "CONTROL_POINT"),
        *("RECORD",),
    ),
}
# The names of kinds of files in messages.
_GROUPS: dict[str, str] = {STRUCTURE_SET: "rtstruct", DOSE: "rtdose"}
_GROUPS |= dict.fromkeys(PLANS, "rtplan")
_MARK = b"DICM"
# A file without preamble begins with an element of group 0002 or 0008, in the one byte
# order or the other.
_STARTS = (b"\x08\x00", b"\x02\x00", b"\x00\x08", b"\x00\x02")
_MAX_LISTED = 5


@dataclasses.dataclass(frozen=True, eq=False)
class File:
    """A DICOM file: its path, its name in messages, and its header."""

    path: Path
    name: str
    header: pydicom.Dataset
    identifiers: deidentification.Identifiers

    def error(self, problem: str) -> errors.SourceError:
        """A SourceError with this file's name and its `problem`."""
        return errors.SourceError(f"{self.name} {problem}")

    def text(self, keyword: str) -> str:
        return elements.text(self.header, keyword, self.name)

    def quoted(self, keyword: str) -> str:
        """The text of `keyword` in quotes, if it is a term of the standard."""
        text = self.text(keyword)
        if text.upper() in ("", *TERMS[keyword]):
            return repr(text)
        return "of another value than the standard's"

    def numbers(self, keyword: str, count: int | None = None) -> tuple[float, ...]:
        return elements.numbers(self.header, keyword, self.name, count)

    def items(self, keyword: str) -> Sequence[pydicom.Dataset]:
        return elements.items(self.header, keyword, self.name)


@dataclasses.dataclass(frozen=True)
class Folder:
    """The DICOM files of one patient."""

    ct: dict[str, tuple[File, ...]]  # by SeriesInstanceUID
    structure_sets: tuple[File, ...]
    doses: tuple[File, ...]
    plans: tuple[File, ...]
    notes: tuple[note_kinds.Note, ...]
    identifiers: deidentification.Identifiers


def scan(folder: Path, *, show_paths: bool = False) -> Folder:
    """Read the headers under `folder`, which may also be one file.

    With `show_paths` the files' names in messages are their paths inside the folder.

    Raises:
        SourceError: files are damaged, or of several patients.
    """
    paths = _paths(folder)
    root = folder if folder.is_dir() else folder.parent
    read: dict[Path, pydicom.Dataset] = {}
    foreign, damaged = [], []
    for path in paths:
        hidden = any(part[0] == "." for part in path.relative_to(root).parts)
        header = None if hidden else _header(path)
        if header is not None:
            read[path] = header
        elif not hidden and _claims_dicom(path):
            damaged.append(path)
        else:
            foreign.append(path)
    identifiers = _identifiers(root, paths, read.values())
    if show_paths:
        names = {p: errors.printable(p.relative_to(root).as_posix()) for p in paths}
    else:
        names = {p: f"file {n} of {len(paths)} by path" for n, p in enumerate(paths, 1)}
        names |= _numbered(read)
    if damaged:
        raise errors.SourceError(
            f"{listed([names[path] for path in damaged])}: cannot be read as DICOM, "
            "empty, cut off or damaged; copy it again, or move it away"
        )
    files = [File(p, names[p], header, identifiers) for p, header in read.items()]
    shown = [names[path] for path in foreign]
    notes = [_skipped("no DICOM", shown, show_paths)] if foreign else []
    return _sort(files, notes, identifiers, show_paths)


def identifiers_of(folder: Path) -> deidentification.Identifiers:
    """What identifies the patient in `folder`, as far as that can be read."""
    try:
        paths = _paths(folder)
    except errors.SourceError:
        return deidentification.Identifiers(folder.absolute().name)
    found = (_header(path) for path in paths)
    return _identifiers(folder, paths, (header for header in found if header))


def _identifiers(
    root: Path, paths: Iterable[Path], found: Iterable[pydicom.Dataset]
) -> deidentification.Identifiers:
    """The names of folders and files, and the headers' identifying elements."""
    identifiers = deidentification.Identifiers(root.absolute().name)
    names = {part for path in paths for part in path.relative_to(root).parts}
    for name in names:
        identifiers.add_path(name)
    known: set[tuple[str, bytes]] = set()
    for header in found:
        identifiers.add_header(header, known)
    return identifiers


def _numbered(read: Mapping[Path, pydicom.Dataset]) -> dict[Path, str]:
    """Names by kind and number: of slices from the feet, of other files by path."""
    groups: dict[str, list[Path]] = {}
    series: dict[str, list[Path]] = {}
    for path, header in read.items():
        kind = _kind(header)
        if kind in CT_KINDS:
            key = elements.text(header, "SeriesInstanceUID", "a file")
            series.setdefault(key, []).append(path)
        else:
            groups.setdefault(_GROUPS.get(kind, "other"), []).append(path)
    names = {}
    for number, slices in enumerate(series.values(), 1):
        group = "ct" if len(series) == 1 else f"ct {number}"
        ordered = sorted(slices, key=lambda path: (_height_mm(read[path]), path))
        for place, path in enumerate(ordered, 1):
            names[path] = f"{group}/ slice {place} of {len(slices)}"
    for group, members in groups.items():
        for place, path in enumerate(members, 1):
            names[path] = f"{group}/ file {place} of {len(members)}"
    return names


def _height_mm(header: pydicom.Dataset) -> float:
    """The position of an image along z; infinite without one."""
    try:
        return elements.numbers(header, "ImagePositionPatient", "a file", 3)[2]
    except errors.SourceError:
        return np.inf


def study_of_ct(folder: Path) -> str | None:
    """The StudyInstanceUID of the first CT image under `folder`; None without one.

    Files that cannot be read are skipped: `scan` reports them.
    """
    try:
        paths = _paths(folder)
    except errors.SourceError:
        return None
    for path in paths:
        header = _header(path)
        if header is not None and _kind(header) in CT_KINDS:
            return elements.text(header, "StudyInstanceUID", "a file") or None
    return None


def _paths(folder: Path) -> list[Path]:
    """All files under `folder`, in order; links to folders are not followed."""

    def refuse(error: OSError) -> None:
        raise errors.SourceError(
            f"the patient's folder, or one in it, cannot be read ({error.strerror})"
        ) from None

    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise errors.SourceError("the patient's folder is not there, or not a folder")
    paths = [
        Path(root) / name
        for root, _, names in os.walk(folder, onerror=refuse)
        for name in names
    ]
    return sorted(path for path in paths if path.is_file())


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(132)
    except OSError:
        return _MARK.rjust(132)  # there is a file: reported when it cannot be read


def may_be_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM does, or has the extension of one."""
    return _start(path)[:2] in _STARTS or _claims_dicom(path)


def _claims_dicom(path: Path) -> bool:
    """Whether a file claims to be DICOM, by its mark or its extension."""
    return _start(path)[128:] == _MARK or path.suffix.lower() in (".dcm", ".dicom")


def _header(path: Path) -> pydicom.Dataset | None:
    """The header of a DICOM file; None for another file, or one that is damaged."""
    try:
        with path.open("rb") as file:
            start = file.read(132)
            if start[128:] != _MARK and start[:2] not in _STARTS:
                return None
            file.seek(0)
            header = elements.load(file, "", HEADER, pixels=False)
    except (OSError, errors.SourceError):
        return None
    return header if _kind(header) else None


def _kind(header: pydicom.Dataset) -> str:
    meta = getattr(header, "file_meta", pydicom.Dataset())
    kind = elements.text(header, "SOPClassUID", "a file")
    return kind or elements.text(meta, "MediaStorageSOPClassUID", "a file")


def _sort(
    files: list[File],
    notes: list[str],
    identifiers: deidentification.Identifiers,
    show_paths: bool,
) -> Folder:
    series: dict[str, list[File]] = {}
    by_kind: dict[str, list[File]] = {}
    for file in files:
        kind = _kind(file.header)
        if kind in CT_KINDS:
            if not (uid_of_series := file.text("SeriesInstanceUID")):
                raise file.error("has no SeriesInstanceUID, or is cut off; copy again")
            series.setdefault(uid_of_series, []).append(file)
        else:
            by_kind.setdefault(kind, []).append(file)

    def take(*kinds: str) -> tuple[File, ...]:
        matches = [file for kind in kinds for file in by_kind.pop(kind, [])]
        return _without_copies(matches, notes)

    structure_sets, doses, plans = take(STRUCTURE_SET), take(DOSE), take(*PLANS)
    if without_grid := [file.name for file in doses if not file.text("Rows")]:
        doses = tuple(file for file in doses if file.text("Rows"))
        kind = "RTDOSE of DVHs alone, without a dose"
        notes.append(_skipped(kind, without_grid, show_paths))
    for kind, unused in by_kind.items():
        with elements.quietly():
            sop_class = uid.UID(kind)
            description = sop_class.name
        # For an unknown UID pydicom returns the file's own text, which may be anything.
        if description == sop_class or not sop_class.is_valid:
            description = "an unknown kind of DICOM"
        names = [file.name for file in unused]
        notes.append(_skipped(description, names, show_paths))
    ct = {key: tuple(group) for key, group in series.items()}
    used = [*(f for group in ct.values() for f in group), *structure_sets, *doses]
    used += plans
    if two := identity.contradiction(used):
        field, one, other = two
        raise errors.SourceError(
            f"the folder holds files of several patients (their {field} differs), such "
            f"as {' and '.join(sorted((one.name, other.name)))}; give each patient a "
            "folder of its own, or export the files anew if they are of one"
        )
    all_notes = note_kinds.of("files", notes)
    all_notes += note_kinds.of("unstated", identity.unstated(used, listed))
    return Folder(ct, structure_sets, doses, plans, all_notes, identifiers)


def _without_copies(files: list[File], notes: list[str]) -> tuple[File, ...]:
    """`files` without copies; two that differ under one UID are a SourceError."""
    by_uid: dict[str, File] = {}
    for file in files:
        earlier = by_uid.setdefault(file.text("SOPInstanceUID") or file.name, file)
        if earlier is file:
            continue
        if not filecmp.cmp(earlier.path, file.path, shallow=False):
            raise file.error(
                f"and {earlier.name} differ but have the same SOPInstanceUID; move the "
                "one away that does not belong to this patient's plan"
            )
        notes.append(f"{file.name} is left out: a copy of {earlier.name}")
    return tuple(by_uid.values())


def _skipped(description: str, names: list[str], show_paths: bool) -> str:
    """That files were skipped; which, if their names are paths."""
    plural = "file" if len(names) == 1 else "files"
    which = f": {listed(names)}" if show_paths else ""
    return f"skipped {len(names)} {plural} ({description}){which}"


def listed(names: Sequence[str]) -> str:
    """The first few of `names`, and how many more there are."""
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return ", ".join(names[:_MAX_LISTED]) + more
