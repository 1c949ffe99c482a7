"""A CT series to Hounsfield units: order, rescale, padding, encodings, choice."""

import copy

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom import uid

from mtl_jax.core import errors
from mtl_jax.sources.dicom import ct_series, headers
from tests.sources.dicom import changes as do
from tests.sources.dicom import writing


def read(files, folder, syntax=uid.ImplicitVRLittleEndian):
    found = headers.scan(writing.save(files, folder, syntax), show_paths=True)
    (series,) = found.ct.values()
    return ct_series.read(series)


def assert_is_the_ct(series):
    assert series.grid == writing.GRID
    np.testing.assert_array_equal(series.hu, writing.hu())


def test_slices_are_ordered_by_position_alone(tmp_path):
    named = writing.ct()
    shuffled = {
        f"{name}.dcm": named[f"ct{z}.dcm"]
        for name, z in zip("fadbec", range(6), strict=True)
    }
    for number, made in enumerate(shuffled.values()):
        made.SliceLocation = -number
        made.SpacingBetweenSlices = 7
    series = read(shuffled, tmp_path)
    assert_is_the_ct(series)
    # From the feet, where the files are for results that go back on the slices.
    assert [file.name for file in series.files] == [f"{n}.dcm" for n in "fadbec"]


@pytest.mark.parametrize("position", ["HFS", "FFP", "HFDL"])
def test_simpleitk_finds_the_same_value_at_the_same_place(tmp_path, position):
    series = read(writing.ct(position), tmp_path)
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path))
    image = SimpleITK.ReadImage(names)
    for index in np.random.default_rng(1).integers(0, series.hu.shape, (40, 3)):
        point = series.grid.to_mm(index).tolist()
        there = image.TransformPhysicalPointToIndex(point)
        assert image[there] == series.hu[tuple(index)]


def test_each_slice_has_its_own_rescale(tmp_path):
    files = writing.ct()
    for z, made in enumerate(files.values()):
        slope, intercept = 0.5 * (z + 1), -1024 + 10 * z
        stored = np.rint((writing.hu()[z] - intercept) / slope)
        made.RescaleSlope, made.RescaleIntercept = slope, intercept
        writing.set_pixels(made, stored.astype(np.int16), 16)
    series = read(files, tmp_path)
    # Whole steps of the slope: half of it is the most that rounding takes.
    assert np.abs(series.hu - writing.hu()).max() <= 1.5
    assert series.hu[3, 2, 4] == np.rint((writing.hu()[3, 2, 4] + 994) / 2) * 2 - 994


def test_signed_pixels_of_twelve_bits(tmp_path):
    files = writing.ct()
    for z, made in enumerate(files.values()):
        made.RescaleIntercept = 100
        stored = (writing.hu()[z] - 100).astype(np.int16)
        # What the upper four bits hold is no part of the value.
        stored = (stored.view(np.uint16) & 0x0FFF | 0x5000).view(np.int16)
        writing.set_pixels(made, stored, 12)
    assert_is_the_ct(read(files, tmp_path))


@pytest.mark.parametrize(
    ("padding", "limit"), [(-2000, None), (63536, None), (-2000, -3024), (-3024, -2000)]
)
def test_padding_becomes_air(tmp_path, padding, limit):
    files = writing.ct()
    for z, made in enumerate(files.values()):
        stored = writing.hu()[z].astype(np.int16)
        stored[0, :3] = -2000
        made.RescaleIntercept, made.PixelRepresentation = 0, 1
        writing.set_pixels(made, stored, 16)
        kind = "SS" if padding < 0 else "US"
        made.add_new("PixelPaddingValue", kind, padding)
        if limit is not None:
            made.add_new("PixelPaddingRangeLimit", "SS", limit)
    series = read(files, tmp_path, uid.ExplicitVRLittleEndian)
    expected = writing.hu()
    expected[:, 0, :3] = -1024
    np.testing.assert_array_equal(series.hu, expected)
    # 3 of 80 voxels.
    assert series.notes == (
        "3.8% of the CT is padding, or less than air: set to -1024 HU",
    )


def test_padding_in_bits_that_are_not_stored_is_no_tissue(tmp_path):
    # 63536 in 16 bits is 2096, 1072 HU, in the lower 12: bone, which must stay bone.
    files = writing.ct()
    made = files["ct0.dcm"]
    stored = (writing.hu()[0] + 1024).astype(np.uint16)
    stored[0, 0], stored[0, 1] = 63536, 2096
    made.add_new("PixelPaddingValue", "US", 63536)
    writing.set_pixels(made, stored, 12)
    series = read(files, tmp_path)
    assert series.hu[0, 0, 0] == -1024
    assert series.hu[0, 0, 1] == 1072


def test_less_than_air_is_air(tmp_path):
    files = writing.ct()
    for made in files.values():
        made.RescaleIntercept = -3024
    series = read(files, tmp_path)
    expected = np.maximum(writing.hu() - 2000, -1024)
    np.testing.assert_array_equal(series.hu, expected)
    share = (writing.hu() < 976).mean()
    assert series.notes[0].startswith(f"{share:.1%} of the CT is padding, or less")
    assert "though air is near -1000" not in series.notes[0]


def test_corners_that_nobody_calls_padding_hide_no_wrong_values(tmp_path):
    files = writing.ct()
    for made in files.values():
        stored = np.full((8, 10), 1100, np.int16)  # 1100 HU: no air anywhere
        stored[0, :4] = -3024
        made.RescaleIntercept = 0
        writing.set_pixels(made, stored, 16)
    assert read(files, tmp_path).notes == (
        "5.0% of the CT is padding, or less than air: set to -1024 HU",
        "the lowest 1 % of the CT reaches 1100 HU, though air is near -1000: check "
        "that these are Hounsfield units",
    )


def test_values_without_air_are_noted(tmp_path):
    files = writing.ct()
    for made in files.values():
        made.RescaleIntercept = 0
    (note,) = read(files, tmp_path).notes
    assert "check that these are Hounsfield units" in note


def test_a_look_up_table_comes_before_the_rescale(tmp_path):
    files = writing.ct()
    made = files["ct0.dcm"]
    writing.set_pixels(made, np.arange(80, dtype=np.uint16).reshape(8, 10) % 3, 16)
    item = writing.dataset(ModalityLUTType="HU")
    item.add_new("LUTDescriptor", "US", [3, 0, 16])
    item.add_new("LUTData", "US", [7, 40, 900])
    made.ModalityLUTSequence = [item]
    series = read(files, tmp_path)
    assert series.hu[0, 0, :4].tolist() == [7, 40, 900, 7]


def test_copies_are_left_out_and_told(tmp_path):
    files = writing.ct()
    files["again/ct3.dcm"] = files["ct3.dcm"]
    files["resent.dcm"] = copy.deepcopy(files["ct4.dcm"])
    files["resent.dcm"].SOPInstanceUID += ".8"
    series = read(files, tmp_path)
    assert_is_the_ct(series)
    assert series.notes == (
        "ct3.dcm is left out: a copy of again/ct3.dcm",
        "resent.dcm is left out: a copy of ct4.dcm",
    )


@pytest.mark.parametrize(
    "syntax",
    [
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
        uid.DeflatedExplicitVRLittleEndian,
        uid.RLELossless,
    ],
)
def test_encodings_that_need_no_decoder(tmp_path, syntax):
    files = writing.ct()
    for made in files.values():
        if syntax == uid.RLELossless:
            made.file_meta = pydicom.dataset.FileMetaDataset()
            made.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
            made.compress(syntax, generate_instance_uid=False)
        elif syntax == uid.ExplicitVRBigEndian:
            made.PixelData = (
                np.frombuffer(made.PixelData, "<u2").astype(">u2").tobytes()
            )
    assert_is_the_ct(read(files, tmp_path, syntax))


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("little", [True, False])
def test_files_without_preamble_and_meta(tmp_path, implicit, little):
    if implicit and not little:
        return  # there is no such encoding
    for name, made in writing.ct().items():
        if not little:
            made.PixelData = (
                np.frombuffer(made.PixelData, "<u2").astype(">u2").tobytes()
            )
        made.save_as(
            tmp_path / name,
            implicit_vr=implicit,
            little_endian=little,
            enforce_file_format=False,
        )
    assert (tmp_path / "ct0.dcm").read_bytes()[128:132] != b"DICM"
    (series,) = headers.scan(tmp_path, show_paths=True).ct.values()
    assert_is_the_ct(ct_series.read(series))


def test_private_elements_that_cannot_be_read_harm_nobody(tmp_path):
    writing.save(writing.ct(), tmp_path, uid.ExplicitVRLittleEndian)
    path = tmp_path / "ct2.dcm"
    content = path.read_bytes()
    # (0009,0010) as a creator; a number that is a word, a sequence that is none.
    private = b"\x09\x00\x10\x00LO\x04\x00ACME\x09\x00\x01\x10DS\x04\x00word"
    private += b"\x09\x00\x02\x10SQ\x00\x00\x06\x00\x00\x00\xff\xff\xff\xff\xff\xff"
    at = content.index(b"\x10\x00\x10\x00PN")
    path.write_bytes(content[:at] + private + content[at:])
    with pytest.raises(OSError, match="No tag to read"):
        list(pydicom.dcmread(path))
    (series,) = headers.scan(tmp_path, show_paths=True).ct.values()
    assert_is_the_ct(ct_series.read(series))


def choose(files, folder, **references):
    return ct_series.choose(
        headers.scan(writing.save(files, folder), show_paths=True), **references
    )


def two_series():
    files = writing.patient()
    do.other_series(files)
    return files


def test_the_series_that_was_drawn_on_is_taken(tmp_path):
    other = f"{writing.SERIES}.5"
    files, notes = choose(two_series(), tmp_path, series=[other])
    assert {file.name[:3] for file in files} == {"bct"}
    assert notes == ("left out 6 images of another CT series, such as ct0.dcm",)


def test_images_tell_the_series_where_it_is_not_named(tmp_path):
    image = f"{writing.SERIES}.9.3.5"
    files, notes = choose(two_series(), tmp_path, series=["9.9"], images=[image])
    assert {file.name[:3] for file in files} == {"bct"}
    assert "refers to a series that is not here" in notes[0]


def test_the_frame_of_reference_tells_the_series_at_last(tmp_path):
    made = two_series()
    do.put("bct*", FrameOfReferenceUID="1.2.3.9")(made)
    files, _ = choose(made, tmp_path, series=["9.9"], images=["9"], frames=["1.2.3.9"])
    assert {file.name[:3] for file in files} == {"bct"}


def test_the_only_ct_needs_no_reference(tmp_path):
    files, notes = choose(writing.ct(), tmp_path)
    assert len(files) == 6
    assert notes == ()
    made = two_series()
    with pytest.raises(errors.SourceError, match="2 CT series could be meant"):
        choose(made, tmp_path)


def test_scouts_of_the_same_series_are_left_out(tmp_path):
    made = writing.ct()
    do.copied("ct0.dcm", "s1.dcm", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])(made)
    do.copied("ct0.dcm", "s2.dcm", ImageOrientationPatient=[0, 1, 0, 0, 0, -1])(made)
    files, notes = choose(made, tmp_path)
    assert_is_the_ct(ct_series.read(files))
    assert notes == (
        "s1.dcm is left out: a scout",
        "s2.dcm is left out: a scout",
    )


def test_directions_that_a_writer_rounded_are_straight(tmp_path):
    files = writing.ct()
    rounded = [0.999999, 0.00005, 0, -0.00005, 0.999999, 0]
    do.put("ct*", ImageOrientationPatient=rounded)(files)
    assert_is_the_ct(read(files, tmp_path))
