"""The doors refuse what breaks the contract."""

import dataclasses

import numpy as np
import pytest

from mtl_jax.core import errors, geometry, records

NAMES = ("Brainstem", "Larynx")


def make_patient():
    shape = (2, 3, 4)
    return records.Patient(
        patient_id="pt_1",
        grid=geometry.Grid(shape, (2.5, 4.0, 4.0)),
        ct=np.zeros(shape, np.float32),
        structures={"Larynx": np.zeros(shape, bool)},
        dose_gy=np.zeros(shape, np.float32),
        possible_dose_mask=None,
    )


def test_a_good_patient_passes():
    patient = make_patient()
    assert records.check_patient(patient, NAMES) is patient


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("patient_id", "../pt_1", "letters, digits"),
        ("ct", np.zeros((2, 3, 3), np.float32), r"pt_1: ct has shape \(2, 3, 3\)"),
        ("ct", np.zeros((2, 3, 4)), "ct is float64"),
        ("ct", np.full((2, 3, 4), np.nan, np.float32), "NaN"),
        ("dose_gy", np.full((2, 3, 4), -1, np.float32), "negative"),
        ("structures", {"Larinx": np.zeros((2, 3, 4), bool)}, "did you mean 'Larynx'"),
        ("possible_dose_mask", np.zeros((2, 3, 4)), "expected bool"),
    ],
)
def test_a_broken_patient_is_refused(field, value, message):
    patient = dataclasses.replace(make_patient(), **{field: value})
    with pytest.raises(errors.RecordError, match=message):
        records.check_patient(patient, NAMES)
