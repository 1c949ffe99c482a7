"""An RTSTRUCT to contours: links, kinds, damage, holes, names; masks by hand."""

import copy
import dataclasses
import warnings

import numpy as np
import pytest
from pydicom import uid

from mtl_jax.core import contour_geometry, errors
from mtl_jax.sources.dicom import headers, reader, rtstruct
from tests.sources.dicom import changes as do
from tests.sources.dicom import writing

Z = -24.0  # slice 2
WHOLE = writing.box((-2.6, 2.6), (23, 29.5), Z)  # rows 2 to 4, columns 2 to 6
HOLE = writing.box((-0.5, 1.5), (25, 27), Z)  # row 3, columns 4 and 5
UNREAD = reader.Options(accept=("unread_organ",))


def read(files, folder, syntax=uid.ImplicitVRLittleEndian):
    found = headers.scan(writing.save(files, folder, syntax), show_paths=True)
    (structure_set,) = found.structure_sets
    return rtstruct.read(structure_set)


def read_rectum(contours, folder, syntax=uid.ImplicitVRLittleEndian, **settings):
    """Mask of the rectum on slice 2, and the notes on it."""
    files = writing.patient()
    rois = {"Rectum": contours, "Bladder": writing.bladder()}
    files["rs.dcm"] = writing.structure_set(rois)
    if syntax != uid.ImplicitVRLittleEndian:
        writing.save(files, folder, syntax)
        reading = writing.read(folder, **settings)
    else:
        reading = writing.read_files(files, folder, **settings)
    notes = [note for note in reading.notes if note.startswith("Rectum: ")]
    return reading.patient.structures.get("Rectum"), notes


def whole_box():
    mask = np.zeros(writing.GRID.shape, bool)
    mask[2, 2:5, 2:7] = True
    return mask


def ring():
    mask = whole_box()
    mask[2, 3, 4:6] = False
    return mask


def test_coordinates_come_as_they_are_written(tmp_path):
    structure_set = read(writing.patient(), tmp_path)
    assert structure_set.names == ("Rectum", "Bladder")
    # The sequences list the ROIs in opposite orders: numbers link them.
    (bladder, _) = structure_set.roi("Bladder").contours
    np.testing.assert_array_equal(
        bladder.points_mm,
        [(3, 30.5, -15), (7, 30.5, -15), (7, 33.5, -15), (3, 33.5, -15)],
    )
    assert structure_set.roi("Bladder").kind == "ORGAN"
    assert structure_set.roi("Rectum").frame_uid == writing.FRAME
    assert structure_set.series_uids == {writing.SERIES}


@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
def test_a_hole_is_a_hole_in_both_writings(tmp_path, kind):
    contours = [writing.contour(data, kind) for data in (WHOLE, HOLE)]
    mask, notes = read_rectum(contours, tmp_path)
    np.testing.assert_array_equal(mask, ring())
    assert notes == []


def test_a_keyhole_is_a_hole(tmp_path):
    outer, inner = (np.array(data).reshape(-1, 3) for data in (WHOLE, HOLE))
    path = np.concatenate([outer, outer[:1], inner[::-1], inner[-1:]])
    mask, _ = read_rectum([writing.contour(path.ravel().tolist())], tmp_path)
    np.testing.assert_array_equal(mask, ring())


def test_overlap_is_united_and_copies_count_once(tmp_path):
    left = writing.box((-2.6, 0.3), (23, 29.5), Z)
    right = writing.box((-0.3, 2.6), (23, 29.5), Z)
    contours = [writing.contour(data) for data in (left, right, left)]
    mask, notes = read_rectum(contours, tmp_path)
    np.testing.assert_array_equal(mask, whole_box())
    assert notes == [
        "Rectum: contours left out as copies of others: 1",
        "Rectum: slices on which contours overlap in part, and were united: 1",
    ]


def test_points_and_lines_are_no_area_wherever_they_stand(tmp_path):
    contours = [
        writing.contour([0.0, 25.0, Z], "POINT"),
        writing.contour(HOLE, "OPEN_PLANAR"),
        writing.contour(WHOLE),
        writing.contour(HOLE, "OPEN_NONPLANAR"),
        writing.contour(HOLE[:6]),
        writing.contour([0.0, 25.0, Z]),
        writing.contour(HOLE, "SPLINE"),
    ]
    mask, notes = read_rectum(contours, tmp_path, options=UNREAD)
    np.testing.assert_array_equal(mask, whole_box())
    assert notes == [
        "Rectum: contours left out, OPEN_NONPLANAR: 1",
        "Rectum: contours left out, OPEN_PLANAR: 1",
        "Rectum: contours left out, POINT: 1",
        "Rectum: contours left out, of fewer than 3 points: 2",
        "Rectum: contours left out, of unknown type: 1",
        "Rectum: only a part of it can be read (contours left out, of unknown type: 1);"
        " export again",
    ]


def test_damaged_coordinates_are_left_out_and_counted(tmp_path):
    blank = writing.contour(HOLE)
    blank.ContourData = ["1.5", "", *(str(value) for value in HOLE[2:])]
    odd_number = writing.contour(HOLE[:11])
    cut_off = writing.contour(HOLE)
    cut_off.NumberOfContourPoints = 5000
    nothing = writing.contour([])
    huge = writing.contour([*HOLE[:11], 1e300])
    python = writing.contour(HOLE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, of a value that is no DS
        python.ContourData = ["-0_0.5", *(str(value) for value in HOLE[1:])]
    contours = [blank, writing.contour(WHOLE), odd_number, cut_off, nothing, huge]
    contours += [python]
    mask, notes = read_rectum(contours, tmp_path, options=UNREAD)
    np.testing.assert_array_equal(mask, whole_box())
    # No coordinates at all are 0 points.
    assert notes[:2] == [
        "Rectum: contours left out, of fewer than 3 points: 1",
        "Rectum: contours left out, with damaged coordinates: 5",
    ]


def test_the_first_point_again_at_the_end_changes_nothing(tmp_path):
    closed = [writing.contour([*WHOLE, *WHOLE[:3]]), writing.contour(HOLE)]
    mask, _ = read_rectum(closed, tmp_path)
    np.testing.assert_array_equal(mask, ring())


def test_a_contour_smaller_than_a_voxel_spoils_no_slice(tmp_path):
    speck = writing.box((0.1, 0.2), (24.1, 24.3), Z)
    mask, notes = read_rectum([writing.contour(d) for d in (speck, WHOLE)], tmp_path)
    np.testing.assert_array_equal(mask, whole_box())
    options = reader.Options(allow_missing=True)
    mask, notes = read_rectum([writing.contour(speck)], tmp_path, options=options)
    assert mask is None
    assert notes == [
        "Rectum: left out: it holds no voxel of the CT: drawn beside it, or too small"
    ]


def test_a_contour_of_more_than_64_kib(tmp_path):
    # 3000 points, 16 characters a number: explicit VR has no length for it but as UN.
    x = np.linspace(-2.6, 2.6, 1500)
    sides = [(value, 23.0) for value in x] + [(value, 29.5) for value in x[::-1]]
    data = [f"{value:+.12f}" for x, y in sides for value in (x, y, Z)]
    assert sum(map(len, data)) > 65535
    mask, notes = read_rectum(
        [writing.contour(data)], tmp_path, uid.ExplicitVRLittleEndian
    )
    np.testing.assert_array_equal(mask, whole_box())
    assert notes == []


def test_an_roi_without_contours_was_not_contoured(tmp_path):
    for contours in ([], None):
        files = writing.patient()
        rois = {"Rectum": contours or [], "Bladder": writing.bladder()}
        files["rs.dcm"] = made = writing.structure_set(rois)
        if contours is None:
            made.ROIContourSequence = made.ROIContourSequence[:1]
        reading = writing.read_files(files, tmp_path)
        assert list(reading.patient.structures) == ["Bladder"]
        assert "Rectum: not contoured" in reading.notes


def test_of_two_rois_of_one_name_an_empty_one_does_not_count(tmp_path):
    files = writing.patient()
    made = files["rs.dcm"]
    made.StructureSetROISequence.insert(
        0, writing.dataset(ROINumber=77, ROIName="Rectum")
    )
    reading = writing.read_files(files, tmp_path)
    np.testing.assert_array_equal(
        reading.patient.structures["Rectum"], writing.masks()["Rectum"]
    )
    made.ROIContourSequence.append(copy.deepcopy(made.ROIContourSequence[0]))
    made.ROIContourSequence[-1].ReferencedROINumber = 77
    with pytest.raises(errors.SourceError, match="several ROIs of one name are Rectum"):
        writing.read_files(files, tmp_path)


def test_contours_of_no_listed_roi_are_told(tmp_path):
    files = writing.patient()
    files["rs.dcm"].ROIContourSequence.append(
        writing.dataset(ReferencedROINumber=500, ContourSequence=writing.rectum())
    )
    reading = writing.read_files(files, tmp_path)
    assert "rs.dcm has contours of no listed ROI: 1" in reading.notes


def test_images_of_other_uids_are_told_and_geometry_decides(tmp_path):
    files = writing.patient()
    image = writing.sequence({"ReferencedSOPInstanceUID": "1.2.3.4"})
    for roi in files["rs.dcm"].ROIContourSequence:
        for contour in roi.ContourSequence:
            contour.ContourImageSequence = image
    reading = writing.read_files(files, tmp_path)
    for name, mask in writing.masks().items():
        np.testing.assert_array_equal(reading.patient.structures[name], mask)
    assert (
        "the structure set names 1 images that are not in the CT series; contours were "
        "placed by their coordinates"
    ) in reading.notes


def test_another_frame_of_reference_may_be_allowed(tmp_path):
    files = writing.patient()
    do.other_frame(files)
    do.put("rd.dcm", FrameOfReferenceUID="1.2.3.4")(files)
    options = reader.Options(allow_frame_mismatch=True)
    found = writing.read_files(files, tmp_path, options=options).patient
    np.testing.assert_array_equal(found.structures["Rectum"], writing.masks()["Rectum"])
    assert found.dose_gy is not None


def test_an_roi_states_its_frame_or_the_set_does(tmp_path):
    files = writing.patient()
    for item in files["rs.dcm"].StructureSetROISequence:
        del item.ReferencedFrameOfReferenceUID
    writing.read_files(files, tmp_path)
    files["rs.dcm"].ReferencedFrameOfReferenceSequence = []
    with pytest.raises(errors.SourceError, match="another frame of reference"):
        writing.read_files(files, tmp_path)


def test_contours_between_slices_and_beyond_are_told(tmp_path):
    between = [writing.box((-2.6, 2.6), (23, 29.5), z) for z in (Z + 0.6, -33.0)]
    mask, notes = read_rectum([writing.contour(data) for data in between], tmp_path)
    np.testing.assert_array_equal(mask, whole_box())
    assert notes == [
        "Rectum: contours between slices, moved to the nearest slice: 1",
        "Rectum: part that lies outside the CT: 50.0%",
    ]


def test_contours_beside_the_image_are_cut_off_and_told(tmp_path):
    # Columns 0 and 1 are in the image, x -7.5 and -6.25 are not.
    data = writing.box((-7.6, -3.5), (23, 29.5), Z)
    mask, notes = read_rectum([writing.contour(data)], tmp_path)
    assert np.argwhere(mask).tolist() == [
        [2, row, column] for row in (2, 3, 4) for column in (0, 1)
    ]
    assert notes == ["Rectum: part that lies outside the CT: 50.0%"]


def test_gaps_between_contours_are_told_and_filled_where_asked(tmp_path):
    data = [writing.box((-2.6, 2.6), (23, 29.5), z) for z in writing.slices(0, 2, 5)]
    contours = [writing.contour(one) for one in data]
    mask, notes = read_rectum(contours, tmp_path)
    assert mask.any((1, 2)).tolist() == [True, False, True, False, False, True]
    told = "Rectum: slices without a contour between others"
    assert notes == [f"{told}, left empty: 3", *notes[1:]]
    options = reader.Options(fill_gaps=1)
    mask, notes = read_rectum(contours, tmp_path, options=options)
    assert mask.any((1, 2)).tolist() == [True, True, True, False, False, True]
    np.testing.assert_array_equal(mask[1], mask[0])
    assert notes[:2] == [f"{told}, filled: 1", f"{told}, left empty: 2"]


@pytest.mark.parametrize("change", [do.slanted, do.far_away])
def test_an_roi_off_the_slices_is_left_out_where_it_is_not_needed(tmp_path, change):
    files = writing.patient()
    change(files)
    folder = writing.save(files, tmp_path)
    target = dataclasses.replace(writing.SITE, contoured=("Bladder",))
    for how in (
        {"site": target},
        {
            "site": writing.SITE,
            "options": reader.Options(allow_missing=True),
        },
    ):
        found = reader.read(folder, patient_id="p1", **how)
        assert list(found.patient.structures) == ["Bladder"]
        (note,) = [one for one in found.notes if one.startswith("Rectum: left out: a")]
        assert "contour is" in note
    with pytest.raises(errors.SourceError, match=r"rs\.dcm has Rectum: a contour is"):
        writing.read(folder)


def test_many_rois_take_no_minutes(tmp_path):
    files = writing.patient()
    do.rois(**{f"Ring{number}": [] for number in range(3000)})(files)
    reading = writing.read_files(files, tmp_path)
    assert len(reading.structure_set.rois) == 3002


def test_margins_and_rings_are_no_organs(tmp_path):
    files = writing.patient()
    do.rois(Rectum_opt=writing.bladder(), Rectum__PRV=writing.bladder())(files)
    reading = writing.read_files(files, tmp_path)
    assert reading.roi_names == {"Rectum": "Rectum", "Bladder": "Bladder"}


def test_a_traced_mask_comes_back_through_a_file(tmp_path):
    mask = np.random.default_rng(5).random(writing.GRID.shape) < 0.5
    contours = [
        writing.contour([f"{value:.3f}" for value in traced.points_mm.ravel()])
        for traced in contour_geometry.from_mask(mask, writing.GRID)
    ]
    found, notes = read_rectum(contours, tmp_path)
    np.testing.assert_array_equal(found, mask)
    assert [note for note in notes if "dose" not in note] == []
