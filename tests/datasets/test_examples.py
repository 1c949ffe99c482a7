"""Patients to slices and back: bits worked by hand, and all that may be absent."""

import dataclasses
import json

import numpy as np
import pytest

from mtl_jax.core import body_region, errors, geometry, records, sites
from mtl_jax.datasets import examples

SITE = sites.OPENKBP
SHAPE = (3, 4, 5)


def patient(**changes) -> records.Patient:
    rng = np.random.default_rng(0)
    made = records.Patient(
        patient_id="pt_1",
        grid=geometry.Grid(SHAPE, (2.5, 3.0, 4.0), origin_mm=(1.0, -2.0, 3.5)),
        ct=rng.integers(0, 2000, SHAPE).astype(np.float32),
        structures={
            "PTV70": rng.random(SHAPE) < 0.5,
            "Brainstem": rng.random(SHAPE) < 0.5,
            "Larynx": np.zeros(SHAPE, bool),  # contoured, and empty
        },
        dose_gy=rng.random(SHAPE).astype(np.float32),
        possible_dose_mask=rng.random(SHAPE) < 0.5,
    )
    return dataclasses.replace(made, **changes)


def entry(made: records.Patient) -> examples.PatientEntry:
    return examples.stack(made, SITE).entry


def test_masks_are_bits_in_the_sites_order():
    made = patient()
    slices = list(examples.encode(made, SITE))
    assert [example["slice"] for example in slices] == [0, 1, 2]
    ptv, mask = made.structures["PTV70"], made.possible_dose_mask
    assert mask is not None
    expected = (
        1 * made.structures["Brainstem"][2] + 512 * ptv[2] + 1024 * mask[2]
    )  # bits 0, 9 and 10
    np.testing.assert_array_equal(slices[2]["masks"], expected)
    assert slices[2]["masks"].dtype == np.uint16
    assert slices[2]["ct"].dtype == np.int16
    assert slices[0]["present"].tolist() == [
        True,
        *[False] * 4,
        True,
        *[False] * 3,
        True,
    ]
    assert slices[0]["spacing_mm"].tolist() == [2.5, 3.0, 4.0]


@pytest.mark.parametrize(
    "changes",
    [{}, {"dose_gy": None}, {"possible_dose_mask": None}, {"structures": {}}],
)
def test_a_patient_comes_back(changes):
    made = patient(**changes)
    found = examples.decode(list(examples.encode(made, SITE)), entry(made), SITE)
    assert found.patient_id == made.patient_id
    assert found.grid == made.grid
    np.testing.assert_array_equal(found.ct, made.ct)
    np.testing.assert_equal(found.dose_gy, made.dose_gy)
    np.testing.assert_equal(found.possible_dose_mask, made.possible_dose_mask)
    # Empty stays apart from not contoured; the order is the site's.
    assert list(found.structures) == [n for n in SITE.names if n in made.structures]
    for name, mask in made.structures.items():
        np.testing.assert_array_equal(found.structures[name], mask)
    records.check_patient(found, SITE.names)


def test_an_entry_survives_json():
    made = entry(patient())
    found = examples.PatientEntry.from_json(json.loads(json.dumps(made.to_json())))
    np.testing.assert_array_equal(found.body, made.body)
    assert found.to_json() == made.to_json()
    assert (found.grid, found.structures) == (made.grid, made.structures)


def test_a_slice_shows_a_body_from_a_thousandth_of_its_voxels_on():
    ct = np.full((4, 100, 100), 524.0, np.float32)  # -500 HU as stored: not above it
    ct[1, 0, :9] = 525
    ct[2, 0, :10] = 525
    ct[3] = 1024
    assert body_region.in_slices(ct, SITE.ct_offset_hu).tolist() == [
        False,
        False,
        True,
        True,
    ]
    hounsfield = dataclasses.replace(SITE, ct_offset_hu=0.0)
    assert body_region.in_slices(ct - 1024, hounsfield.ct_offset_hu).tolist() == [
        False,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"ct": np.zeros(SHAPE, np.float32)},
        {"dose_gy": np.zeros(SHAPE, np.float32)},
        {"dose_gy": None},
        {"structures": {}},
        {"possible_dose_mask": None},
        {"patient_id": "pt_2"},
    ],
)
def test_the_digest_tells_every_change(changes):
    digest = examples.stack(patient(), SITE).digest
    assert examples.stack(patient(), SITE).digest == digest
    assert examples.stack(patient(**changes), SITE).digest != digest


@pytest.mark.parametrize("value", [0.5, 40000.0, -40000.0])
def test_a_ct_that_would_not_come_back_is_refused(value: float):
    ct = np.full(SHAPE, value, np.float32)
    with pytest.raises(errors.RecordError, match="not 16-bit integers"):
        examples.stack(patient(ct=ct), SITE)


def test_slices_of_another_patient_are_refused():
    made = patient()
    slices = list(examples.encode(made, SITE))
    with pytest.raises(errors.DatasetError, match="do not belong together"):
        examples.decode(slices[::-1], entry(made), SITE)
    with pytest.raises(errors.DatasetError, match="expected its 3 slices in order"):
        examples.decode(slices[:2], entry(made), SITE)
