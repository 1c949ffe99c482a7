"""The report of a cohort: what it finds, and what it never tells."""

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
    place = tmp_path_factory.mktemp("clinic") / "manual"
    return pathlib.Path(shutil.copytree(make_dummy_data.FOLDER, place))


@pytest.fixture(scope="module")
def report(dummy, tmp_path_factory):
    """Where the command wrote the dummy cohort's report."""
    out = tmp_path_factory.mktemp("out")
    assert command.main([str(dummy), f"--out={out}", "--workers=1"]) == 0
    return out


def rows(path: pathlib.Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_patients_taken_and_refused(report):
    found = rows(report / "patients.csv")
    assert [row["taken"] for row in found].count("yes") == 3
    (refused,) = [row for row in found if row["taken"] == "no"]
    assert refused["reason"].startswith("no RTSTRUCT here")
    text = (report / "cohort.html").read_text()
    assert "3 of 4 patients would be taken, 1 refused." in text
    assert "Refused: no RTSTRUCT here" in text


def test_volumes_beside_what_is_plausible(report):
    found = [r for r in rows(report / "structures.csv") if r["structure"] == "Prostate"]
    assert len(found) == 3
    for row in found:
        assert float(row["volume_cc"]) == pytest.approx(PROSTATE_CC)
        assert (row["plausible_from_cc"], row["plausible"]) == ("10.0", "no")
    text = (report / "cohort.html").read_text()
    assert f"Prostate: {PROSTATE_CC:.1f} cm³, where 10 to 250 are plausible" in text


def test_dose_outside_and_slices_that_are_missing(dummy, tmp_path):
    """The left femur's columns are at 15, 18 and 21 mm, and the dose ends at 23."""
    copy = shutil.copytree(dummy, tmp_path / "manual")
    location = patient_folders.locate(copy, sites.PROSTATE)
    found = inventory.examine(location, tmp_path, 1)
    drawn = {one.structure: one for one in found.taken[0].structures}
    assert drawn["Femur_L"].outside_dose == 0
    assert drawn["Prostate"].missing_slices == 0
    for path in copy.rglob("RS.*"):
        made = pydicom.dcmread(path)
        for roi in made.ROIContourSequence:  # the middle slice is at 0 mm
            roi.ContourSequence = [c for c in roi.ContourSequence if c.ContourData[2]]
        made.save_as(path)
    for path in copy.rglob("RD.*"):  # 6 mm to the right: it ends at 17 mm
        made = pydicom.dcmread(path)
        made.ImagePositionPatient[0] -= 6
        made.save_as(path)
    again = inventory.examine(location, tmp_path, 1)
    drawn = {one.structure: one for one in again.taken[0].structures}
    assert {one.missing_slices for one in drawn.values()} == {1}
    assert drawn["Femur_L"].outside_dose == pytest.approx(2 / 3)
    assert drawn["Prostate"].outside_dose == 0


def test_names_and_what_they_were_taken_for(report, dummy, tmp_path, capsys):
    found = {row["name"]: row for row in rows(report / "names.csv")}
    assert found["Prostate"]["structure"] == "Prostate"
    assert found["External"]["structure"] == ""
    (dummy / "mapping.yaml").write_text(
        make_dummy_data.MAPPING + '"Blase": Bladder\n', encoding="utf-8"
    )
    assert command.main([str(dummy), f"--out={tmp_path}", "--workers=1"]) == 0
    text = (tmp_path / "cohort.html").read_text()
    assert "Mapped, but no patient has: " in text
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
    assert filled["RectumWall"] == "Rectum"  # a guess, to be looked at


def test_nothing_identifies_a_patient(secret, tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    out = tmp_path / "report"
    assert command.main([str(secret), f"--out={out}", "--workers=1"]) == 0
    assert command.main([str(secret), "--survey", "--workers=1"]) == 0
    printed = capfd.readouterr()
    found = rows(out / "patients.csv")
    assert [row["taken"] for row in found].count("no") == planted.REFUSED
    reasons = " ".join(row["reason"] for row in found)
    assert "no ROI is called Femur_L" in reasons
    assert "cut off" in reasons
    texts = (caplog.text, printed.out, printed.err)
    assert not planted.leaks(out, *texts)


def test_two_workers_find_the_same(dummy, report, tmp_path):
    (dummy / "mapping.yaml").write_text(make_dummy_data.MAPPING)
    assert command.main([str(dummy), f"--out={tmp_path}", "--workers=2"]) == 0
    for name in ("patients.csv", "structures.csv", "names.csv", "cohort.html"):
        assert (tmp_path / name).read_bytes() == (report / name).read_bytes()


def test_status_says_how_it_went(dummy, tmp_path, capsys):
    assert command.main([str(tmp_path / "nowhere")]) == 1
    assert "put a folder for each patient there" in capsys.readouterr().err
    copy = shutil.copytree(dummy, tmp_path / "manual")
    for path in copy.rglob("RS.*"):
        path.unlink()
    flags = [str(copy), f"--out={tmp_path / 'out'}", "--workers=1"]
    assert command.main(flags) == 1
    assert "error: no patient can be taken" in capsys.readouterr().err
    assert (tmp_path / "out" / "cohort.html").exists()
    assert command.main([str(dummy), "--site=prostrate"]) == 1
    for wrong in ([], [str(dummy), "--workers=3"], [str(dummy), "--fill_gaps=-1"]):
        with pytest.raises(SystemExit) as ended:
            command.main(wrong)
        assert ended.value.code == 2
