"""What is reported of a dose: by hand, perfect and scaled doses, and at the edges."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import ndimage

from mtl_jax.core import body_region, errors, geometry, records, reported_metrics, sites
from mtl_jax.metrics import dose_metrics, openkbp

SITE = sites.OPENKBP
METRICS_HU = body_region.METRICS_HU
TEMPLATE = reported_metrics.default(SITE)
GRID = geometry.Grid((6, 20, 20), (2.5, 4.0, 4.0))
AIR, WATER = 0.0, 1024.0  # stored values


def box(z: slice, y: slice, x: slice) -> np.ndarray:
    mask = np.zeros(GRID.shape, bool)
    mask[z, y, x] = True
    return mask


@pytest.fixture
def patient(rng: np.random.Generator) -> records.Patient:
    body = box(slice(0, 6), slice(4, 16), slice(4, 16))
    return records.Patient(
        patient_id="pt_7",
        grid=GRID,
        ct=np.where(body, WATER, AIR).astype(np.float32),
        structures={
            "Brainstem": box(slice(1, 4), slice(5, 9), slice(5, 9)),
            "Larynx": box(slice(2, 3), slice(10, 11), slice(10, 11)),
            "Esophagus": np.zeros(GRID.shape, bool),
            "PTV70": box(slice(2, 5), slice(8, 14), slice(8, 14)),
        },
        dose_gy=rng.uniform(1, 70, GRID.shape).astype(np.float32),
        possible_dose_mask=body,
    )


def score(patient: records.Patient, predicted_gy: np.ndarray, template=TEMPLATE):
    assert patient.dose_gy is not None
    values = dose_metrics.score(patient.dose_gy, predicted_gy, patient, SITE, template)
    return {(v.structure, v.metric): v for v in values}


def test_a_perfect_dose_has_no_error(patient: records.Patient):
    values = score(patient, patient.dose_gy).values()
    assert openkbp.dvh_score(openkbp.dvh_errors(values, SITE)) == 0
    assert all(v.error == 0 or v.note for v in values)
    assert all(v.reference == v.prediction or v.note for v in values)
    assert all(v.note for v in values if math.isnan(v.error))


def test_a_scaled_dose_is_ten_percent_off_in_every_dose(patient: records.Patient):
    doses = [
        v
        for v in score(patient, patient.dose_gy * np.float32(1.1)).values()
        if ":D_" in v.metric and not math.isnan(v.error)
    ]
    assert len(doses) > 8
    for value in doses:
        assert value.error == pytest.approx(0.1 * value.reference, rel=1e-5)


def test_order_and_units_are_the_templates(patient: records.Patient):
    template = reported_metrics.Template(
        patient=("dose_mae_5gy",),
        dvh={"PTV70": ("exact:V_20Gy", "exact:D_95"), "Brainstem": ("exact:D_mean",)},
        contours={},
        dose_table={},
    )
    found = [
        (v.structure, v.metric, v.unit)
        for v in score(patient, patient.dose_gy, template).values()
    ]
    assert found == [
        ("", "dose_mae_5gy", "Gy"),
        ("PTV70", "exact:V_20Gy", "%"),
        ("PTV70", "exact:D_95", "Gy"),
        ("Brainstem", "exact:D_mean", "Gy"),
    ]


def test_errors_over_the_patient_by_hand(patient: records.Patient):
    reference = np.zeros(GRID.shape, np.float32)
    predicted = np.zeros(GRID.shape, np.float32)
    reference[0, 4:16, 4:16] = 5.0  # 144 voxels of the body's 864
    predicted[0, 4:16, 4:16] = 8.0
    predicted[0, 0, 0] = 9.0  # outside the body and the mask
    found = score(dataclasses.replace(patient, dose_gy=reference), predicted)
    assert found["", "dose_error"].error == pytest.approx((144 * 3 + 9) / 864)
    assert found["", "dose_mae_body"].error == pytest.approx(144 * 3 / 864)
    assert found["", "dose_mae_5gy"].error == pytest.approx(3.0)
    for name in ("dose_error", "dose_mae_body", "dose_mae_5gy"):
        value = found["", name]
        assert (value.unit, value.note, value.reference) == ("Gy", "", 0.0)
        assert value.prediction == value.error


def test_gamma_is_a_percentage_that_is_summarised_itself(patient: records.Patient):
    reference = np.full(GRID.shape, 50.0, np.float32)
    predicted = reference.copy()
    predicted[0] += 20.0  # no equal dose within 3 mm, one slice on: 2.5 mm; 5 / 6 pass
    found = score(dataclasses.replace(patient, dose_gy=reference), predicted)
    for name in ("gamma_3pct_3mm_global", "gamma_3pct_3mm_local"):
        value = found["", name]
        assert (value.unit, value.note, value.reference) == ("%", "", 100.0)
        assert value.prediction == pytest.approx(100.0)
        assert value.error == pytest.approx(0.0)
    for name in ("gamma_2pct_2mm_global", "gamma_2pct_2mm_local"):
        value = found["", name]
        assert value.prediction == pytest.approx(100 * 5 / 6)
        assert value.error == pytest.approx(100 / 6)
    cold = dataclasses.replace(patient, dose_gy=np.zeros(GRID.shape, np.float32))
    value = score(cold, predicted)["", "gamma_3pct_3mm_global"]
    assert math.isnan(value.error) and value.note == "no reference dose"


def test_errors_by_isodose_band_by_hand(patient: records.Patient):
    """The prescription is 70 Gy; the error of a slice is its number."""
    reference = np.zeros(GRID.shape, np.float32)
    percents = (5, 10, 29, 30, 89, 90)
    for z, percent in enumerate(percents):
        reference[z] = 0.7 * percent + 1e-4
    predicted = reference + np.arange(6, dtype=np.float32)[:, None, None]
    found = score(dataclasses.replace(patient, dose_gy=reference), predicted)
    for name, slices in (
        ("10to30pct", (1, 2)), ("30to50pct", (3,)), ("70to90pct", (4,)),
        ("from90pct", (5,)),
    ):  # fmt: skip
        error = found["", f"dose_mae_{name}"].error
        assert error == pytest.approx(np.mean(slices), abs=1e-5)
    empty = found["", "dose_mae_50to70pct"]
    assert math.isnan(empty.error)
    assert empty.note == "no reference dose in this band"


def test_errors_by_distance_from_the_targets_by_hand(patient: records.Patient):
    """One slice deep: voxels of 4 mm, a target 2 voxels wide along x."""
    reference = np.full(GRID.shape, 50.0, np.float32)
    predicted = reference.copy()
    predicted[:, :, 8:10] += 1  # in the target
    predicted[:, :, 7] += 2  # 4 mm from it
    predicted[:, :, 6] += 3  # 8 mm
    predicted[:, :, 0] += 9  # no dose is possible there
    possible = box(slice(0, 6), slice(0, 20), slice(2, 20))
    target = box(slice(0, 6), slice(0, 20), slice(8, 10))
    case = dataclasses.replace(
        patient,
        dose_gy=reference,
        structures={"PTV70": target},
        possible_dose_mask=possible,
    )
    found = score(case, predicted)
    assert found["", "dose_mae_0to5mm_inside"].error == pytest.approx(1)
    assert math.isnan(found["", "dose_mae_from5mm_inside"].error)
    # On the other side of the target there is no error.
    assert found["", "dose_mae_0to5mm_outside"].error == pytest.approx((2 + 0) / 2)
    assert found["", "dose_mae_5to10mm_outside"].error == pytest.approx((3 + 0) / 2)
    assert found["", "dose_mae_10to20mm_outside"].error == 0
    far = found["", "dose_mae_from40mm_outside"]  # the farthest are 40 mm away
    assert math.isnan(far.error) and far.note == "no voxel at this distance"
    without = dataclasses.replace(case, structures={})
    value = score(without, predicted)["", "dose_mae_0to5mm_outside"]
    assert math.isnan(value.error) and value.note == "no target"


def test_what_a_patient_lacks_has_a_note(patient: records.Patient):
    found = score(patient, patient.dose_gy)
    missing = found["SpinalCord", "openkbp:D_mean"]
    assert math.isnan(missing.error) and missing.note == "not contoured"
    empty = found["Esophagus", "openkbp:D_mean"]
    assert math.isnan(empty.error) and empty.note == "empty in reference"
    # One voxel of 40 mm3 is less than 0.1 cc: its own dose, and it says so.
    single = found["Larynx", "openkbp:D_0.1cc"]
    assert single.reference == patient.dose_gy[2, 10, 10]
    assert "smaller" in single.note
    assert found["Larynx", "openkbp:D_mean"].note == ""
    cold = dataclasses.replace(patient, dose_gy=np.ones(GRID.shape, np.float32))
    value = score(cold, patient.dose_gy)["", "dose_mae_5gy"]
    assert math.isnan(value.error) and value.note == "no reference dose of 5 Gy"
    airy = dataclasses.replace(patient, ct=np.zeros(GRID.shape, np.float32))
    value = score(airy, patient.dose_gy)["", "dose_mae_body"]
    assert math.isnan(value.error) and value.note == "no body in the CT"


def test_an_unknown_or_empty_possible_dose_mask(patient: records.Patient):
    unknown = dataclasses.replace(patient, possible_dose_mask=None)
    value = score(unknown, patient.dose_gy + np.float32(1))["", "dose_error"]
    assert value.error == pytest.approx(1, rel=1e-5)
    assert "per voxel of the grid" in value.note
    empty = dataclasses.replace(patient, possible_dose_mask=np.zeros(GRID.shape, bool))
    value = score(empty, patient.dose_gy)["", "dose_error"]
    assert math.isnan(value.error) and value.note == "the possible-dose mask is empty"


def test_anisotropic_voxels_count_by_their_volume(patient: records.Patient):
    """0.1 cc are two voxels of 40 mm3 (2.5 to the even), or one of 80 mm3."""
    name = "openkbp:D_0.1cc"
    values = np.sort(patient.dose_gy[patient.structures["Brainstem"]])
    for spacing, voxels in (((2.5, 4.0, 4.0), 2), ((5.0, 4.0, 4.0), 1)):
        grid = geometry.Grid(GRID.shape, spacing)
        other = dataclasses.replace(patient, grid=grid)
        found = score(other, patient.dose_gy)["Brainstem", name].reference
        percentile = 100 - 100 * voxels / 48
        expected = np.percentile(values.astype(np.float64), percentile)
        assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_dose_that_is_no_number_is_an_error(patient: records.Patient, bad: float):
    predicted = patient.dose_gy.copy()
    predicted[0, 0, :2] = bad
    with pytest.raises(errors.RecordError, match="pt_7: the predicted dose has 2 NaN"):
        score(patient, predicted)
    broken = dataclasses.replace(patient, dose_gy=predicted)
    with pytest.raises(errors.RecordError, match="the reference dose has 2 NaN"):
        score(broken, patient.dose_gy)


def test_a_dose_on_another_grid_is_an_error(patient: records.Patient):
    with pytest.raises(errors.GeometryError, match=r"\(6, 20, 19\), the grid"):
        score(patient, patient.dose_gy[:, :, :-1])


def test_the_body_has_its_airways_but_no_couch():
    hu = np.full((4, 12, 12), -1000.0)
    hu[:, 2:8, 2:10] = 40.0  # the patient
    hu[:, 4:6, 4:6] = -900.0  # an airway, open at both ends of the stack
    hu[:, 2, 7] = -900.0  # a notch in the skin
    hu[:, 10, :] = -300.0  # a couch, apart
    hu[:, 0, :] = -300.0  # a sheet, which comes first
    body = body_region.largest(hu, METRICS_HU)
    expected = np.zeros(hu.shape, bool)
    expected[:, 2:8, 2:10] = True
    expected[:, 2, 7] = False
    np.testing.assert_array_equal(body, expected)
    assert not body_region.largest(np.full((2, 3, 3), -400.0), METRICS_HU).any()
    assert body_region.largest(np.full((2, 3, 3), -399.0), METRICS_HU).all()


def test_the_body_is_what_scipy_fills_slice_by_slice(rng: np.random.Generator):
    noise = ndimage.gaussian_filter(rng.standard_normal((8, 40, 40)), 2.0)
    hu = np.where(noise > 0.0, 0.0, -1000.0)
    parts, count = ndimage.label(hu > -400)
    assert count > 1
    sizes = ndimage.sum_labels(np.ones(hu.shape), parts, range(1, count + 1))
    largest = parts == 1 + np.argmax(sizes)
    expected = np.stack([ndimage.binary_fill_holes(plane) for plane in largest])
    assert expected.sum() > largest.sum()
    np.testing.assert_array_equal(body_region.largest(hu, METRICS_HU), expected)
