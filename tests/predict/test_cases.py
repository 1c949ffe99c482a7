"""Patients' folders to cases: what a network is given."""

import shutil

import numpy as np
import pydicom
import pytest

from mtl_jax.core import errors
from mtl_jax.predict import cases
from mtl_jax.sources.dicom import reader
from tests.predict import openkbp
from tfds_builders.prostate import make_dummy_data

READING = cases.ReadingOptions(reader.Options(), {})


@pytest.fixture
def read(network, tmp_path):
    def read(folder, role="multi", site="prostate", contours=None, reading=READING):
        (case_folder,) = cases.find([folder], tmp_path / "out")
        return cases.read(case_folder, network(role, site).model, reading, contours)

    return read


def move(folder, pattern, to):
    to.mkdir()
    (path,) = folder.glob(pattern)
    return shutil.move(path, to / "it.dcm")


def edit(path, **elements):
    made = pydicom.dcmread(path)
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    made.save_as(path)


def test_a_ct_alone_is_enough(read, scan):
    folder = scan()
    for path in (*folder.glob("RS*"), *folder.glob("RD*")):
        path.unlink()
    for path in folder.glob("CT*"):
        edit(path, BodyPartExamined="PROSTATE")
    case = read(folder)
    made = make_dummy_data.pelvis(1)
    np.testing.assert_array_equal(case.patient.ct, made.ct_hu)
    assert case.patient.structures == {}
    assert case.patient.grid.spacing_mm == made.grid.spacing_mm
    assert case.body_part == "PROSTATE"
    assert case.reference.header.PatientID == "QX771"
    # A site that stores HU + 1024.
    stored = read(folder, site="openkbp").patient.ct
    np.testing.assert_array_equal(stored, made.ct_hu + 1024)


def test_contours_from_the_folder_or_from_a_file(read, scan, tmp_path):
    folder = scan()
    made = make_dummy_data.pelvis(1).structures
    before = read(folder, "seq_human", contours=cases.AUTO).patient
    path = move(folder, "RS*", tmp_path / "elsewhere")
    after = read(folder, "seq_human", contours=path).patient
    for name in after.structures:
        np.testing.assert_array_equal(after.structures[name], made[name])
        np.testing.assert_array_equal(before.structures[name], made[name])
    assert after.dose_gy is None
    with pytest.raises(errors.SourceError, match="no RTSTRUCT here"):
        read(folder, "seq_human", contours=cases.AUTO)


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"PatientID": "somebody else"}, "of another patient"),
        ({}, "another frame of reference"),
    ],
)
def test_contours_of_somebody_else_are_refused(read, scan, tmp_path, elements, message):
    folder = scan()
    other = move(scan("Other", seed=2), "RS*", tmp_path / "elsewhere")
    (ours,) = (pydicom.dcmread(path) for path in folder.glob("RS*"))
    same = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex")
    edit(other, **{name: ours[name].value for name in same if name in ours})
    edit(other, **elements)
    with pytest.raises(errors.SourceError, match=message):
        read(folder, "seq_human", contours=other)


def test_a_mapping_says_which_roi_is_which(read, scan):
    folder = scan()
    (path,) = folder.glob("RS*")
    made = pydicom.dcmread(path)
    for roi in made.StructureSetROISequence:
        roi.ROIName = "Blase" if roi.ROIName == "Bladder" else roi.ROIName
    made.save_as(path)
    with pytest.raises(errors.SourceError, match="Blase"):
        read(folder, "seq_human", contours=cases.AUTO)
    reading = cases.ReadingOptions(reader.Options(), {"Blase": "Bladder"})
    case = read(folder, "seq_human", contours=cases.AUTO, reading=reading)
    assert case.patient.structures["Bladder"].any()


def test_informed_needs_a_target(read, tmp_path):
    folder = openkbp.write(tmp_path / "pt_7")
    case = read(folder, "informed", "openkbp", cases.AUTO)
    assert set(case.patient.structures) == {"SpinalCord", "PTV70"}
    (folder / "PTV70.csv").unlink()
    with pytest.raises(errors.SourceError, match="PTV56, PTV63, PTV70, but none"):
        read(folder, "informed", "openkbp", cases.AUTO)
    case = read(folder, "seq_human", "openkbp", cases.AUTO)
    assert set(case.patient.structures) == {"SpinalCord"}


def test_openkbp_s_ct_in_the_values_of_the_site(read, tmp_path):
    folder, made = openkbp.write(tmp_path / "pt_7"), openkbp.patient()
    case = read(folder, site="openkbp")
    np.testing.assert_array_equal(case.patient.ct, made.ct)
    np.testing.assert_array_equal(
        case.patient.possible_dose_mask, made.possible_dose_mask
    )
    assert case.patient.structures == {} and case.patient.dose_gy is None
    assert case.reference.invented
    np.testing.assert_array_equal(read(folder).patient.ct, made.ct - 1024)
    # What is not needed need not be there.
    (folder / "dose.csv").unlink()
    (folder / "possible_dose_mask.csv").unlink()
    assert read(folder, site="openkbp").patient.possible_dose_mask is None
    (folder / "voxel_dimensions.csv").unlink()
    with pytest.raises(errors.SourceError, match=r"p\w{12}/voxel_dimensions.csv is mi"):
        read(folder, site="openkbp")


def test_damage_is_told_without_the_folder_s_name(read, scan):
    folder = scan("Zaphodsky")
    path = next(folder.glob("CT*"))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(errors.SourceError, match="cut off") as error:
        read(folder)
    assert "Zaphod" not in str(error.value)


def test_a_reference_of_openkbp_is_of_the_same_ct(network, tmp_path):
    (case_folder,) = cases.find([openkbp.write(tmp_path / "pt_7")], tmp_path / "out")
    model = network("multi", "openkbp").model
    other = shutil.copytree(case_folder.path, tmp_path / "reference")
    lines = (other / "dose.csv").read_text().splitlines()
    index, dose = lines[1].split(",")
    lines[1] = f"{index},{float(dose) + 1}"
    (other / "dose.csv").write_text("\n".join([*lines, ""]))
    own, reference = (
        cases.read_reference(case_folder, model, READING, path)
        for path in (cases.AUTO, other)
    )
    assert (reference.dose_gy - own.dose_gy).sum() == pytest.approx(1)
    # The CT need not be there again; that of another patient may not.
    (other / "ct.csv").rename(tmp_path / "ct.csv")
    again = cases.read_reference(case_folder, model, READING, other)
    np.testing.assert_array_equal(again.ct, own.ct)
    lines = (tmp_path / "ct.csv").read_text().splitlines()[:-1]
    (other / "ct.csv").write_text("\n".join([*lines, ""]))
    with pytest.raises(errors.SourceError, match=r"reference's ct\.csv differs"):
        cases.read_reference(case_folder, model, READING, other)
