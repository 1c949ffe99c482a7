"""RTDOSE to Gy on the CT's grid: frames, scaling, units, and which files are meant."""

import copy

import numpy as np
import pydicom
import pytest
from pydicom import uid

from mtl_jax.core import errors, geometry
from mtl_jax.sources.dicom import headers, rtdose
from tests.sources.dicom import changes as do
from tests.sources.dicom import writing

EXACT = writing.dose_at(writing.centres(writing.DOSE_GRID))


def read(made, folder, syntax=uid.ImplicitVRLittleEndian):
    found = headers.scan(
        writing.save({"rd.dcm": made}, folder, syntax), show_paths=True
    )
    return rtdose.read(found.doses[0])


def assert_is_the_dose(dose, scaling=writing.SCALING):
    np.testing.assert_allclose(dose.z_mm, [-31 + 2.5 * n for n in range(7)])
    assert dose.plane.shape == writing.DOSE_GRID.shape
    assert dose.plane.spacing_mm[1:] == (3.0, 2.0)
    assert dose.plane.origin_mm[:2] == (-6.0, 19.0)
    np.testing.assert_allclose(dose.dose_gy, EXACT, atol=scaling)


@pytest.mark.parametrize("position", writing.POSITIONS)
def test_frames_follow_the_normal_in_every_position(tmp_path, position):
    assert_is_the_dose(read(writing.dose(position), tmp_path))


def test_positions_as_offsets(tmp_path):
    made = writing.dose()
    made.GridFrameOffsetVector = [-31 + 2.5 * n for n in range(7)]
    assert_is_the_dose(read(made, tmp_path))


@pytest.mark.parametrize("absolute", [True, False])
def test_offsets_that_fall(tmp_path, absolute):
    made = writing.dose()
    pixels = np.frombuffer(made.PixelData, np.uint32).reshape(7, 6, 7)
    made.PixelData = pixels[::-1].tobytes()
    made.ImagePositionPatient[2] = -16
    start = -16 if absolute else 0
    made.GridFrameOffsetVector = [start - 2.5 * n for n in range(7)]
    assert_is_the_dose(read(made, tmp_path))


def test_a_first_plane_at_0_means_the_same_both_ways(tmp_path):
    made = writing.dose()
    made.ImagePositionPatient[2] = 0
    assert read(made, tmp_path).z_mm[[0, -1]].tolist() == [0, 15]


def test_planes_need_not_be_even(tmp_path):
    # The dose is linear, so between uneven planes it is as between even ones.
    grid = writing.DOSE_GRID
    offsets = [0, 1, 4, 6, 7.5, 12, 15]
    points = writing.centres(grid)
    points[..., 2] = (-31 + np.array(offsets))[:, None, None]
    made = writing.dose()
    made.GridFrameOffsetVector = offsets
    stored = np.rint(writing.dose_at(points) / writing.SCALING)
    writing.set_pixels(made, stored.astype(np.uint32), 32)
    found, known = rtdose.onto(read(made, tmp_path), writing.GRID)
    expected = writing.dose_at(writing.centres(writing.GRID))
    assert known[:5, :, :9].all() and known.sum() == 5 * 8 * 9
    np.testing.assert_allclose(found[known], expected[known], atol=2e-4)
    assert not found[~known].any()


def test_slice_thickness_and_rescale_and_dvhs_play_no_part(tmp_path):
    made = writing.dose()
    made.SliceThickness = 77
    made.RescaleSlope, made.RescaleIntercept = 3, -50
    made.DVHSequence = writing.sequence({"DVHType": "CUMULATIVE", "DVHData": [1, 2]})
    assert_is_the_dose(read(made, tmp_path))


def test_sixteen_bits_use_their_whole_range(tmp_path):
    made = writing.dose()
    stored = np.zeros((7, 6, 7), np.uint16)
    stored[2, 1, 3] = 65535  # -1, were it signed
    stored[5, 4, 0] = 1
    writing.set_pixels(made, stored, 16)
    made.DoseGridScaling = 0.001
    found = read(made, tmp_path).dose_gy
    # Frames, rows, columns.
    assert found[2, 1, 3] == np.float32(65.535)
    assert found[5, 4, 0] == np.float32(0.001)
    assert np.count_nonzero(found) == 2


@pytest.mark.parametrize("syntax", [uid.ExplicitVRBigEndian, uid.RLELossless])
def test_other_encodings(tmp_path, syntax):
    made = writing.dose()
    if syntax == uid.RLELossless:
        made.file_meta = pydicom.dataset.FileMetaDataset()
        made.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
        # pydicom writes RLE of up to 16 bits; its samples have one of 32.
        made.DoseGridScaling = 0.001
        writing.set_pixels(made, np.rint(EXACT / 0.001).astype(np.uint16), 16)
        made.compress(syntax, generate_instance_uid=False)
    else:
        made.PixelData = np.frombuffer(made.PixelData, "<u4").astype(">u4").tobytes()
    scaling = float(made.DoseGridScaling)
    assert_is_the_dose(read(made, tmp_path, syntax), scaling)


def test_centigray_become_gray_and_are_told(tmp_path):
    made = writing.dose()
    made.DoseUnits, made.DoseGridScaling = "CGY", writing.SCALING * 100
    dose = read(made, tmp_path)
    assert_is_the_dose(dose)
    assert dose.notes == ("rd.dcm is in cGy, and was divided by 100",)


def test_notes_on_kinds_of_dose(tmp_path):
    made = writing.dose()
    made.DoseType, made.DoseGridScaling = "EFFECTIVE", 0.01
    assert read(made, tmp_path).notes == (
        "rd.dcm reaches 3625 Gy: check that these are Gy",
        "rd.dcm holds effective (biologically weighted) dose",
    )
    made.DoseType, made.DoseGridScaling = "PHYSICAL", 1e-300
    assert read(made, tmp_path).notes == (
        "rd.dcm reaches 0 Gy: check that these are Gy",
    )
    made.DoseType, made.DoseGridScaling = "", writing.SCALING
    assert read(made, tmp_path).notes == (
        "rd.dcm has no DoseType, and was taken for physical dose",
    )


def test_between_voxels_by_hand(tmp_path):
    made = writing.dose(grid=geometry.Grid((2, 2, 2), (4.0, 3.0, 2.0), (1.0, 2.0, 3.0)))
    stored = np.array([[[0, 8], [0, 0]], [[0, 0], [0, 80]]], np.uint32)
    writing.set_pixels(made, stored, 32)
    made.DoseGridScaling = 1
    # Points half way along x, then along x and y, then in all three directions.
    grid = geometry.Grid((3, 3, 3), (2.0, 1.5, 1.0), (1.0, 2.0, 3.0))
    found, known = rtdose.onto(read(made, tmp_path), grid)
    assert known.all()
    assert found[0, 0].tolist() == [0, 4, 8]
    assert found[0, 1].tolist() == [0, 2, 4]
    assert found[1, 1, 1] == 11  # (8 + 80) / 8
    assert found[2, 2, 2] == 80


def test_outside_is_zero_and_not_known(tmp_path):
    grid = geometry.Grid((9, 10, 11), (2.5, 3.0, 2.0), (-10.0, 13.0, -33.5))
    found, known = rtdose.onto(read(writing.dose(), tmp_path), grid)
    expected = np.zeros(grid.shape, bool)
    expected[1:8, 2:8, 2:9] = True
    np.testing.assert_array_equal(known, expected)
    # Voxel centres of one are voxel centres of the other: edges too keep their dose.
    np.testing.assert_allclose(found[1:8, 2:8, 2:9], EXACT, atol=2e-4)
    assert not found[~known].any()


def patient_with(folder, change, **settings):
    files = writing.patient()
    change(files)
    return writing.read_files(files, folder, **settings)


def assert_has_the_dose(reading, times=1.0):
    dose_gy = reading.patient.dose_gy
    assert dose_gy[2, 3, 4] == pytest.approx(30.5 * times, abs=2e-4)


def test_the_plan_is_taken_before_its_beams(tmp_path):
    def change(files):
        whole = copy.deepcopy(files["rd.dcm"])
        do.beams(1, 2)(files)
        do.put("rd1.dcm", DoseGridScaling=1)(files)
        files["z.dcm"] = whole

    reading = patient_with(tmp_path, change)
    assert_has_the_dose(reading)
    assert "rd1.dcm (DoseSummationType 'BEAM') left out" in reading.notes


def test_a_sum_of_plans_is_taken_where_there_is_no_plan(tmp_path):
    change = do.put("rd.dcm", DoseSummationType="MULTI_PLAN")
    assert_has_the_dose(patient_with(tmp_path, change))


def test_beams_are_summed_where_all_of_the_plan_are_there(tmp_path):
    def change(files):
        do.beams(1, 2)(files)
        # The second on a grid of its own: one plane less at the head.
        grid = geometry.Grid((6, 6, 7), (2.5, 3.0, 2.0), writing.DOSE_GRID.origin_mm)
        other = writing.dose(grid=grid)
        for keyword in ("NumberOfFrames", "GridFrameOffsetVector", "PixelData"):
            setattr(files["rd2.dcm"], keyword, getattr(other, keyword))
        files["rp.dcm"] = writing.plan(2)

    reading = patient_with(tmp_path, change)
    assert_has_the_dose(reading, times=2)
    # The last plane, z -18.5, is below slice 4: not known there any more.
    known = reading.patient.possible_dose_mask
    assert known.any((1, 2)).tolist() == [True] * 4 + [False] * 2


def test_what_is_no_dose_of_this_patient_is_left_out_and_told(tmp_path):
    def change(files):
        do.copied("rd.dcm", "e.dcm", SOPInstanceUID="1.1", DoseType="ERROR")(files)
        do.copied("rd.dcm", "f.dcm", SOPInstanceUID="1.2", FrameOfReferenceUID="1")(
            files
        )
        do.copied("rd.dcm", "g.dcm", SOPInstanceUID="1.3", DoseUnits="RELATIVE")(files)

    reading = patient_with(tmp_path, change)
    assert_has_the_dose(reading)
    assert "e.dcm has DoseType 'ERROR', which is not a dose: left out" in reading.notes
    assert "f.dcm has another frame of reference than the CT: left out" in reading.notes
    assert [note for note in reading.notes if note.startswith("g.dcm has DoseUnits")]


def test_a_dose_copied_is_one_dose(tmp_path):
    def change(files):
        files["copy/rd.dcm"] = files["rd.dcm"]

    reading = patient_with(tmp_path, change)
    assert_has_the_dose(reading)
    assert "rd.dcm is left out: a copy of copy/rd.dcm" in reading.notes


def test_plans_tell_which_structure_set_and_dose_belong_together(tmp_path):
    def change(files):
        do.copied("rs.dcm", "old.dcm", SOPInstanceUID="1.2.3.4")(files)
        files["old.dcm"].ROIContourSequence[0].ContourSequence = []
        files["rp.dcm"] = writing.plan()

    reading = patient_with(tmp_path, change)
    assert_has_the_dose(reading)
    assert set(reading.patient.structures) == {"Rectum", "Bladder"}

    def two_plans(files):
        do.copied("rd.dcm", "old_dose.dcm", SOPInstanceUID="1.1")(files)
        reference = writing.sequence({"ReferencedSOPInstanceUID": "1.2.9"})
        do.put("old_dose.dcm", ReferencedRTPlanSequence=reference)(files)
        files["rp.dcm"] = writing.plan()

    reading = patient_with(tmp_path / "b", two_plans)
    assert_has_the_dose(reading)
    told = "old_dose.dcm (no plan here links it to the contours) left out"
    assert told in reading.notes


def test_without_frame_of_reference_the_study_decides(tmp_path):
    change = do.put("rd.dcm", FrameOfReferenceUID=None)
    assert_has_the_dose(patient_with(tmp_path, change))
    change = do.both(change, do.put("rd.dcm", StudyInstanceUID="1.2.3"))
    with pytest.raises(errors.SourceError, match="states no frame of reference"):
        patient_with(tmp_path, change)
