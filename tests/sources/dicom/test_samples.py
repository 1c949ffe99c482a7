"""The DICOM files that come with pydicom: each is read, or refused for its reason."""

import pathlib

import numpy as np
import pydicom
import pytest
from pydicom import data

from mtl_jax.core import errors
from mtl_jax.sources.dicom import ct_series, elements, headers, rtdose, rtstruct

ROOT = pathlib.Path(pydicom.__file__).parent / "data" / "test_files"
DICOMDIRS = ROOT / "dicomdirtests"


def sample(name: str) -> pathlib.Path:
    path = data.get_testdata_file(name, download=False)
    assert isinstance(path, str)
    return pathlib.Path(path)


def alone(name: str, folder: pathlib.Path) -> headers.Folder:
    """The headers of a folder with a copy of one file."""
    (folder / name).write_bytes(sample(name).read_bytes())
    return headers.scan(folder, show_paths=True)


def kinds() -> dict[str, list[str]]:
    """All files of ours to read that pydicom brings, by kind."""
    found: dict[str, list[str]] = {"CT": [], "RTSTRUCT": [], "RTDOSE": []}
    for path in map(pathlib.Path, data.get_testdata_files()):
        if ROOT in path.parents and path.is_file():
            try:
                with elements.quietly():
                    made = pydicom.dcmread(path, force=True, specific_tags=["Modality"])
            except Exception:  # some are damaged for a purpose
                continue
            if (modality := made.get("Modality")) in found:
                found[modality].append(path.relative_to(ROOT).as_posix())
    return found


def test_none_is_forgotten():
    found = kinds()
    known = {
        "CT_small.dcm",
        "J2K_pixelrep_mismatch.dcm",
        "693_J2KI.dcm",
        "dicomdirtests/77654033/CT2",
        "dicomdirtests/98892001/CT2N",
        "dicomdirtests/98892001/CT5N",
        "dicomdirtests/TINY_ALPHA/PT000000/ST000000/SE000000",
    }
    parents = {
        name if name in known else pathlib.PurePath(name).parent.as_posix()
        for name in found["CT"]
    }
    assert parents == known
    assert set(found["RTSTRUCT"]) == {"rtstruct.dcm"}
    assert set(found["RTDOSE"]) == {*DOSES, "badVR.dcm"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CT_small.dcm", "is the only slice of its series"),
        ("693_J2KI.dcm", "is the only slice of its series"),
        ("J2K_pixelrep_mismatch.dcm", r"is turned by 22\.00 degrees"),
    ],
)
def test_a_single_image_is_no_series(tmp_path, name, message):
    (files,) = alone(name, tmp_path).ct.values()
    with pytest.raises(errors.SourceError, match=message):
        ct_series.read(files)


def test_an_images_values_are_those_of_pydicom(tmp_path):
    # The image a second time, 5 mm to the head, makes a volume.
    made = pydicom.dcmread(sample("CT_small.dcm"))
    made.save_as(tmp_path / "a.dcm")
    made.ImagePositionPatient[2] += 5
    made.SOPInstanceUID += ".1"
    made.save_as(tmp_path / "b.dcm")
    (files,) = headers.scan(tmp_path, show_paths=True).ct.values()
    series = ct_series.read(files)
    assert series.grid.shape == (2, 128, 128)
    assert series.grid.spacing_mm == pytest.approx((5, 0.661468, 0.661468))
    # PixelPaddingValue is -2000; rescale is by 1 and -1024.
    expected = np.maximum(made.pixel_array.astype(float) - 1024, -1024)
    np.testing.assert_array_equal(series.hu[0], expected)


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("77654033/CT2", r"step of 202\.50 mm, elsewhere 1\.25 mm: slices are missing"),
        ("TINY_ALPHA/PT000000", "has 0 numbers for ImageOrientationPatient"),
    ],
)
def test_series_that_are_no_volume(folder, message):
    (files,) = headers.scan(DICOMDIRS / folder, show_paths=True).ct.values()
    with pytest.raises(errors.SourceError, match=message):
        ct_series.read(files)


def test_scouts_are_no_ct():
    found = headers.scan(DICOMDIRS / "98892001" / "CT2N", show_paths=True)
    with pytest.raises(errors.SourceError, match="no axial CT images here"):
        ct_series.choose(found)


def test_a_feet_first_series():
    (files,) = headers.scan(
        DICOMDIRS / "98892001" / "CT5N", show_paths=True
    ).ct.values()
    series = ct_series.read(files)
    assert series.grid.shape == (5, 16, 16)
    assert series.grid.spacing_mm == pytest.approx((2.5, 0.488281, 0.488281))
    assert series.grid.origin_mm == pytest.approx((-72.199997, -143.0, -1.2375))
    assert [file.name for file in series.files] == [
        "3353",
        "3023",
        "2693",
        "2392",
        "2062",
    ]
    lowest = pydicom.dcmread(series.files[0].path).pixel_array.astype(float) - 1024
    np.testing.assert_array_equal(series.hu[0], np.maximum(lowest, -1024))


def test_a_patient_with_a_scout_and_a_series():
    found = headers.scan(DICOMDIRS / "98892001", show_paths=True)
    files, notes = ct_series.choose(found)
    assert len(files) == 5
    assert sum("scout" in note for note in notes) == 2


def test_a_structure_set_without_preamble(tmp_path):
    (file,) = alone("rtstruct.dcm", tmp_path).structure_sets
    structure_set = rtstruct.read(file)
    patient, first, second = structure_set.rois
    assert [len(contour.points_mm) for contour in patient.contours] == [4, 5, 5]
    np.testing.assert_array_equal(
        patient.contours[0].points_mm,
        [(-200, 150, -200), (-200, -150, -200), (200, -150, -200), (200, 150, -200)],
    )
    assert first.contours == second.contours == ()
    assert first.left_out == ("contours left out, POINT: 1",)


DOSES = (
    "rtdose.dcm",
    "rtdose_1frame.dcm",
    "rtdose_rle.dcm",
    "rtdose_rle_1frame.dcm",
    "rtdose_expb.dcm",
    "rtdose_expb_1frame.dcm",
)


@pytest.mark.parametrize("name", DOSES)
def test_a_relative_dose_is_refused(tmp_path, name):
    (file,) = alone(name, tmp_path).doses
    with pytest.raises(errors.SourceError, match="has DoseUnits 'RELATIVE'"):
        rtdose.read(file)


@pytest.mark.parametrize("name", DOSES)
def test_and_read_once_it_is_absolute(tmp_path, name):
    made = pydicom.dcmread(sample(name))
    expected = made.pixel_array.astype(float) * 1e-6
    made.DoseUnits = "GY"
    made.save_as(tmp_path / "rd.dcm")
    (file,) = headers.scan(tmp_path, show_paths=True).doses
    if "1frame" in name:
        # One frame, but the offsets of fifteen.
        with pytest.raises(errors.SourceError, match="1 planes of dose but 15 offsets"):
            rtdose.read(file)
        return
    dose = rtdose.read(file)
    np.testing.assert_allclose(dose.dose_gy, expected, rtol=1e-6)
    np.testing.assert_allclose(dose.z_mm, -761.87 + 5 * np.arange(15))
    assert dose.plane.origin_mm[:2] == (189.43125, 199.43125)
    assert rtdose.plan_uids(file) == {"1.2.123.456.78.9.0123.4567.89012345678901"}


def test_a_number_that_is_none(tmp_path):
    (file,) = alone("badVR.dcm", tmp_path).doses
    with pytest.raises(errors.SourceError, match="for NumberOfFrames that is no"):
        file.numbers("NumberOfFrames")
    with pytest.raises(errors.SourceError, match=r"badVR\.dcm"):
        rtdose.read(file)


@pytest.mark.parametrize(
    "path", [p for p in sorted(ROOT.rglob("*")) if p.is_file()], ids=lambda p: p.name
)
def test_no_file_raises_anything_else(tmp_path, path):
    (tmp_path / path.name).write_bytes(path.read_bytes())
    try:
        found = headers.scan(tmp_path, show_paths=True)
        for files in found.ct.values():
            ct_series.read(files)
        for file in found.structure_sets:
            rtstruct.read(file)
        for file in found.doses:
            rtdose.read(file)
    except errors.SourceError as error:
        assert str(error)
