"""The report of a cohort: what it says, and that it identifies no patient."""

import csv
import logging
import pathlib
import shutil

import numpy as np
import pydicom
import pytest
from PIL import Image

from mtl_jax.cohort import __main__ as command
from mtl_jax.cohort import inventory
from mtl_jax.core import sites
from mtl_jax.sources.clinical import patient_folders
from mtl_jax.sources.dicom import roi_names
from tests.sources import planted
from tfds_builders.prostate import make_dummy_data

# A box of 3 slices of 5 x 4 x 3 mm: rows x columns, cm3.
PROSTATE_CC = 3 * 3 * 4 * 60 / 1000


@pytest.fixture(scope="module")
def secret(tmp_path_factory) -> pathlib.Path:
    return planted.write(tmp_path_factory.mktemp("clinic") / "manual")


@pytest.fixture(scope="module")
def dummy(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("clinic") / "manual"
    return pathlib.Path(shutil.copytree(make_dummy_data.FOLDER, folder))


@pytest.fixture(scope="module")
def report(dummy, tmp_path_factory):
    """The folder with the report of the dummy cohort."""
    out = tmp_path_factory.mktemp("out")
    assert command.main([str(dummy), f"--out={out}", "--workers=1"]) == 0
    return out


def rows(path: pathlib.Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_accepted_and_refused_patients(report):
    patients = rows(report / "patients.csv")
    assert [row["taken"] for row in patients].count("yes") == 3
    (refused,) = [row for row in patients if row["taken"] == "no"]
    assert refused["reason"].startswith("no RTSTRUCT here")
    text = (report / "cohort.html").read_text()
    assert "3 of 4 patients would be accepted, 1 refused." in text
    assert "Refused: no RTSTRUCT here" in text


def test_volumes_and_the_plausible_range(report):
    entries = rows(report / "structures.csv")
    prostates = [row for row in entries if row["structure"] == "Prostate"]
    assert len(prostates) == 3
    for row in prostates:
        assert float(row["volume_cc"]) == pytest.approx(PROSTATE_CC)
        assert (row["plausible_from_cc"], row["plausible"]) == ("10.0", "no")
    text = (report / "cohort.html").read_text()
    message = f"Prostate: the volume is {PROSTATE_CC:.1f} cm³; expected 10 to 250"
    assert message in text


def test_structures_outside_the_dose_and_missing_slices(dummy, tmp_path):
    """The left femur's columns are at 15, 18 and 21 mm; the dose ends at 23 mm."""
    copy = shutil.copytree(dummy, tmp_path / "manual")
    location = patient_folders.locate(copy, sites.PROSTATE)
    cohort = inventory.examine(location, tmp_path, 1)
    entries = {entry.structure: entry for entry in cohort.accepted[0].structures}
    assert entries["Femur_L"].fraction_outside_dose == 0
    assert entries["Prostate"].missing_slices == 0
    for path in copy.rglob("RS.*"):
        contours = pydicom.dcmread(path)
        for roi in contours.ROIContourSequence:  # the middle slice is at 0 mm
            roi.ContourSequence = [c for c in roi.ContourSequence if c.ContourData[2]]
        contours.save_as(path)
    for path in copy.rglob("RD.*"):  # 6 mm to the right: it ends at 17 mm
        dose = pydicom.dcmread(path)
        dose.ImagePositionPatient[0] -= 6
        dose.save_as(path)
    changed = inventory.examine(location, tmp_path, 1)
    entries = {entry.structure: entry for entry in changed.accepted[0].structures}
    assert {entry.missing_slices for entry in entries.values()} == {1}
    assert entries["Femur_L"].fraction_outside_dose == pytest.approx(2 / 3)
    assert entries["Prostate"].fraction_outside_dose == 0


def test_names_and_the_structures_assigned_to_them(report, dummy, tmp_path, capsys):
    names = {row["name"]: row for row in rows(report / "names.csv")}
    assert names["Prostate"]["structure"] == "Prostate"
    assert names["External"]["structure"] == ""
    (dummy / "mapping.yaml").write_text(
        make_dummy_data.MAPPING + '"Blase": Bladder\n', encoding="utf-8"
    )
    assert command.main([str(dummy), f"--out={tmp_path}", "--workers=1"]) == 0
    text = (tmp_path / "cohort.html").read_text()
    assert "The mapping file has names that no patient has: " in text
    assert "Blase" in text


def test_the_picture_shows_the_patient(report):
    pictures = sorted((report / "pictures").iterdir())
    assert len(pictures) == 3
    with Image.open(pictures[0]) as image:
        pixels = np.asarray(image.convert("RGB"))
    # The site's colours of organs that the slices show.
    for name in ("Bladder", "Femur_L"):
        colour = np.array(sites.PROSTATE.structure(name).colour)
        assert (np.abs(pixels.astype(int) - colour).max(-1) < 12).sum() > 20, name
    assert (report / "cohort.html").read_text().count("data:image/webp") == 3


def test_the_survey_is_a_mapping_file_to_fill_in(dummy, tmp_path, capsys):
    assert command.main([str(dummy), "--survey", "--workers=1"]) == 0
    printed = capsys.readouterr()
    assert "no RTSTRUCT here" in printed.err
    path = tmp_path / "mapping.yaml"
    path.write_text(printed.out)
    assert roi_names.load_mapping(path, sites.PROSTATE) == {}
    path.write_text(printed.out.replace('\n# "', '\n"'))
    filled = roi_names.load_mapping(path, sites.PROSTATE)
    assert filled["RECTUM"] == "Rectum"
    assert filled["RectumWall"] == "Rectum"  # a guess, to be checked


def test_nothing_identifies_a_patient(secret, tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    out = tmp_path / "report"
    assert command.main([str(secret), f"--out={out}", "--workers=1"]) == 0
    assert command.main([str(secret), "--survey", "--workers=1"]) == 0
    printed = capfd.readouterr()
    patients = rows(out / "patients.csv")
    assert [row["taken"] for row in patients].count("no") == planted.REFUSED
    reasons = " ".join(row["reason"] for row in patients)
    assert "no ROI is called Femur_L" in reasons
    assert "cut off" in reasons
    texts = (caplog.text, printed.out, printed.err)
    assert not planted.leaks(out, *texts)


def test_two_workers_write_the_same_files(dummy, report, tmp_path):
    (dummy / "mapping.yaml").write_text(make_dummy_data.MAPPING)
    assert command.main([str(dummy), f"--out={tmp_path}", "--workers=2"]) == 0
    for name in ("patients.csv", "structures.csv", "names.csv", "cohort.html"):
        assert (tmp_path / name).read_bytes() == (report / name).read_bytes()


def test_exit_status_says_what_happened(dummy, tmp_path, capsys):
    assert command.main([str(tmp_path / "nowhere")]) == 1
    assert "put a folder for each patient there" in capsys.readouterr().err
    copy = shutil.copytree(dummy, tmp_path / "manual")
    for path in copy.rglob("RS.*"):
        path.unlink()
    flags = [str(copy), f"--out={tmp_path / 'out'}", "--workers=1"]
    assert command.main(flags) == 1
    assert "error: no patient can be accepted" in capsys.readouterr().err
    assert (tmp_path / "out" / "cohort.html").exists()
    assert command.main([str(dummy), "--site=prostrate"]) == 1
    for wrong in ([], [str(dummy), "--workers=3"], [str(dummy), "--fill_gaps=-1"]):
        with pytest.raises(SystemExit) as ended:
            command.main(wrong)
        assert ended.value.code == 2
