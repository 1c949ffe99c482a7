"""What exported objects inherit from a CT that is not quite valid."""

import shutil

import numpy as np
import pydicom
import pytest

from mtl_jax.export import inherited, roi_labels, rtdose
from tests.export import exported

VALID = {
    "PatientBirthDate": "19501224",
    "PatientSex": "F",
    "StudyDate": "20210304",
    "StudyTime": "120000",
    "StudyInstanceUID": "1.2.3",
    "FrameOfReferenceUID": "1.2.4",
    "SeriesInstanceUID": "1.2.5",
    "PatientID": "P1",
    "PatientName": "Doe^Jane",
}


def a_header(**changes: object) -> pydicom.Dataset:
    made = pydicom.Dataset()
    with pydicom.config.disable_value_validation():
        for keyword, value in (VALID | changes).items():
            setattr(made, keyword, value)
    return made


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("keyword", "value", "written"),
    [
        ("PatientBirthDate", "1950.12.24", "19501224"),  # the form of ACR-NEMA
        ("PatientBirthDate", "1950-12-24", "19501224"),
        ("PatientBirthDate", "24.12.1950", ""),
        ("PatientBirthDate", "19501340", ""),
        ("StudyDate", "4 March 2021", ""),
        ("StudyTime", "12:30:15", "123015"),
        ("StudyTime", "noon", ""),
        ("StudyTime", "250000", ""),
        ("PatientSex", "f", "F"),
        ("PatientSex", "MALE", "M"),
        ("PatientSex", "?", ""),
        ("AccessionNumber", "A" * 17, ""),
        ("StudyID", r"A\B", ""),
        ("PatientID", "P" * 65, "P" * 65),
        ("StudyInstanceUID", "1.2.03", "1.2.03"),
    ],
)
def test_an_invalid_value_is_named_and_mended(keyword, value, written):
    header = a_header(**{keyword: value})
    (sentence,) = inherited.mend(header)
    assert f"the CT's {keyword} is not valid" in sentence
    assert value not in sentence
    assert str(header[keyword].value or "") == written
    assert ("kept" in sentence) == (written == value)


def test_valid_values_stay():
    header = a_header(StudyTime="1200", PatientSex="", AccessionNumber="A")
    before = str(header)
    assert inherited.mend(header) == ()
    assert str(header) == before
    header = a_header(SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Ä")
    assert inherited.mend(header) == ()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("stated", ["", "ISO_IR 999", "latin1"])
@pytest.mark.parametrize("code", ["utf-8", "latin-1"])
def test_an_unknown_character_set_is_declared_by_the_bytes(tmp_path, stated, code):
    """The CT of a system that wrote its own code, read as pydicom reads it."""
    _, (path, *_) = exported.write_ct(tmp_path / "ct")
    content = path.read_bytes()
    header = pydicom.dcmread(path, stop_before_pixels=True)
    header.PatientName = "Mxxller^Jane"
    header.SpecificCharacterSet = stated or "ISO_IR 6"
    header.save_as(tmp_path / "a.dcm")
    content = (tmp_path / "a.dcm").read_bytes()
    name = "Müller^Jane" if code == "utf-8" else "Müüller^Jane"
    content = content.replace(b"Mxxller^Jane", name.encode(code))
    (tmp_path / "a.dcm").write_bytes(content)
    header = pydicom.dcmread(tmp_path / "a.dcm")
    if not stated:
        del header.SpecificCharacterSet
    with pydicom.config.disable_value_validation():
        sentences = inherited.mend(header)
    assert any("SpecificCharacterSet is not valid" in text for text in sentences)
    declared = {"utf-8": "ISO_IR 192", "latin-1": "ISO_IR 100"}[code]
    assert (header.SpecificCharacterSet, header.PatientName) == (declared, name)
    header.save_as(tmp_path / "b.dcm")
    assert name.encode(code) in (tmp_path / "b.dcm").read_bytes()


def test_what_is_written_is_valid(tmp_path):
    if shutil.which("dciodvfy") is None:
        pytest.skip("no dciodvfy: install Debian's dicom3tools")
    _, paths = exported.write_ct(tmp_path / "ct")
    with pydicom.config.disable_value_validation():
        for path in paths:
            wrong = {"PatientBirthDate": "24.12.1950", "PatientSex": "W"}
            exported.change(path, StudyTime="12:00", **wrong)
    reference = exported.reference(tmp_path / "ct")
    named = [text.split("'s ")[1].split(" ")[0] for text in reference.mended]
    assert named == ["PatientBirthDate", "StudyTime", "PatientSex"]
    dose_gy = np.ones(reference.grid.shape, np.float32)
    options = {"author": exported.AUTHOR, "created": exported.CREATED}
    rtdose.write(tmp_path / "RD.dcm", dose_gy, reference, **options)
    assert exported.errors_of_dciodvfy(tmp_path / "RD.dcm") == ("RTDose", [])


def test_short_names_do_not_collide():
    names = ["Rectum", *(f"LymphNodes_Pelvic_{side}" for side in "LRXYZ")]
    names += ["lymphnodes_pelvi", "A" * 16, "a" * 17, "PTV_High_Risk_ 60"]
    made = roi_labels.short(names)
    assert list(made) != [] and max(map(len, made.values())) <= 16
    assert len({label.casefold() for label in made.values()}) == len(names)
    # Those that are short enough stay as they are.
    assert all(made[name] == name for name in names if len(name) <= 16)
    assert made["LymphNodes_Pelvic_L"] == "LymphNodes_Pel_2"
    assert made["PTV_High_Risk_ 60"] == "PTV_High_Risk_ 6"
