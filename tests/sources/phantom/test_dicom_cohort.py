"""Phantoms as DICOM-RT: coordinates and identifiers worked by hand, and cohorts."""

import pathlib

import numpy as np
import pydicom
import pytest
from pydicom import uid

from mtl_jax.core import errors, geometry
from mtl_jax.sources.phantom import (
    dicom_cohort,
    dicom_images,
    generated_folder,
    male_pelvis,
)

POSITIONS = tuple(dicom_images.POSITIONS)
SEED, PATIENT_ID = 3, "PHANTOM-TEST"


def small_pelvis() -> male_pelvis.Pelvis:
    """Voxel centres at x 10, 13, ... 22, y -20, -18, ... -14, z 100, 105, 110 mm."""
    grid = geometry.Grid((3, 4, 5), (5.0, 2.0, 3.0), (10.0, -20.0, 100.0))
    dot, ring, pair = (np.zeros(grid.shape, bool) for _ in range(3))
    dot[1, 2, 3] = True
    ring[2, 0:3, 1:4] = True
    ring[2, 1, 2] = False
    pair[0, 0, 0] = pair[0, 3, 4] = True
    dose_grid = geometry.Grid((2, 3, 4), (4.0, 2.5, 1.5), (11.0, -19.5, 101.0))
    return male_pelvis.Pelvis(
        grid=grid,
        ct_hu=np.arange(60, dtype=np.float32).reshape(grid.shape) * 10 - 1000,
        structures={"Bladder": dot, "Rectal_Wall": ring, "Femur_L": pair},
        dose_grid=dose_grid,
        dose_gy=np.arange(24, dtype=np.float32).reshape(dose_grid.shape) * 2.75,
    )


def write(folder: pathlib.Path, pelvis: male_pelvis.Pelvis, **options: str):
    """The patient's CT in the order of its instance numbers, RTSTRUCT and RTDOSE."""
    dicom_cohort.write_patient(folder, pelvis, patient_id=PATIENT_ID, **options)
    ct = [pydicom.dcmread(path) for path in folder.glob("CT.*.dcm")]
    (contours,) = (pydicom.dcmread(path) for path in folder.glob("RS.*.dcm"))
    (dose,) = (pydicom.dcmread(path) for path in folder.glob("RD.*.dcm"))
    return sorted(ct, key=lambda image: image.InstanceNumber), contours, dose


def outlines(contours: pydicom.Dataset) -> dict[str, list[np.ndarray]]:
    """The contours [N, 3] in mm of each ROI."""
    names = {roi.ROINumber: roi.ROIName for roi in contours.StructureSetROISequence}
    return {
        names[roi.ReferencedROINumber]: [
            np.array(contour.ContourData, float).reshape(-1, 3)
            for contour in roi.ContourSequence
        ]
        for roi in contours.ROIContourSequence
    }


def corners(outline: np.ndarray) -> set[tuple[float, ...]]:
    return set(map(tuple, outline.tolist()))


# The first slice: its orientation, the centre of its first voxel, and its index.
SMALL_CT = [
    ("HFS", [1, 0, 0, 0, 1, 0], [10, -20, 100], (0, 0, 0)),
    ("HFP", [-1, 0, 0, 0, -1, 0], [22, -14, 100], (0, 3, 4)),
    ("FFS", [-1, 0, 0, 0, 1, 0], [22, -20, 110], (2, 0, 4)),
    ("FFP", [1, 0, 0, 0, -1, 0], [10, -14, 110], (2, 3, 0)),
]
# The dose: the centre of its first voxel, and its index.
SMALL_DOSE = {
    "HFS": ([11, -19.5, 101], (0, 0, 0)),
    "HFP": ([15.5, -14.5, 101], (0, 2, 3)),
    "FFS": ([15.5, -19.5, 105], (1, 0, 3)),
    "FFP": ([11, -14.5, 105], (1, 2, 0)),
}


@pytest.mark.parametrize(("position", "orientation", "corner", "voxel"), SMALL_CT)
def test_images_lie_where_the_position_puts_them(
    tmp_path, position, orientation, corner, voxel
):
    pelvis = small_pelvis()
    ct, _, dose = write(tmp_path / "p", pelvis, position=position)
    to_head = 5 if position.startswith("HF") else -5
    for number, image in enumerate(ct):
        assert image.ImageOrientationPatient == orientation
        x, y, z = corner
        assert image.ImagePositionPatient == [x, y, z + number * to_head]
        assert image.PatientPosition == position
        assert image.PixelSpacing == [2, 3]  # between rows, then between columns
        assert image.pixel_array.shape == (4, 5)
    assert ct[0].pixel_array[0, 0] + ct[0].RescaleIntercept == pelvis.ct_hu[voxel]
    assert ct[0].RescaleSlope == 1
    assert dose.ImageOrientationPatient == orientation
    assert dose.ImagePositionPatient == SMALL_DOSE[position][0]
    assert dose.PixelSpacing == [2.5, 1.5]
    assert dose.GridFrameOffsetVector == [0, 4]
    assert dose.pixel_array.shape == (2, 3, 4)
    dose_gy = dose.pixel_array * float(dose.DoseGridScaling)
    first = pelvis.dose_gy[SMALL_DOSE[position][1]]
    assert dose_gy[0, 0, 0] == pytest.approx(first, abs=5e-4)


@pytest.mark.parametrize("position", POSITIONS)
def test_contours_match_those_worked_by_hand_in_every_position(tmp_path, position):
    ct, contours, _ = write(tmp_path / "p", small_pelvis(), position=position)
    drawn = outlines(contours)
    (dot,) = drawn["Bladder"]  # half a voxel around x 19, y -16
    assert corners(dot) == {
        (17.5, -16, 105),
        (20.5, -16, 105),
        (19, -17, 105),
        (19, -15, 105),
    }
    outer, hole = sorted(drawn["Rectal_Wall"], key=len, reverse=True)
    assert corners(hole) == {
        (14.5, -18, 110),
        (17.5, -18, 110),
        (16, -19, 110),
        (16, -17, 110),
    }
    assert np.ptp(outer, axis=0).tolist() == [9, 6, 0]  # three voxels by three
    assert outer.min(axis=0).tolist() == [11.5, -21, 110]  # beyond the image's edge
    islands = sorted(outline.mean(axis=0).tolist() for outline in drawn["Femur_L"])
    assert islands == [[10, -20, 100], [22, -14, 100]]
    heights = {image.SOPInstanceUID: image.ImagePositionPatient[2] for image in ct}
    for roi in contours.ROIContourSequence:
        for contour in roi.ContourSequence:
            (image,) = contour.ContourImageSequence
            assert contour.ContourGeometricType == "CLOSED_PLANAR"
            assert contour.NumberOfContourPoints * 3 == len(contour.ContourData)
            assert heights[image.ReferencedSOPInstanceUID] == contour.ContourData[2]


def test_a_dose_is_its_stored_values_times_its_scaling(tmp_path):
    pelvis = small_pelvis()
    _, _, dose = write(tmp_path / "p", pelvis)
    assert dose.pixel_array.dtype == np.uint16 and dose.pixel_array.max() == 65535
    assert len(dose["DoseGridScaling"].value.original_string) <= 16
    scaling = float(dose.DoseGridScaling)
    dose_gy = dose.pixel_array * scaling
    assert np.abs(dose_gy - pelvis.dose_gy).max() <= scaling * 0.501
    assert (dose.DoseUnits, dose.DoseType, dose.DoseSummationType) == (
        "GY",
        "PHYSICAL",
        "PLAN",
    )


def test_identifiers_are_consistent_and_follow_from_the_patient(tmp_path):
    ct, contours, dose = write(tmp_path / "a", small_pelvis())
    objects = [*ct, contours, dose]
    assert len({dicom.SOPInstanceUID for dicom in objects}) == 5
    assert len({dicom.SeriesInstanceUID for dicom in objects}) == 3
    assert len({dicom.SeriesInstanceUID for dicom in ct}) == 1
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID"):
        assert len({dicom[keyword].value for dicom in objects}) == 1
    (frame,) = contours.ReferencedFrameOfReferenceSequence
    (study,) = frame.RTReferencedStudySequence
    (series,) = study.RTReferencedSeriesSequence
    assert frame.FrameOfReferenceUID == ct[0].FrameOfReferenceUID
    assert study.ReferencedSOPInstanceUID == ct[0].StudyInstanceUID
    assert series.SeriesInstanceUID == ct[0].SeriesInstanceUID
    images = {dicom.ReferencedSOPInstanceUID for dicom in series.ContourImageSequence}
    assert images == {dicom.SOPInstanceUID for dicom in ct}

    again, _, _ = write(tmp_path / "b", small_pelvis())
    assert [dicom.SOPInstanceUID for dicom in again] == [
        dicom.SOPInstanceUID for dicom in ct
    ]
    turned, _, _ = write(tmp_path / "c", small_pelvis(), position="FFS")
    assert turned[0].SOPInstanceUID != ct[0].SOPInstanceUID


def test_headers_name_a_phantom_and_hold_no_date(tmp_path):
    ct, contours, dose = write(tmp_path / "p", small_pelvis())
    for dicom in (*ct, contours, dose):
        assert str(dicom.PatientName) == "Phantom^PHANTOM-TEST"
        assert dicom.PatientID == "PHANTOM-TEST"
        for element in dicom.iterall():
            if element.VR in ("DA", "TM", "DT"):
                assert not element.value, element.keyword
            if element.VR == "UI" and element.keyword != "ReferencedSOPClassUID":
                assert uid.UID(element.value).is_valid
            if element.VR == "DS":
                values = element.value if element.VM > 1 else [element.value]
                assert all(len(str(value)) <= 16 for value in values)


def test_rois_are_named_after_tg263_or_as_in_clinics(tmp_path):
    pelvis = small_pelvis()
    assert set(outlines(write(tmp_path / "a", pelvis)[1])) == set(pelvis.structures)
    structures = set(male_pelvis.STRUCTURES)
    for naming in dicom_cohort.NAMINGS.values():
        assert set(naming) == structures
        assert all(len(name) <= 16 for names in naming.values() for name in names)
    patients = []
    for number in range(6):
        patient_id = dicom_cohort.name_patient(SEED, number)
        folder = tmp_path / patient_id
        dicom_cohort.write_patient(
            folder, pelvis, patient_id=patient_id, naming="clinic"
        )
        (path,) = folder.glob("RS.*.dcm")
        patients.append(list(outlines(pydicom.dcmread(path))))
        for structure, name in zip(pelvis.structures, patients[-1], strict=True):
            assert name in dicom_cohort.NAMINGS["clinic"][structure]
    assert len(set(map(tuple, patients))) > 1


TINY = {"shape": (34, 52, 74), "spacing_mm": (5.0, 5.0, 5.1)}


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_cohort_is_the_same_for_any_number_of_workers(tmp_path, capsys):
    folder = tmp_path / "cohorts" / "small"
    dicom_cohort.write_cohort(folder, seed=SEED, patients=2, **TINY)
    assert "phantoms" in capsys.readouterr().err  # the progress bar
    assert sorted(path.name for path in folder.iterdir()) == [
        "PHANTOM-3-001",
        "PHANTOM-3-002",
        generated_folder.STAMP,
    ]
    assert [path.name for path in folder.parent.iterdir()] == ["small"]
    for patient in folder.glob("PHANTOM-*"):
        kinds = [path.name[:2] for path in patient.iterdir()]
        assert sorted(kinds) == ["CT"] * 34 + ["RD", "RS"]
    other = tmp_path / "other"
    dicom_cohort.write_cohort(other, seed=SEED, patients=2, workers=2, **TINY)
    assert contents(other) == contents(folder)


def test_the_same_cohort_is_reused_and_another_is_refused(tmp_path, monkeypatch):
    made = []

    def make(seed: int, index: int, **_: object) -> male_pelvis.Pelvis:
        made.append((seed, index))
        return small_pelvis()

    monkeypatch.setattr(male_pelvis, "make_pelvis", make)
    folder = tmp_path / "cohort"
    folder.mkdir()  # an empty folder is no obstacle
    dicom_cohort.write_cohort(folder, seed=7, patients=2)
    dicom_cohort.write_cohort(folder, seed=7, patients=2)
    assert made == [(7, 1), (7, 2)]
    with pytest.raises(errors.SourceError, match="delete it, or choose another"):
        dicom_cohort.write_cohort(folder, seed=7, patients=3)
    with pytest.raises(errors.SourceError, match=r'holds .*"position": "HFS".*; exp'):
        dicom_cohort.write_cohort(folder, seed=7, patients=2, position="FFS")
    (folder / generated_folder.STAMP).unlink()
    with pytest.raises(errors.SourceError, match=r"no readable\s+phantom.json"):
        dicom_cohort.write_cohort(folder, seed=7, patients=2)
    assert made == [(7, 1), (7, 2)]


def test_a_cohort_or_patient_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_: object) -> pydicom.Dataset:
        raise OSError("disk full")

    monkeypatch.setattr(dicom_images, "rt_dose", fail)
    with pytest.raises(OSError, match="disk full"):
        dicom_cohort.write_cohort(tmp_path / "c", seed=0, patients=1, **TINY)
    with pytest.raises(OSError, match="disk full"):
        dicom_cohort.write_patient(tmp_path / "p", small_pelvis(), patient_id="P")
    assert not any(tmp_path.iterdir())


def test_a_folder_that_is_not_empty_is_refused_and_kept(tmp_path):
    folder = tmp_path / "Jane-Doe"
    folder.mkdir()
    (folder / "note.txt").write_text("mine")
    with pytest.raises(errors.SourceError, match="is not empty") as refused:
        dicom_cohort.write_patient(folder, small_pelvis(), patient_id="P")
    assert "Jane-Doe" not in str(refused.value)
    assert contents(folder) == {"note.txt": b"mine"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"position": "HFSS"}, "unknown position 'HFSS'; did you mean 'HFS'?"),
        ({"naming": "tg236"}, "unknown naming 'tg236'; did you mean 'tg263'?"),
    ],
)
def test_an_unknown_position_or_naming_is_refused(tmp_path, options, message):
    with pytest.raises(errors.ConfigError, match=message.replace("?", r"\?")):
        dicom_cohort.write_cohort(tmp_path / "c", seed=0, patients=1, **options)
    with pytest.raises(errors.ConfigError, match=message.replace("?", r"\?")):
        dicom_cohort.write_patient(
            tmp_path / "p", small_pelvis(), patient_id="P", **options
        )
    assert not any(tmp_path.iterdir())
