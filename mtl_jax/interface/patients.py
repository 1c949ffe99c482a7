"""A patient as Python code outside of this package holds it, and the package's record.

The package's own record (`core/records`) has the CT as its source stores it, with an
offset that only the site knows; this one has Hounsfield units.
"""

import dataclasses

import numpy as np

from mtl_jax.core import geometry, records, sites
from mtl_jax.sources.clinical import dicom_patient


@dataclasses.dataclass(frozen=True, eq=False)
class Patient:
    """A patient: a CT, and what was planned on it. Not contoured differs from empty.

    >>> ct_hu = np.full((4, 32, 32), -1000, np.float32)
    >>> Patient(ct_hu, geometry.Grid(ct_hu.shape, spacing_mm=(2.5, 1.0, 1.0)))
    <mtl_jax.Patient patient: CT 4 x 32 x 32, 2.5 x 1 x 1 mm, 0 structures, no dose>
    """

    ct_hu: np.ndarray  # [Z, Y, X] in Hounsfield units, from the feet
    grid: geometry.Grid  # where its voxels lie
    # [Z, Y, X] bool by the site's names of structures; only what was contoured.
    structures: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    dose_gy: np.ndarray | None = None  # [Z, Y, X]; None: no plan
    # [Z, Y, X] bool: where a dose is possible; None: not known.
    possible_dose_mask: np.ndarray | None = None
    patient_id: str = "patient"  # letters, digits, "-", "_" and "."
    site: sites.Site | None = None  # the treatment site; None: not known

    def __repr__(self) -> str:
        shape, spacing = (
            " x ".join(f"{value:g}" for value in values)
            for values in (self.grid.shape, self.grid.spacing_mm)
        )
        dose = "no dose"
        if self.dose_gy is not None:
            dose = f"dose up to {np.max(self.dose_gy):.1f} Gy"
        return (
            f"<mtl_jax.Patient {self.patient_id}: CT {shape}, {spacing} mm, "
            f"{len(self.structures)} structures, {dose}>"
        )


def of_record(record: records.Patient, site: sites.Site) -> Patient:
    """The record of a data set of `site` as a Patient."""
    return Patient(
        record.ct - np.float32(site.ct_offset_hu),
        record.grid,
        record.structures,
        record.dose_gy,
        record.possible_dose_mask,
        record.patient_id,
        site,
    )


def as_record(patient: Patient, site: sites.Site) -> records.Patient:
    """The record of `patient`, checked, with its CT as data sets of `site` store it.

    Raises:
        RecordError: arrays have other shapes than the grid, values that are not finite,
            or names that the site does not have.
    """

    def masks(mask: np.ndarray) -> np.ndarray:
        return np.asarray(mask, bool)

    hu, dose_gy = np.asarray(patient.ct_hu, np.float32), patient.dose_gy
    possible = patient.possible_dose_mask
    ct, _ = dicom_patient.as_stored(hu + np.float32(site.ct_offset_hu))
    record = records.Patient(
        patient.patient_id,
        patient.grid,
        ct,
        {name: masks(mask) for name, mask in patient.structures.items()},
        None if dose_gy is None else np.asarray(dose_gy, np.float32),
        None if possible is None else masks(possible),
    )
    return records.check_patient(record, site.names)
