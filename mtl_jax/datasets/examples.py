"""Patients to examples (one axial slice each) and back.

An example is what a data set stores (core/records.Example): the CT as int16, the dose
as float32, and all masks as the bits of one uint16: three arrays a patient.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from mtl_jax.core import body_region, errors, geometry, note_kinds, records, sites


@dataclasses.dataclass(frozen=True)
class PatientEntry:
    """A patient's row in the index of a split: its slices, and what is stored."""

    patient_id: str
    start: int  # index of the first slice in the split
    slices: int  # number of slices, consecutive from the feet
    grid: geometry.Grid
    structures: tuple[str, ...]  # contoured, in the site's order
    has_dose: bool
    has_mask: bool  # the possible-dose mask is known
    body: np.ndarray  # [Z] bool: the slice shows a part of the body
    ct_sha256: str | None = None  # see `hash_ct`; data sets built before have none
    # Kind and structure of each note on how it was read, those that weigh most first.
    # Without their sentences, which may name files and ROIs.
    notes: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values for a metadata file."""
        values = {
            "patient_id": self.patient_id,
            "start": self.start,
            "slices": self.slices,
            "grid": dataclasses.asdict(self.grid),
            "structures": list(self.structures),
            "has_dose": self.has_dose,
            "has_mask": self.has_mask,
            "body": "".join("1" if body else "0" for body in self.body),
        }
        values |= {"ct_sha256": self.ct_sha256} if self.ct_sha256 else {}
        return values | ({"notes": [*map(list, self.notes)]} if self.notes else {})

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "PatientEntry":
        """What `to_json` wrote."""
        return cls(
            patient_id=row["patient_id"],
            start=row["start"],
            slices=row["slices"],
            grid=geometry.Grid.from_json(row["grid"]),
            structures=tuple(row["structures"]),
            has_dose=row["has_dose"],
            has_mask=row["has_mask"],
            body=np.array([flag == "1" for flag in row["body"]], np.bool_),
            ct_sha256=row.get("ct_sha256"),
            notes=tuple((kind, structure) for kind, structure in row.get("notes", ())),
        )


@dataclasses.dataclass(frozen=True)
class Stack:
    """The slices of one patient as a data set stores them."""

    entry: PatientEntry  # starts at 0
    ct: np.ndarray  # [Z, Y, X] int16
    dose_gy: np.ndarray  # [Z, Y, X] float32
    masks: np.ndarray  # [Z, Y, X] uint16
    present: np.ndarray  # [S] bool
    digest: str  # SHA-256 of all of it


def mask_bit(site: sites.Site) -> int:
    """The bit of the possible-dose mask: after the site's structures."""
    return len(site.structures)


def stack(patient: records.Patient, site: sites.Site) -> Stack:
    """What a data set stores of `patient`; RecordError if values would be lost."""
    records.check_patient(patient, site.names)
    ct = patient.ct.astype(np.int16)
    if not np.array_equal(ct, patient.ct):
        raise errors.RecordError(
            f"patient {patient.patient_id}: the CT has values that are not 16-bit "
            "integers; round it to whole Hounsfield units"
        )
    masks = np.zeros(patient.grid.shape, np.uint16)
    for bit, name in enumerate(site.names):
        if name in patient.structures:
            masks |= patient.structures[name].astype(np.uint16) << np.uint16(bit)
    if patient.possible_dose_mask is not None:
        masks |= patient.possible_dose_mask.astype(np.uint16) << np.uint16(
            mask_bit(site)
        )
    dose_gy = patient.dose_gy
    entry = PatientEntry(
        patient_id=patient.patient_id,
        start=0,
        slices=patient.grid.shape[0],
        grid=patient.grid,
        structures=tuple(name for name in site.names if name in patient.structures),
        has_dose=dose_gy is not None,
        has_mask=patient.possible_dose_mask is not None,
        body=body_region.in_slices(patient.ct, site.ct_offset_hu),
        ct_sha256=hash_ct(ct),
        notes=tuple(
            (note.kind, note.structure) for note in note_kinds.by_weight(patient.notes)
        ),
    )
    if dose_gy is None:
        dose_gy = np.zeros(patient.grid.shape, np.float32)
    return Stack(
        entry=entry,
        ct=ct,
        dose_gy=dose_gy,
        masks=masks,
        present=np.array([name in patient.structures for name in site.names]),
        digest=_digest(entry, ct, dose_gy, masks),
    )


def hash_ct(slices: Iterable[np.ndarray]) -> str:
    """SHA-256 of the stored CT `slices`, [Y, X] int16 each, from the feet."""
    total = hashlib.sha256()
    for plane in slices:
        total.update(_little_endian(plane))
    return total.hexdigest()


def _digest(entry: PatientEntry, *arrays: np.ndarray) -> str:
    # Without ct_sha256 and notes: fingerprints are those of data sets built before.
    total = hashlib.sha256(repr((entry.patient_id, entry.grid)).encode())
    total.update(repr((entry.structures, entry.has_dose, entry.has_mask)).encode())
    for array in arrays:
        total.update(_little_endian(array))
    return total.hexdigest()


def _little_endian(array: np.ndarray) -> memoryview:
    """The bytes of `array` in C order, the same on every machine."""
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return np.ascontiguousarray(little).data


def slices(stack: Stack) -> Iterator[records.Example]:
    """The examples of `stack`, from the feet."""
    for z in range(stack.entry.slices):
        yield records.Example(
            ct=stack.ct[z],
            dose_gy=stack.dose_gy[z],
            masks=stack.masks[z],
            present=stack.present,
            has_dose=stack.entry.has_dose,
            patient=stack.entry.patient_id,
            slice=z,
            spacing_mm=np.asarray(stack.entry.grid.spacing_mm, np.float64),
        )


def encode(patient: records.Patient, site: sites.Site) -> Iterator[records.Example]:
    """The examples of `patient`, from the feet."""
    return slices(stack(patient, site))


def decode(
    examples: Sequence[records.Example], entry: PatientEntry, site: sites.Site
) -> records.Patient:
    """The patient of `entry`, whose `examples` are in order."""
    stored = [(example["patient"], example["slice"]) for example in examples]
    expected = [(entry.patient_id, z) for z in range(entry.slices)]
    if stored != expected:
        raise errors.DatasetError(
            f"patient {entry.patient_id}: expected its {entry.slices} slices in order, "
            f"found {stored[:3]} ...; the data set's index and shards do not belong "
            "together: remove it and build it again"
        )
    masks = np.stack([example["masks"] for example in examples])

    def bit(position: int) -> np.ndarray:
        return (masks & np.uint16(1 << position)) != 0

    names = site.names
    return records.Patient(
        patient_id=entry.patient_id,
        grid=entry.grid,
        ct=np.stack([example["ct"] for example in examples]).astype(np.float32),
        structures={name: bit(names.index(name)) for name in entry.structures},
        dose_gy=np.stack([example["dose_gy"] for example in examples])
        if entry.has_dose
        else None,
        possible_dose_mask=bit(mask_bit(site)) if entry.has_mask else None,
    )


def read_stack(
    read: Callable[[Any], records.Patient], raw: Any, site: sites.Site
) -> Stack:
    """The stack of the patient that `read` reads from `raw`."""
    return stack(read(raw), site)
