"""A folder of DICOM-RT to a Patient: by hand, in every position, mixed with others."""

import copy
import dataclasses
import os
import pathlib

import numpy as np
import pydicom
import pytest
from pydicom import uid

from mtl_jax.core import errors
from mtl_jax.export import ct_reference
from tests.sources.dicom import writing


def assert_is_the_patient(reading):
    found = reading.patient
    assert found.grid == writing.GRID
    np.testing.assert_array_equal(found.ct, writing.hu())
    assert found.ct.dtype == np.float32
    assert list(found.structures) == ["Rectum", "Bladder"]
    for name, mask in writing.masks().items():
        np.testing.assert_array_equal(found.structures[name], mask)
    # Known up to the last voxel centres of the dose: z -16, x 6, and y 34 just so.
    known = np.zeros(writing.GRID.shape, bool)
    known[:5, :, :9] = True
    np.testing.assert_array_equal(found.possible_dose_mask, known)
    expected = np.where(known, writing.dose_at(writing.centres(writing.GRID)), 0)
    np.testing.assert_allclose(found.dose_gy, expected, atol=2e-4)
    assert found.dose_gy.dtype == np.float32


@pytest.mark.parametrize("position", writing.POSITIONS)
def test_every_position_gives_the_same_patient(tmp_path, position):
    reading = writing.read_files(writing.patient(position), tmp_path)
    assert_is_the_patient(reading)
    # Of the bladder's six voxels three are in the last slice, one more in column 9.
    assert reading.outside_dose == {"Rectum": 0.0, "Bladder": pytest.approx(4 / 6)}
    assert reading.notes == (
        "the plan (RTPLAN) of rd.dcm is not here",
        # At x 6, y 19, z -16, and at the CT's x 5, y 20, z -18.
        "rd.dcm reaches 36.25 Gy on its own grid, 35.25 Gy on the CT's",
        "Bladder: 66.7% lies outside the dose grid",
    )
    assert reading.roi_names == {"Rectum": "Rectum", "Bladder": "Bladder"}


def test_a_corner_by_hand(tmp_path):
    found = writing.read_files(writing.patient("FFP"), tmp_path).patient
    # Slice 2, row 3, column 4: x 0, y 26, z -24 mm; 0 - 6.5 - 3 + 40 Gy.
    np.testing.assert_allclose(
        found.grid.to_mm(np.array([2, 3, 4])), (0.0, 26.0, -24.0)
    )
    assert found.dose_gy[2, 3, 4] == pytest.approx(30.5, abs=2e-4)
    assert not found.structures["Rectum"][2, 3, 4]  # the hole
    assert found.structures["Rectum"][2, 3, 3]


def test_positions_may_differ_between_ct_and_dose(tmp_path):
    files = writing.patient("HFS") | {"rd.dcm": writing.dose("FFP")}
    assert_is_the_patient(writing.read_files(files, tmp_path))


def test_patient_position_says_nothing_of_the_geometry(tmp_path):
    files = writing.patient("FFS")
    for made in files.values():
        made.PatientPosition = "HFP"
    assert_is_the_patient(writing.read_files(files, tmp_path))


def test_a_mixed_and_nested_folder(tmp_path):
    files = writing.patient()
    nested = {f"a/b/{name}": made for name, made in files.items()}
    writing.save(nested, tmp_path)
    scout = writing.ct()["ct0.dcm"]
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout.SOPInstanceUID += ".1"
    other = writing.ct()
    for made in other.values():
        made.SeriesInstanceUID += ".5"
        made.SOPInstanceUID += ".5"
        made.PixelData = bytes(len(made.PixelData))
    plan = writing.plan()
    report = writing.dataset(**writing.common(uid.BasicTextSRStorage, "SR", "1"))
    writing.save({f"other/{name}": made for name, made in other.items()}, tmp_path)
    writing.save({"scout": scout, "rp": plan, "sr": report}, tmp_path)
    (tmp_path / "notes.txt").write_text("a letter")
    (tmp_path / "a" / "._ct0.dcm").write_bytes(b"\0\5\x16\7" + bytes(200))
    (tmp_path / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    reading = writing.read(tmp_path)
    assert_is_the_patient(reading)
    assert "skipped 3 files (no DICOM): .DS_Store, a/._ct0.dcm, notes.txt" in (
        reading.notes
    )
    assert "skipped 1 file (Basic Text SR Storage): sr" in reading.notes
    assert "scout is left out: a scout" in reading.notes
    assert "left out 6 images of another CT series, such as other/ct0.dcm" in (
        reading.notes
    )


def test_without_a_dose_the_patient_has_none(tmp_path):
    files = writing.patient()
    del files["rd.dcm"]
    reading = writing.read_files(files, tmp_path)
    assert reading.patient.dose_gy is None
    assert reading.patient.possible_dose_mask is None
    assert reading.notes == ("no RTDOSE here: the patient has no dose",)


def test_signs_in_an_roi_name_do_not_show_what_identifies(tmp_path):
    files = writing.patient()
    for made in files.values():
        made.PatientName = "Quixotte^Zed"
    rois = {"Rectum": writing.rectum(), 'GTV "Quixotte"\t1': writing.bladder()}
    files["rs.dcm"] = made = writing.structure_set(rois)
    made.PatientName = "Quixotte^Zed"
    with pytest.raises(errors.SourceError, match="no ROI is called Bladder") as raised:
        writing.read_files(files, tmp_path)
    assert "GTV" in str(raised.value)
    assert "quixotte" not in str(raised.value).lower()


def with_an_older_structure_set(**differs):
    """A patient with a second RTSTRUCT, of a frame of reference or study of its own."""
    files = writing.patient()
    files["old.dcm"] = copy.deepcopy(files["rs.dcm"])
    old = files["old.dcm"]
    old.SOPInstanceUID += ".5"
    old.StudyInstanceUID = differs.get("study", old.StudyInstanceUID)
    frame = old.ReferencedFrameOfReferenceSequence[0]
    frame.FrameOfReferenceUID = differs.get("frame", frame.FrameOfReferenceUID)
    for item in old.ROIContourSequence:
        item.ContourSequence = writing.bladder()
    return files


@pytest.mark.parametrize("differs", [{"frame": "1.2.9"}, {"study": "1.2.9"}])
def test_without_a_plan_frame_and_study_tell_the_structure_set(tmp_path, differs):
    files = with_an_older_structure_set(**differs)
    reading = writing.read_files(files, tmp_path)
    assert "left out other structure sets: old.dcm" in reading.notes
    for name, mask in writing.masks().items():
        np.testing.assert_array_equal(reading.patient.structures[name], mask)
    writing.save(with_an_older_structure_set(), tmp_path)
    with pytest.raises(errors.SourceError, match="several RTSTRUCTs could be meant"):
        writing.read(tmp_path)


def test_signs_that_a_terminal_obeys_are_escaped(tmp_path):
    files = writing.patient()
    rois = {"Rectum": writing.rectum(), "Bla\x1b[31m\ndder": writing.bladder()}
    files["rs.dcm"] = writing.structure_set(rois)
    (tmp_path / os.fsdecode(b"x\x1b\xff.txt")).write_text("x")
    mapping = {"Bla\x1b[31m\ndder": "Bladder"}
    reading = writing.read_files(files, tmp_path, mapping=mapping)
    assert reading.roi_names["Bladder"] == r"Bla\x1b[31m\ndder"
    assert r"skipped 1 file (no DICOM): x\x1b\udcff.txt" in reading.notes
    assert all(note.isprintable() for note in reading.notes)
    with pytest.raises(errors.SourceError) as raised:
        writing.read(tmp_path)
    assert str(raised.value).isprintable()


def test_links_are_followed_to_files_alone(tmp_path):
    there = writing.save(writing.patient(), tmp_path / "elsewhere")
    folder = tmp_path / "patient"
    folder.mkdir()
    for path in there.iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "around").symlink_to(folder)
    (folder / "itself").symlink_to("itself")
    (folder / "nowhere.dcm").symlink_to("gone")
    (folder / "device.dcm").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.dcm")
    assert_is_the_patient(writing.read(folder))


def test_names_are_mapped_and_told(tmp_path):
    files = writing.patient()
    rois = {"Enddarm": writing.rectum(), "BLADDER": writing.bladder()}
    files["rs.dcm"] = writing.structure_set(rois)
    reading = writing.read_files(files, tmp_path, mapping={"Enddarm": "Rectum"})
    assert_is_the_patient(reading)
    assert reading.roi_names == {"Rectum": "Enddarm", "Bladder": "BLADDER"}
    with pytest.raises(errors.SourceError, match=r"^rs\.dcm cannot .*Enddarm"):
        writing.read(tmp_path)


def test_a_structure_that_nobody_named_is_asked_for(tmp_path):
    files = writing.patient()
    files["rs.dcm"] = writing.structure_set({"Rectum": writing.rectum()})
    with pytest.raises(errors.SourceError, match="no ROI is called Bladder"):
        writing.read_files(files, tmp_path)
    options = writing.reader.Options(allow_missing=True)
    reading = writing.read(tmp_path, options=options)
    assert list(reading.patient.structures) == ["Rectum"]
    assert "no ROI is called Bladder" in reading.notes


def test_ct_values_carry_the_sites_offset(tmp_path):
    site = dataclasses.replace(writing.SITE, ct_offset_hu=1024.0)
    folder = writing.save(writing.patient(), tmp_path)
    found = writing.reader.read(folder, patient_id="p1", site=site)
    np.testing.assert_array_equal(found.patient.ct, writing.hu() + 1024)


def test_each_file_is_parsed_for_its_header_and_for_its_contents(tmp_path, monkeypatch):
    """Pixels of a whole folder are never held: they are read when they are needed."""
    pixels = dict[str, list[bool]]()
    load = pydicom.dcmread

    def counted(file, **settings):
        path = pathlib.Path(getattr(file, "name", file))
        pixels.setdefault(path.name, []).append(not settings["stop_before_pixels"])
        return load(file, **settings)

    monkeypatch.setattr(pydicom, "dcmread", counted)
    other = {
        f"other{name}": dataset
        for name, dataset in writing.patient("FFS").items()
        if name.startswith("ct")
    }
    for slice_ in other.values():
        slice_.SeriesInstanceUID = uid.generate_uid()
    reading = writing.read_files(writing.patient() | other, tmp_path)
    assert_is_the_patient(reading)
    used = {file.path.name for file in reading.ct_files} | {"rd.dcm"}
    assert pixels == {
        **{path.name: [False] for path in tmp_path.rglob("otherct*")},
        **{name: [False, True] for name in used},
        "rs.dcm": [False, False],
    }
    # Exported objects refer to the CT by the headers that are here already.
    ct_reference.from_headers(
        [file.header for file in reading.ct_files], reading.patient.grid
    )
    assert all(len(parsed) <= 2 for parsed in pixels.values())
