"""Patients' folders to cases: what a network and an export need of each patient.

Input: folders, each one patient's or a folder of several, and NIfTI files, each a CT.
Output: a CaseFolder for each patient, with an id that identifies nobody; and from it a
Case: the CT as the site stores it, the contours that the role needs, and what exported
files refer to.
"""

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from mtl_jax.core import axis_order, errors, records
from mtl_jax.export import ct_reference
from mtl_jax.predict import trained_model
from mtl_jax.sources.clinical import dicom_patient, pseudonyms
from mtl_jax.sources.dicom import ct_series, headers, reader
from mtl_jax.sources.nifti import nifti_ct, oriented
from mtl_jax.sources.openkbp import patient_csv, storage

Kind = Literal["dicom", "openkbp", "nifti"]
AUTO: Literal["auto"] = "auto"  # in the patient's own folder
PathOrAuto = Path | Literal["auto"] | None
CT_CSV = f"{patient_csv.CT}.csv"
# As DICOM would say it; the challenge's files do not.
OPENKBP_BODY_PART = "HEADNECK"


@dataclasses.dataclass(frozen=True)
class CaseFolder:
    """A patient's folder or NIfTI file, and the patient's id in all output."""

    path: Path
    kind: Kind
    patient_id: str


@dataclasses.dataclass(frozen=True)
class ReadingOptions:
    """How DICOM patients are read."""

    dicom: reader.Options
    mapping: Mapping[str, str | None]  # ROI names to structures


@dataclasses.dataclass(frozen=True)
class Case:
    """A patient to predict."""

    patient: records.Patient  # without a dose; structures: what the role needs
    reference: ct_reference.CtReference
    body_part: str  # DICOM's BodyPartExamined: free text, never printed
    notes: tuple[str, ...]
    # UIDs of the patient's structure sets: the one that was read, else all.
    structure_sets: tuple[str, ...] = ()
    kind: Kind = "dicom"
    # How the CT's own array is ordered; None: it has no array, or it is not known.
    order: axis_order.AxisOrder | None = None


def find(folders: Sequence[Path], out: Path) -> list[CaseFolder]:
    """The patients in `folders`, each once, in their order.

    An OpenKBP patient is a folder with `ct.csv`. A DICOM patient is the given folder
    itself, or each folder in it if CTs of several studies are below it. A NIfTI file
    (.nii, .nii.gz) is a patient of its own. Ids are salted
    hashes of the folders' paths. The key file that maps ids to paths is beside `out`,
    or where MTL_JAX_KEY_FILE says, readable by its owner only.

    Raises:
        SourceError: the key file cannot be used.
    """
    kinds: dict[Path, Kind] = {}
    for folder in folders:
        # A folder is one patient, whatever links and `..` lead to it.
        kinds |= _patients(Path(os.path.realpath(folder)))
    ids = pseudonyms.ids(pseudonyms.key_file(out), map(str, kinds))
    return [CaseFolder(path, kind, ids[str(path)]) for path, kind in kinds.items()]


def _patients(folder: Path) -> Iterator[tuple[Path, Kind]]:
    if oriented.is_nifti(folder) and not folder.is_dir():
        yield folder, "nifti"
        return
    try:
        csv = sorted({path.parent for path in folder.rglob(CT_CSV)}, key=_natural)
    except OSError:  # reported when the patient is read
        csv = []
    for path in csv:
        yield path, "openkbp"
    for path in [] if csv else _dicom_patients(folder):
        yield path, "dicom"


def _natural(path: Path) -> tuple[object, ...]:
    """A sort key that puts pt_9 before pt_10."""
    digits = "".join(filter(str.isdigit, path.name))
    return path.parent.as_posix(), int(digits or 0), path.name


def _dicom_patients(folder: Path) -> list[Path]:
    try:
        entries = sorted(path for path in folder.iterdir() if path.name[0] != ".")
    except OSError:  # reported when the patient is read
        return [folder]
    subfolders = [path for path in entries if path.is_dir()]
    if len(subfolders) == len(entries) == 1:
        return _dicom_patients(subfolders[0])
    studies = {headers.study_of_ct(path) for path in subfolders} - {None}
    return subfolders if len(studies) > 1 else [folder]


def fingerprint(case_folder: CaseFolder, other_paths: Iterable[Path]) -> str:
    """SHA-256 of all files in the patient's folder and in the files and folders beside.

    An unreadable file counts as present; the reader reports what is wrong with it.
    """
    total = hashlib.sha256()
    for root in (case_folder.path, *other_paths):
        for path in _files(root):
            name = path.relative_to(root).as_posix() if path != root else ""
            # File names need not be text.
            total.update(f"{name}\n".encode(errors="surrogateescape"))
            try:
                with path.open("rb") as file:
                    total.update(hashlib.file_digest(file, "sha256").digest())
            except OSError:
                total.update(b"unreadable")
    return total.hexdigest()


def _files(root: Path) -> list[Path]:
    """The file `root`, or all files below it in order, without hidden ones."""
    if os.path.isfile(root):  # Path.is_file raises if it may not look
        return [root]
    paths = []
    for parent, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name[0] != "."]
        paths += [Path(parent) / name for name in names if name[0] != "."]
    # Opening a pipe or a socket would block.
    return sorted(path for path in paths if os.path.isfile(path))


def read(
    case_folder: CaseFolder,
    model: trained_model.TrainedModel,
    options: ReadingOptions,
    contours: PathOrAuto,
) -> Case:
    """The case in `case_folder`; `contours`: the RTSTRUCT, if the role takes one in.

    Raises:
        SourceError: it cannot be read, or lacks contours that the role needs.
    """
    with dicom_patient.guarded():
        if case_folder.kind == "openkbp":
            case = _read_openkbp(case_folder, model, contours)
        elif case_folder.kind == "nifti":
            case = _read_nifti(case_folder, model, options)
        else:
            case = _read_dicom(case_folder, model, options, contours)
    if model.role.input.needs_rtstruct:
        check_contours(case.patient, model)
    return case


def _read_dicom(
    case_folder: CaseFolder,
    model: trained_model.TrainedModel,
    options: ReadingOptions,
    contours: PathOrAuto,
) -> Case:
    structures: dict[str, np.ndarray] = {}
    offset = np.float32(model.site.ct_offset_hu)
    if model.role.input.needs_rtstruct:
        result = reader.read(
            case_folder.path,
            patient_id=case_folder.patient_id,
            site=model.site,
            mapping=options.mapping,
            options=options.dicom,
            rt_path=_given_path(contours),
            with_dose=False,
        )
        grid, stored, structures = (
            result.patient.grid,
            result.patient.ct,
            result.patient.structures,
        )
        files, notes = result.ct_files, result.notes
        structure_sets = [result.structure_set.file]
    else:
        show_paths = options.dicom.show_paths
        folder = headers.scan(case_folder.path, show_paths=show_paths)
        series, series_notes = ct_series.choose(folder)
        ct = ct_series.read(series, options.dicom.accept)
        grid, stored = ct.grid, ct.hu
        stored += offset
        files, notes = ct.files, (*folder.notes, *series_notes, *ct.notes)
        structure_sets = folder.structure_sets
    ct, clipping_notes = dicom_patient.as_stored(stored)
    patient = records.Patient(case_folder.patient_id, grid, ct, structures, None, None)
    return Case(
        records.check_patient(patient, model.site.names),
        ct_reference.from_headers([file.header for file in files], grid),
        files[0].text("BodyPartExamined"),
        (*notes, *clipping_notes),
        tuple(file.text("SOPInstanceUID") for file in structure_sets),
    )


_OPENKBP_FILES = (*patient_csv.REQUIRED, *patient_csv.SITE.names)
_OPENKBP_CT_FILES = (patient_csv.CT, patient_csv.SPACING)


def _read_openkbp(
    case_folder: CaseFolder, model: trained_model.TrainedModel, contours: PathOrAuto
) -> Case:
    if _given_path(contours):
        raise errors.SourceError(
            "an OpenKBP patient's contours are read from its own folder: give "
            "--rtstruct=auto"
        )
    names = [*_OPENKBP_CT_FILES, patient_csv.MASK]
    if model.role.input.needs_rtstruct:
        names += patient_csv.SITE.names
    raw = _read_csv(case_folder.path, case_folder.patient_id, names)
    patient = _convert_openkbp(patient_csv.parse(raw, _OPENKBP_CT_FILES), model)
    reference = ct_reference.invented(patient.grid, patient_id=case_folder.patient_id)
    return Case(patient, reference, OPENKBP_BODY_PART, (), kind="openkbp")


def _read_nifti(
    case_folder: CaseFolder, model: trained_model.TrainedModel, options: ReadingOptions
) -> Case:
    if model.role.input.needs_rtstruct:
        raise errors.SourceError(
            f"the role {model.role.name} needs contours, which predict does not read "
            "beside a NIfTI CT: give the CT and an RTSTRUCT as DICOM, or the masks in "
            "Python (docs/how-to/use-from-python.md)"
        )
    ct = nifti_ct.read(case_folder.path, options.dicom.accept)
    stored = ct.hu + np.float32(model.site.ct_offset_hu)
    stored, clipping_notes = dicom_patient.as_stored(stored)
    patient = records.Patient(case_folder.patient_id, ct.grid, stored, {}, None, None)
    return Case(
        records.check_patient(patient, model.site.names),
        ct_reference.invented(
            ct.grid, patient_id=case_folder.patient_id, source="NIfTI"
        ),
        body_part="",
        notes=(*ct.notes, *clipping_notes),
        kind="nifti",
        order=ct.order,
    )


def check_contours(patient: records.Patient, model: trained_model.TrainedModel) -> None:
    """Raise SourceError if none of the contours that the role needs is there."""
    contoured = patient.structures
    if model.role.input.shows_targets:
        names = [
            entry.name for entry in model.site.structures if entry.target_gy is not None
        ]
    else:
        names = list(model.config.data.structures)
    if not any(name in contoured for name in names):
        raise errors.SourceError(
            f"the role {model.role.name} needs contours of {', '.join(names)}, but "
            "none of them was found: draw them, or give --mapping if they have other "
            "names"
        )


def read_reference(
    case_folder: CaseFolder,
    model: trained_model.TrainedModel,
    options: ReadingOptions,
    reference: PathOrAuto,
) -> records.Patient:
    """The patient with its contours and dose, to evaluate against.

    Raises:
        SourceError: there are none, or they do not belong to the CT.
    """
    path, patient_id = _given_path(reference), case_folder.patient_id
    if case_folder.kind == "nifti":
        raise errors.SourceError(
            "a NIfTI CT has no reference that predict reads: give the patient as DICOM"
        )
    if case_folder.kind == "openkbp":
        raw = _read_csv(case_folder.path, patient_id, _OPENKBP_FILES)
        if path:
            raw = _with_ct_of(raw, _read_csv(path, patient_id, _OPENKBP_FILES))
        return _convert_openkbp(patient_csv.parse(raw), model)
    return dicom_patient.read_patient(
        dicom_patient.Raw(
            case_folder.path,
            patient_id,
            model.site,
            options.mapping,
            options.dicom,
            path,
        )
    )


def _given_path(path: PathOrAuto) -> Path | None:
    """The file or folder that a user named; None: the patient's own folder."""
    return path if isinstance(path, Path) else None


def _read_csv(
    folder: Path, patient_id: str, names: Sequence[str]
) -> patient_csv.RawPatient:
    """The bytes of those of the files `names` that are in `folder`."""
    contents: dict[str, bytes] = {}
    for name in names:
        path = folder / f"{name}.csv"
        try:
            if path.stat().st_size > storage.MAX_CSV_BYTES:
                raise errors.SourceError(
                    f"{name}.csv has more than {storage.MAX_CSV_BYTES:,} bytes, the "
                    "most that a file of the challenge has: give the original file"
                )
            contents[name] = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise errors.SourceError(
                f"{name}.csv cannot be read ({error.strerror})"
            ) from None
    return patient_csv.RawPatient(patient_id, patient_id, contents)


def _with_ct_of(
    own: patient_csv.RawPatient, reference: patient_csv.RawPatient
) -> patient_csv.RawPatient:
    """`reference` with the CT of `own`; a SourceError if it has another one."""
    ct = {name: own.files[name] for name in _OPENKBP_CT_FILES if name in own.files}
    for name in ct:
        if reference.files.get(name, ct[name]) != ct[name]:
            raise errors.SourceError(
                f"the reference's {name}.csv differs from the patient's, so it belongs "
                "to another patient: give the reference of this one"
            )
    return dataclasses.replace(reference, files={**reference.files, **ct})


def _convert_openkbp(
    patient: records.Patient, model: trained_model.TrainedModel
) -> records.Patient:
    """An OpenKBP patient with the CT values and structures of the model's site."""
    shift = np.float32(model.site.ct_offset_hu - patient_csv.SITE.ct_offset_hu)
    known = {n: m for n, m in patient.structures.items() if n in model.site.names}
    return dataclasses.replace(patient, ct=patient.ct + shift, structures=known)
