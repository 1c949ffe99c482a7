"""A patient's folder to what a network and an export need of it.

Goes in: an Input and the network's description. Comes out: a Case, the CT as the site
stores it, the contours that a role takes in, and what exported objects refer to.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from mtl_jax.core import errors, records
from mtl_jax.export import ct_reference
from mtl_jax.predict import inputs, trained_model
from mtl_jax.sources.clinical import dicom_patient
from mtl_jax.sources.dicom import ct_series, headers, reader
from mtl_jax.sources.openkbp import patient_csv, storage

AUTO: Literal["auto"] = "auto"  # what lies in the patient's own folder
Place = Path | Literal["auto"] | None
# Roles that take these in need them drawn by somebody.
DRAWN_BY_HAND = ("reference", "painted")


@dataclasses.dataclass(frozen=True)
class How:
    """How a DICOM patient is read."""

    options: reader.Options
    mapping: Mapping[str, str | None]


@dataclasses.dataclass(frozen=True)
class Case:
    """A patient to predict."""

    patient: records.Patient  # without a dose; structures: what the role takes in
    reference: ct_reference.CtReference
    body_part: str  # DICOM's BodyPartExamined: foreign text, not to be shown
    notes: tuple[str, ...]


def read(
    one: inputs.Input, about: trained_model.Description, how: How, contours: Place
) -> Case:
    """The patient of `one`; `contours` says where the RTSTRUCT is, if one is needed.

    Raises:
        SourceError: it cannot be read, or lacks contours that the role takes in.
    """
    with dicom_patient.guarded():
        if one.kind == "openkbp":
            case = _openkbp(one, about, contours)
        else:
            case = _dicom(one, about, how, contours)
    if about.role.beside_ct in DRAWN_BY_HAND:
        _check_contours(case.patient, about)
    return case


def read_reference(
    one: inputs.Input, about: trained_model.Description, how: How, place: Place
) -> records.Patient:
    """The patient with its contours and dose, to evaluate against.

    Raises:
        SourceError: there are none, or they do not belong to the CT.
    """
    if one.kind == "openkbp":
        raw = _raw(one.folder, one.patient_id, _OPENKBP_FILES)
        if folder := _elsewhere(place):
            raw = _on_this_ct(_raw(folder, one.patient_id, _OPENKBP_FILES), raw)
        return _as_site_stores(patient_csv.parse(raw), about)
    return dicom_patient.read_patient(
        dicom_patient.Raw(
            one.folder,
            one.patient_id,
            about.site,
            how.mapping,
            how.options,
            _elsewhere(place),
        )
    )


def _elsewhere(place: Place) -> Path | None:
    """The file or folder that a user named; None: the patient's own folder."""
    return place if isinstance(place, Path) else None


def _dicom(
    one: inputs.Input, about: trained_model.Description, how: How, contours: Place
) -> Case:
    structures: dict[str, np.ndarray] = {}
    offset = np.float32(about.site.ct_offset_hu)
    if about.role.beside_ct in DRAWN_BY_HAND:
        found = reader.read(
            one.folder,
            patient_id=one.patient_id,
            site=about.site,
            mapping=how.mapping,
            options=how.options,
            beside=_elsewhere(contours),
            with_dose=False,
        )
        grid, stored, structures = (
            found.patient.grid,
            found.patient.ct,
            found.patient.structures,
        )
        files, notes = found.ct_files, found.notes
    else:
        folder = headers.scan(one.folder)
        chosen, told = ct_series.choose(folder)
        ct = ct_series.read(chosen)
        grid, stored = ct.grid, ct.hu
        stored += offset
        files, notes = ct.files, (*folder.notes, *told, *ct.notes)
    ct, clipped = dicom_patient.as_stored(stored)
    patient = records.Patient(one.patient_id, grid, ct, structures, None, None)
    return Case(
        records.check_patient(patient, about.site.names),
        ct_reference.from_headers([file.header for file in files], grid),
        files[0].text("BodyPartExamined"),
        (*notes, *clipped),
    )


_OPENKBP_FILES = (*patient_csv.REQUIRED, *patient_csv.SITE.names)
_ABOUT_CT = (patient_csv.CT, patient_csv.SPACING)


def _openkbp(
    one: inputs.Input, about: trained_model.Description, contours: Place
) -> Case:
    if _elsewhere(contours):
        raise errors.SourceError(
            "contours of an OpenKBP patient are in its own folder: give --rtstruct=auto"
        )
    names = [*_ABOUT_CT, patient_csv.MASK]
    if about.role.beside_ct in DRAWN_BY_HAND:
        names += patient_csv.SITE.names
    found = patient_csv.parse(_raw(one.folder, one.patient_id, names), _ABOUT_CT)
    patient = _as_site_stores(found, about)
    reference = ct_reference.invented(patient.grid, patient_id=one.patient_id)
    return Case(patient, reference, "", ())


def _raw(folder: Path, patient_id: str, names: Sequence[str]) -> patient_csv.RawPatient:
    """The bytes of those of the files `names` that are in `folder`."""
    contents: dict[str, bytes] = {}
    for name in names:
        path = folder / f"{name}.csv"
        try:
            if path.stat().st_size > storage.MAX_CSV_BYTES:
                raise errors.SourceError(f"{name}.csv is no file of the challenge")
            contents[name] = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise errors.SourceError(
                f"{name}.csv cannot be read ({error.strerror})"
            ) from None
    return patient_csv.RawPatient(patient_id, patient_id, contents)


def _on_this_ct(
    reference: patient_csv.RawPatient, own: patient_csv.RawPatient
) -> patient_csv.RawPatient:
    """`reference` with the CT of `own`; a SourceError if it has another one."""
    ct = {name: own.files[name] for name in _ABOUT_CT if name in own.files}
    for name in ct:
        if reference.files.get(name, ct[name]) != ct[name]:
            raise errors.SourceError(
                f"the reference has another {name}.csv than the patient: it is of "
                "another patient; give this one's"
            )
    return dataclasses.replace(reference, files={**reference.files, **ct})


def _as_site_stores(
    patient: records.Patient, about: trained_model.Description
) -> records.Patient:
    """An OpenKBP patient with the CT values and structures of the network's site."""
    shift = np.float32(about.site.ct_offset_hu - patient_csv.SITE.ct_offset_hu)
    kept = {n: m for n, m in patient.structures.items() if n in about.site.names}
    return dataclasses.replace(patient, ct=patient.ct + shift, structures=kept)


def _check_contours(patient: records.Patient, about: trained_model.Description) -> None:
    """SourceError unless there is something for the network to be told."""
    site, given = about.site, patient.structures
    if about.role.beside_ct == "painted":
        known = [one.name for one in site.structures if one.target_gy is not None]
    else:
        known = list(about.config.data.structures)
    if not any(name in given for name in known):
        raise errors.SourceError(
            f"the role {about.role.name} takes in contours of {', '.join(known)}, and "
            "none of them was drawn; draw them, or give --mapping if they have other "
            "names"
        )
