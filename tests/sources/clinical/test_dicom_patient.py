"""A patient of a cohort: whole HU, the body, the possible-dose mask, odd failures."""

import numpy as np
import pytest

from mtl_jax.core import body_region, errors
from mtl_jax.sources.clinical import dicom_patient
from mtl_jax.sources.dicom import reader
from tests.sources.dicom import writing


def read(folder, files):
    writing.save(files, folder)
    options = reader.Options()
    raw = dicom_patient.Raw(folder, "p1", writing.SITE, {}, options)
    return dicom_patient.read(raw)


def external(kind="EXTERNAL"):
    """Rows 1 to 6, columns 1 to 8 of slices 0 to 5, in a structure set's ROI."""
    contours = [
        writing.contour(writing.box((-4.4, 5.6), (21, 33), z))
        for z in writing.slices(0, 1, 2, 3, 4, 5)
    ]
    rois = {"Rectum": writing.rectum(), "Bladder": writing.bladder(), "Skin": contours}
    made = writing.structure_set(rois)
    for item in made.RTROIObservationsSequence:
        if item.ReferencedROINumber == 23:
            item.RTROIInterpretedType = kind
    return made


def reached():
    """Where the dose reaches: x up to 6 mm, y 19 to 34 mm, z up to -16 mm."""
    z, _, x = np.moveaxis(writing.centres(writing.GRID), -1, 0)[[2, 1, 0]]
    return (z <= -16) & (x <= 6)


def test_dose_is_possible_in_the_external_roi_that_it_reaches(tmp_path):
    files = writing.patient() | {"rs.dcm": external()}
    patient = read(tmp_path, files).patient
    skin = np.zeros(writing.GRID.shape, bool)
    skin[:, 1:7, 1:9] = True
    np.testing.assert_array_equal(patient.possible_dose_mask, skin & reached())
    assert not (skin & reached())[5].any()  # z -15 mm is above the dose


def test_without_one_the_body_is_the_cts(tmp_path):
    files = writing.patient() | {"rs.dcm": external(kind="ORGAN")}
    found = read(tmp_path, files)
    expected = body_region.largest(writing.hu(), body_region.DATA_HU) & reached()
    np.testing.assert_array_equal(found.patient.possible_dose_mask, expected)
    assert "no ROI of type EXTERNAL: the body is taken from the CT" in found.notes


def test_the_body_is_the_largest_piece_with_its_holes_filled():
    hu = np.full((3, 7, 9), -1000.0)
    hu[:, 1:6, 1:6] = -499.0
    hu[:, 3, 3] = -900.0  # gas
    hu[:, 2:5, 7:9] = 0.0  # the couch
    hu[0, 0, 0] = -500.0  # not above
    expected = np.zeros(hu.shape, bool)
    expected[:, 1:6, 1:6] = True
    np.testing.assert_array_equal(
        body_region.largest(hu, body_region.DATA_HU), expected
    )
    assert not body_region.largest(
        np.full((1, 2, 2), -1000.0), body_region.DATA_HU
    ).any()


def test_without_a_dose_nothing_is_known(tmp_path):
    files = {k: v for k, v in writing.patient().items() if k != "rd.dcm"}
    patient = read(tmp_path, files).patient
    assert patient.dose_gy is None
    assert patient.possible_dose_mask is None


def test_hounsfield_units_are_whole_and_fit_16_bits(tmp_path):
    files = writing.patient()
    for made in (made for name, made in files.items() if name.startswith("ct")):
        made.RescaleSlope, made.RescaleIntercept = 14.3, -1024
    found = read(tmp_path, files)
    exact = (writing.hu() + 1024.0) * 14.3 - 1024
    np.testing.assert_array_equal(found.patient.ct, np.rint(exact).clip(None, 32767))
    count = (np.rint(exact) > 32767).sum()
    assert count
    assert f"CT voxels beyond 16 bits, taken as the largest: {count}" in found.notes


def test_a_failure_of_ours_tells_its_kind_and_place_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "read", "{not_there}".format)
    match = r"^KeyError in dicom_patient\.py, line \d+: an error in this program"
    with pytest.raises(errors.SourceError, match=match) as raised:
        read(tmp_path, writing.patient())
    assert str(tmp_path) not in str(raised.value)
