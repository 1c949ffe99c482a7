"""A patient as NIfTI equals the same as DICOM; what is refused; layouts and splits."""

import json

import numpy as np
import pytest

from mtl_jax.core import errors, geometry, sites
from mtl_jax.sources.clinical import dicom_patient, patient_folders
from mtl_jax.sources.dicom import reader
from mtl_jax.sources.nifti import layouts, nifti_cohort, nifti_patient
from mtl_jax.sources.phantom import dicom_cohort
from tests.sources.nifti import writing
from tfds_builders.prostate import make_dummy_data

STRICT = reader.Options()
EVERYBODY = patient_folders.Rules(salt="phantom")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder for a data set; its key file is beside it."""
    monkeypatch.delenv("MTL_JAX_KEY_FILE", raising=False)
    return tmp_path / "Dataset101_Pelvis"


def read(folder, name="a", *, options=STRICT, mapping=None):
    layout = layouts.read(folder)
    raw = nifti_patient.Raw(
        layout.cases[name], "p1", sites.PROSTATE, layout.labels, mapping or {}, options
    )
    return nifti_patient.read_patient(raw)


@pytest.mark.parametrize("codes", ["LPS", "RAS", "SPL"])
def test_the_same_patient_as_its_dicom_files(folder, tmp_path, codes):
    writing.write_case(writing.nnunet(folder), "a", 1, codes)
    found = read(folder)
    pelvis = make_dummy_data.pelvis(1)
    dicom_cohort.write_patient(tmp_path / "dicom", pelvis, patient_id="QX1")
    raw = dicom_patient.Raw(tmp_path / "dicom", "p1", sites.PROSTATE, {}, STRICT)
    expected = dicom_patient.read_patient(raw)
    assert found.grid == expected.grid
    np.testing.assert_array_equal(found.ct, expected.ct)
    assert found.structures.keys() == expected.structures.keys()
    for name, mask in expected.structures.items():
        np.testing.assert_array_equal(found.structures[name], mask, err_msg=name)
    np.testing.assert_array_equal(found.possible_dose_mask, expected.possible_dose_mask)
    # RTDOSE holds whole numbers: its step at 62 Gy is below 1e-3 Gy.
    np.testing.assert_allclose(found.dose_gy, expected.dose_gy, atol=1e-3)
    assert found.dose_gy.max() > 30
    # DICOM alone has a body, and states of its files whose they are.
    kinds = {note.kind for note in found.notes}
    theirs = {note.kind for note in expected.notes}
    assert kinds - {"body"} == theirs - {"unstated"}


def test_the_decathlon_s_layout_is_another_way_to_the_same(folder):
    """Its labels are the other way round, and its cases are listed."""
    writing.write_case(writing.nnunet(folder), "a", 1, "RAS")
    expected = read(folder)
    names = {value: name for name, value in writing.VALUES.items()}
    names |= {0: "background", writing.RING: "ring"}
    entry = {
        "image": "./imagesTr/a_0000.nii.gz",
        "label": "./labelsTr/a.nii.gz",
        "dose": "./dosesTr/a.nii.gz",
    }
    content = {"modality": {"0": "CT"}, "labels": names, "training": [entry]}
    (folder / "dataset.json").write_text(json.dumps({**content, "test": ["./x.nii"]}))
    found = read(folder, "a_0000")
    np.testing.assert_array_equal(found.ct, expected.ct)
    np.testing.assert_array_equal(found.dose_gy, expected.dose_gy)
    assert found.structures.keys() == {*writing.VALUES}  # no target around the prostate
    for name, mask in found.structures.items():
        np.testing.assert_array_equal(mask, expected.structures[name])
    assert layouts.splits_of(layouts.read(folder)) == {"a_0000": "train"}


def test_a_dose_may_be_a_channel_or_missing(folder):
    writing.write_case(writing.nnunet(folder), "a", 1)
    expected = read(folder).dose_gy
    (folder / "dosesTr" / "a.nii.gz").rename(folder / "imagesTr" / "a_0001.nii.gz")
    without = read(folder)
    assert without.dose_gy is None and without.possible_dose_mask is None
    assert "no_dose" in {note.kind for note in without.notes}
    writing.nnunet(folder, channel_names={"0": "CT", "1": "Dose"})
    np.testing.assert_array_equal(read(folder).dose_gy, expected)


def test_labels_are_structures_by_name_or_by_the_mapping(folder):
    renamed = {**writing.REGIONS, "blase": 1}
    del renamed["Bladder"]
    writing.write_case(writing.nnunet(folder, labels=renamed), "a", 1)
    with pytest.raises(errors.SourceError, match="no ROI is called Bladder"):
        read(folder)
    lacking = read(folder, options=reader.Options(allow_missing=True))
    assert "Bladder" not in lacking.structures
    found = read(folder, mapping={"blase": "Bladder"})
    made = make_dummy_data.pelvis(1)
    np.testing.assert_array_equal(
        found.structures["Bladder"], made.structures["Bladder"]
    )


def with_labels(change):
    def write(folder, pelvis):
        values = change(writing.labels(pelvis))
        writing.write(folder / "labelsTr" / "a.nii.gz", values, pelvis.grid)

    return write


def moved_labels(folder, pelvis):
    z, y, x = pelvis.grid.origin_mm
    grid = geometry.Grid(pelvis.grid.shape, pelvis.grid.spacing_mm, (z, y, x + 1))
    writing.write(folder / "labelsTr" / "a.nii.gz", writing.labels(pelvis), grid)


def with_dose(change):
    def write(folder, pelvis):
        dose_gy = change(pelvis.dose_gy)
        writing.write(folder / "dosesTr" / "a.nii.gz", dose_gy, pelvis.dose_grid)

    return write


def far_dose(folder, pelvis):
    grid = geometry.Grid(pelvis.dose_gy.shape, (6.0, 5.0, 5.0), (900.0, 0.0, 0.0))
    writing.write(folder / "dosesTr" / "a.nii.gz", pelvis.dose_gy, grid)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (with_labels(lambda v: v + 0.5 * (v == 1)), "no whole numbers, such as 1.5"),
        (with_labels(lambda v: v + np.uint8(10)), "the value 10, which labels in"),
        (with_labels(lambda v: np.where(v > 0, 0, v)), "no voxel of this site's"),
        (with_labels(lambda v: np.where(v == 1, 9, v)), "of the label ignore"),
        (moved_labels, "resample it onto the CT with nearest"),
        (with_dose(lambda gy: gy - 30), "negative values, down to -2"),
        (with_dose(lambda gy: gy * np.nan), "NaN or infinite"),
        (with_dose(lambda gy: gy * 100), "times the prescription of site prostate"),
        (far_dose, "does not overlap the CT"),
        (lambda folder, _: (folder / "labelsTr/a.nii.gz").unlink(), "no label map"),
    ],
)
def test_patients_that_are_refused(folder, spoil, message):
    labels = {**writing.REGIONS, "ignore": 9}
    writing.write_case(writing.nnunet(folder, labels=labels), "a", 1)
    assert read(folder)
    spoil(folder, make_dummy_data.pelvis(1))
    with pytest.raises(errors.SourceError, match=message):
        read(folder)


def test_what_refuses_may_be_accepted_and_small_negative_doses_are_none(folder):
    writing.write_case(writing.nnunet(folder), "a", 1)
    pelvis = make_dummy_data.pelvis(1)
    with_dose(lambda gy: np.where(gy < 5, -0.1, gy * 100))(folder, pelvis)
    found = read(folder, options=reader.Options(accept=("high_dose",)))
    assert {"high_dose", "dose_values"} <= {note.kind for note in found.notes}
    assert found.dose_gy.min() == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channel_names": {"0": "MR"}}, "'MR', but no 'CT'"),
        ({"channel_names": None}, "neither channel_names"),
        ({"file_ending": ".mha"}, r"file_ending is '.mha', expected one of .nii"),
        ({"labels": None}, "labels is missing"),
        ({"labels": {"Bladder": "one"}}, "labels has 'Bladder': 'one'"),
        ({"labels": {"Bladder": 1.5}}, "labels has 'Bladder': 1.5"),
        ({"file_ending": ".nii"}, "there is no case"),
        ({"training": ["../x.nii.gz"]}, "entry 1: image is no relative path"),
        ({"training": [{"label": "x.nii"}]}, "entry 1: image is no NIfTI"),
        ({"training": [3]}, "entry 1: expected image, label"),
        ({"training": ["x.nii", "y/x.nii.gz"]}, "two cases have one name"),
    ],
)
def test_descriptions_that_are_refused(folder, changes, message):
    writing.write_case(writing.nnunet(folder, **changes), "a", 1)
    with pytest.raises(errors.SourceError, match=message):
        nifti_cohort.locate(folder, sites.PROSTATE)


def names_by_split(location):
    cohort = location.open()
    return {
        split: sorted(cohort.raw(split, p).case.name for p in ids)
        for split, ids in cohort.patients.items()
    }


def test_splits_are_the_layout_s_or_drawn_or_the_user_s(folder):
    writing.nnunet(folder)
    for seed, name in enumerate("abcd"):
        writing.write_case(folder, name, seed)
    location = nifti_cohort.locate(folder, sites.PROSTATE, EVERYBODY)
    drawn = names_by_split(location)
    assert {split: len(names) for split, names in drawn.items()} == {
        "train": 2,
        "validation": 1,
        "test": 1,
    }
    # Test cases are the test split if they have labels; else they are left out.
    writing.write_case(folder, "t", 5, part="Ts")
    writing.write_case(folder, "u", 6, part="Ts")
    (folder / "labelsTs" / "u.nii.gz").unlink()
    location = nifti_cohort.locate(folder, sites.PROSTATE, EVERYBODY)
    found = names_by_split(location)
    assert found["test"] == ["t"] and len(found["validation"]) == 1
    assert sorted(found["train"] + found["validation"]) == [*"abcd"]
    assert location.description == "NIfTI of 5 patients, read for site prostate"
    (folder / "splits.csv").write_text("patient,split\na,test\nb,train\nt,validation\n")
    location = nifti_cohort.locate(folder, sites.PROSTATE, EVERYBODY)
    expected = {"train": ["b"], "validation": ["t"], "test": ["a"]}
    assert names_by_split(location) == expected


def test_the_fingerprint_covers_images_and_description(folder):
    writing.nnunet(folder)
    for seed, name in enumerate("abc"):
        writing.write_case(folder, name, seed)

    def fingerprint():
        return nifti_cohort.locate(folder, sites.PROSTATE, EVERYBODY).fingerprint

    known = [fingerprint(), fingerprint()]
    assert known[0] == known[1]
    writing.write_case(folder, "c", 4)
    known.append(fingerprint())
    writing.nnunet(folder, description="another")
    known.append(fingerprint())
    assert len(set(known)) == 3
