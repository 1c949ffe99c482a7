"""Odd and malformed patients are refused by name, and nothing tells whose they are."""

import logging
import pathlib
import re
import traceback
import warnings

import pytest

from mtl_jax.core import errors
from tests.sources.dicom import odd_inputs as odd
from tests.sources.dicom import writing


def test_there_are_enough():
    assert len(odd.CASES) >= 40


@pytest.mark.parametrize("name", odd.CASES)
def test_a_refusal_says_what_and_where(tmp_path, name):
    case = odd.CASES[name]
    files = writing.patient()
    case.change(files)
    writing.save(files, tmp_path, case.syntax)
    case.damage(tmp_path)
    with pytest.raises(errors.SourceError, match=case.message):
        writing.read(tmp_path)


PLANTED = {
    "PatientName": "Doe^Johnathan^Xi",
    "PatientID": "MRN-778812",
    "PatientBirthDate": "19511223",
    "StudyDate": "20210304",
    "AccessionNumber": "ACC5566",
    "ReferringPhysicianName": "Meyer^Aurelia",
    "InstitutionName": "Sankt Xaver",
    "StudyID": "ST4711",
}
SECRETS = (
    *("doe", "johnathan", "xi", "mrn", "778812", "19511223", "20210304", "2021-03-04"),
    *("acc5566", "meyer", "aurelia", "sankt xaver", "st4711", "1.2.826", "secret"),
)


def plant(files: writing.Files) -> writing.Files:
    """Names of the patient in elements, ROI names, folder and file names."""
    renamed = {}
    for name, made in files.items():
        for keyword, value in PLANTED.items():
            if keyword != "PatientID" or made.PatientID == "P1":
                setattr(made, keyword, value)
        for item in made.get("StructureSetROISequence", []):
            if item.ROIName not in ("Rectum", "Bladder"):
                item.ROIName += " Doe 19511223"
        stem, suffix = pathlib.PurePath(name).stem, pathlib.PurePath(name).suffix
        sub = "DOE_JOHNATHAN/2021-03-04"
        renamed[f"{sub}/{stem}.{made.SOPInstanceUID}.MRN-778812{suffix}"] = made
    return renamed


@pytest.mark.parametrize("name", [*odd.CASES, "a good one"])
def test_nothing_tells_whose_it_is(tmp_path, name, caplog, capsys):
    case = odd.CASES.get(name, odd.Case(""))
    folder = tmp_path / "DOE_JOHNATHAN_19511223-secret"
    files = writing.patient()
    case.change(files)
    planted = plant(files)
    folder.mkdir()
    writing.save(planted, folder, case.syntax)
    case.damage(folder)
    said = []
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            said += writing.read(folder, show_paths=False).notes
        except errors.MtlError as error:
            said += traceback.format_exception_only(error)
            assert error.__suppress_context__ or error.__context__ is None
    said += [record.getMessage() for record in caplog.records]
    said += [str(warning.message) for warning in caught]
    said += capsys.readouterr()
    text = "\n".join(said).lower()
    assert text.strip()
    for secret in SECRETS:  # as a word: `axial` is no Xi
        found = re.search(rf"(?<![a-z]){re.escape(secret)}(?![a-z])", text)
        assert not found, f"{secret} in {text}"
