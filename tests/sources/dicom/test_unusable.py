"""What makes a patient unusable refuses it, by a name that can accept it."""

import numpy as np
import pytest
from pydicom import dataelem, tag

from mtl_jax.core import errors
from mtl_jax.sources.dicom import reader
from tests.sources.dicom import changes as do
from tests.sources.dicom import writing


def accepting(*names):
    return reader.Options(accept=names)


def refused_unless_accepted(files, folder, name, match):
    """The reading with `name` accepted; without it the patient is refused."""
    writing.save(files, folder)
    with pytest.raises(errors.SourceError, match=match) as refusal:
        writing.read(folder)
    assert f"--accept={name}," in str(refusal.value)
    return writing.read(folder, options=accepting(name))


def kinds(reading, kind):
    return [str(note) for note in reading.notes if note.kind == kind]


def test_centigray_that_claim_to_be_gray_are_refused(tmp_path):
    """The site prescribes 60 Gy; the cartoon's dose has 36.25 Gy, 35.25 in the CT."""
    files = writing.patient()
    files["rd.dcm"].DoseGridScaling = 100 * writing.SCALING
    match = r"^rd\.dcm reaches 3525 Gy, 59 times the prescription .*60 Gy"
    reading = refused_unless_accepted(files, tmp_path, "high_dose", match)
    assert reading.patient.dose_gy.max() == pytest.approx(3525, abs=0.1)
    (note,) = kinds(reading, "high_dose")
    assert note.startswith("rd.dcm reaches 3525 Gy")


def test_a_hot_boost_is_a_dose(tmp_path):
    files = writing.patient()
    files["rd.dcm"].DoseGridScaling = 5 * writing.SCALING  # 176 Gy, below 3 x 60
    assert not kinds(writing.read_files(files, tmp_path), "high_dose")


def smooth(files, offsets):
    """Slices of soft tissue in air with a little noise; `offsets` in HU by slice."""
    rng = np.random.default_rng(3)
    for z in range(6):
        hu = np.full((8, 10), -1000)
        hu[1:7, 1:9] = rng.integers(-60, 80, (6, 8)) + 10 * z
        made = files[f"ct{z}.dcm"]
        writing.set_pixels(made, (hu + 1024).astype(np.uint16), 12)
        made.RescaleIntercept = -1024 + offsets.get(z, 0)


@pytest.mark.parametrize(
    ("offset", "found"),
    [(1024, "10.. HU above"), (-1024, "10.. HU below"), (-400, "4.. HU below")],
)
def test_a_slice_that_jumps_is_refused(tmp_path, offset, found):
    files = writing.patient()
    smooth(files, {3: offset})
    match = rf"^ct3\.dcm lies {found} the slices on both sides, ct2\.dcm and ct4\.dcm"
    reading = refused_unless_accepted(files, tmp_path, "ct_jump", match)
    assert len(kinds(reading, "ct_jump")) == 1


@pytest.mark.parametrize("offsets", [{}, {0: 0, 3: 60}])
def test_slices_of_one_scan_are_alike(tmp_path, offsets):
    files = writing.patient()
    smooth(files, offsets)
    assert not kinds(writing.read_files(files, tmp_path), "ct_jump")


def test_the_end_of_the_head_is_no_jump(tmp_path):
    files = writing.patient()
    smooth(files, {})
    air = np.full((8, 10), 24, np.uint16)
    for z in (4, 5):
        writing.set_pixels(files[f"ct{z}.dcm"], air, 12)
    assert not kinds(writing.read_files(files, tmp_path), "ct_jump")


def with_text(data):
    """A contour of four points whose ContourData are the characters `data`."""
    made = writing.contour([0.0] * 12)
    content = (data + " " * (len(data) % 2)).encode()
    # pydicom checks what it writes, but not what it has read.
    made[0x30060050] = dataelem.RawDataElement(
        tag.Tag(0x30060050), None, len(content), content, 0, True, True
    )
    return made


CORNERS = writing.box((-2.6, 2.6), (23, 29.5), -24.0)
GOOD = "\\".join(map(str, CORNERS))
UNREADABLE = {
    "points": [writing.contour([0.0, 25.0, -24.0], "POINT")],
    "decimal commas": [with_text(GOOD.replace(".", ","))],
    "a trailing backslash": [with_text(GOOD + "\\")],
    "a missing type": [writing.contour(CORNERS, "")],
    "a misspelt type": [writing.contour(CORNERS, "CLOSED PLANAR")],
    "beside the CT": [writing.contour(writing.box((16, 20), (23, 29.5), -24.0))],
    "below the CT": [writing.contour(writing.box((-2.6, 2.6), (23, 29.5), -60.0))],
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_contoured_organ_that_cannot_be_read_is_refused(tmp_path, name):
    files = writing.patient()
    do.rois(Rectum=UNREADABLE[name])(files)
    match = r"^rs\.dcm has Rectum: (no closed contour can be read|it holds no voxel)"
    reading = refused_unless_accepted(files, tmp_path, "unread_organ", match)
    assert list(reading.patient.structures) == ["Bladder"]
    assert kinds(reading, "unread_organ")
    # Patients that lack an organ may be taken too.
    reading = writing.read(tmp_path, options=reader.Options(allow_missing=True))
    assert list(reading.patient.structures) == ["Bladder"]
    assert kinds(reading, "unread_contours")
    assert not kinds(reading, "missing")


def test_half_an_organ_is_refused(tmp_path):
    """The upper contours are damaged: 3 of 4 slices remain with what is accepted."""
    files = writing.patient()
    contours = writing.rectum()
    contours[-2] = with_text("\\".join(map(str, CORNERS[:-1])))
    contours.pop()
    do.rois(Rectum=contours)(files)
    match = r"^rs\.dcm has Rectum: only a part of it can be read \(.* damaged .*: 1\)"
    reading = refused_unless_accepted(files, tmp_path, "unread_organ", match)
    expected = writing.masks()["Rectum"]
    expected[4] = False
    np.testing.assert_array_equal(reading.patient.structures["Rectum"], expected)
    # The organ is not missing: that flag does not take a part for the whole.
    with pytest.raises(errors.SourceError, match="only a part of it can be read"):
        writing.read(tmp_path, options=reader.Options(allow_missing=True))


def test_an_organ_that_nobody_drew_is_not_contoured(tmp_path):
    files = writing.patient()
    do.rois(Rectum=[])(files)
    reading = writing.read_files(files, tmp_path)
    assert kinds(reading, "missing") == ["Rectum: not contoured"]


def test_options_that_accept_nothing_are_those_of_earlier_data_sets():
    """Fingerprints of data sets cover this text."""
    assert repr(reader.Options()) == (
        "Options(allow_frame_mismatch=False, allow_missing=False, fill_gaps=0)"
    )
    assert "accept=('ct_jump',)" in repr(accepting("ct_jump"))
