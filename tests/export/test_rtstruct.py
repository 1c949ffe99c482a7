"""Exported contours: worked by hand, and read by our reader and by other libraries."""

import functools
import pathlib

import numpy as np
import pydicom
import pytest
from matplotlib import path as outlines
from PIL import Image, ImageDraw
from pydicom import uid
from scipy import ndimage

from mtl_jax.core import errors, geometry, sites
from mtl_jax.export import ct_reference, rtstruct
from mtl_jax.sources.dicom import reader as dicom_reader
from mtl_jax.sources.phantom import male_pelvis
from tests.export import exported

write = functools.partial(
    rtstruct.write,
    site=exported.SITE,
    author=exported.AUTHOR,
    created=exported.CREATED,
)


def contours(dicom: pydicom.Dataset) -> dict[str, list[np.ndarray]]:
    """The contours [P, 3] in mm of each ROI, linked by their numbers."""
    items = {item.ReferencedROINumber: item for item in dicom.ROIContourSequence}
    return {
        roi.ROIName: [
            np.array(contour.ContourData, float).reshape(-1, 3)
            for contour in items[roi.ROINumber].get("ContourSequence", [])
        ]
        for roi in dicom.StructureSetROISequence
    }


def corners(outline: np.ndarray) -> set[tuple[float, ...]]:
    return set(map(tuple, outline.tolist()))


@pytest.fixture
def reference(tmp_path) -> ct_reference.CtReference:
    exported.write_ct(tmp_path / "ct")
    return exported.reference(tmp_path / "ct")


def test_contours_match_those_worked_by_hand(tmp_path, reference):
    dot, ring = (np.zeros(exported.GRID.shape, bool) for _ in range(2))
    dot[1, 2, 3] = True  # x 19, y -16, z 105
    ring[2, 0:3, 1:4] = True  # x 13 to 19, y -20 to -16, z 110: at the border
    ring[2, 1, 2] = False  # x 16, y -18
    write(tmp_path / "a.dcm", {"Bladder": dot, "Rectum": ring}, reference)
    written = contours(pydicom.dcmread(tmp_path / "a.dcm"))
    assert list(written) == ["Bladder", "Rectum"]
    (outline,) = written["Bladder"]
    assert corners(outline) == {
        (17.5, -16, 105),
        (20.5, -16, 105),
        (19, -17, 105),
        (19, -15, 105),
    }
    outer, hole = sorted(written["Rectum"], key=len, reverse=True)
    assert corners(hole) == {
        (14.5, -18, 110),
        (17.5, -18, 110),
        (16, -19, 110),
        (16, -17, 110),
    }
    assert outer.min(axis=0).tolist() == [11.5, -21, 110]
    assert outer.max(axis=0).tolist() == [20.5, -15, 110]


def test_the_object_describes_itself(tmp_path, reference):
    masks = exported.some_masks(exported.GRID)
    masks["PTV_6000"] = masks["Prostate"]
    write(tmp_path / "a.dcm", masks, reference)
    dicom = pydicom.dcmread(tmp_path / "a.dcm")
    assert dicom.file_meta.TransferSyntaxUID == uid.ImplicitVRLittleEndian
    assert dicom.SOPClassUID == uid.RTStructureSetStorage
    assert dicom.ApprovalStatus == "UNAPPROVED"
    assert (
        len(dicom.StructureSetLabel) <= 16 and "NOT CLINICAL" in dicom.StructureSetLabel
    )
    assert (dicom.StructureSetDate, dicom.StructureSetTime) == ("20261126", "140509")
    notice = "AI-generated, not for clinical use"
    assert dicom.SeriesDescription == dicom.StructureSetName == notice
    assert dicom.StructureSetDescription == (
        f"{notice}. Predicted by mtl_jax 9.8.7, model multi (prostate), checkpoint "
        f"{exported.AUTHOR.checkpoints[0]}."
    )
    assert dicom.Manufacturer and dicom.ManufacturerModelName == "multi (prostate)"
    assert dicom.SoftwareVersions == ["9.8.7", *exported.AUTHOR.checkpoints]
    rois = dicom.StructureSetROISequence
    assert [roi.ROIName for roi in rois] == [
        exported.SITE.structure(name).tg263 for name in masks
    ]
    for roi, drawn in zip(rois, dicom.ROIContourSequence, strict=True):
        structure = exported.SITE.structure(roi.ROIName)
        assert tuple(drawn.ROIDisplayColor) == structure.colour
        assert drawn.ReferencedROINumber == roi.ROINumber
        assert roi.ROIGenerationAlgorithm == "AUTOMATIC"
        assert roi.ROIDescription == notice
        assert roi.ReferencedFrameOfReferenceUID == dicom.FrameOfReferenceUID
    kinds = [item.RTROIInterpretedType for item in dicom.RTROIObservationsSequence]
    assert kinds == ["CTV", "ORGAN", "ORGAN", "ORGAN", "ORGAN", "PTV"]
    # An empty mask is listed without contours.
    empty = [d for d in dicom.ROIContourSequence if "ContourSequence" not in d]
    assert [item.ReferencedROINumber for item in empty] == [3]


def test_targets_of_openkbp_are_planning_targets():
    kinds = {s.name: rtstruct.interpreted_type(s) for s in sites.OPENKBP.structures}
    assert {name for name, kind in kinds.items() if kind == "PTV"} == {
        *("PTV56", "PTV63", "PTV70")
    }
    assert set(kinds.values()) == {"PTV", "ORGAN"}
    gross = sites.Structure("Tumour", "GTVp", (1, 2, 3), target_gy=70.0)
    assert rtstruct.interpreted_type(gross) == "GTV"


@pytest.mark.parametrize("position", exported.POSITIONS)
def test_everything_refers_to_the_ct(tmp_path, position):
    _, paths = exported.write_ct(tmp_path / "ct", position=position)
    reference = exported.reference(tmp_path / "ct")
    write(tmp_path / "a.dcm", exported.some_masks(exported.GRID), reference)
    dicom = pydicom.dcmread(tmp_path / "a.dcm")
    headers = [pydicom.dcmread(path) for path in paths]
    heights = {h.SOPInstanceUID: h.ImagePositionPatient[2] for h in headers}
    (frame,) = dicom.ReferencedFrameOfReferenceSequence
    (study,) = frame.RTReferencedStudySequence
    (series,) = study.RTReferencedSeriesSequence
    assert frame.FrameOfReferenceUID == headers[0].FrameOfReferenceUID
    assert study.ReferencedSOPInstanceUID == headers[0].StudyInstanceUID
    assert series.SeriesInstanceUID == headers[0].SeriesInstanceUID
    images = [item.ReferencedSOPInstanceUID for item in series.ContourImageSequence]
    assert sorted(images) == sorted(heights)
    for roi in dicom.ROIContourSequence:
        for contour in roi.get("ContourSequence", []):
            (image,) = contour.ContourImageSequence
            assert image.ReferencedSOPClassUID == uid.CTImageStorage
            assert contour.ContourGeometricType == "CLOSED_PLANAR"
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            assert contour.NumberOfContourPoints == len(points) > 2
            assert set(points[:, 2]) == {heights[image.ReferencedSOPInstanceUID]}


@pytest.mark.parametrize("grid", [exported.GRID, exported.ODD], ids=["plain", "odd"])
@pytest.mark.parametrize("position", exported.POSITIONS)
def test_our_reader_reads_the_same_voxels_back(tmp_path, grid, position):
    folder = tmp_path / "ct"
    exported.write_ct(folder, grid, position)
    masks = exported.some_masks(grid)
    write(folder / "contours.dcm", masks, exported.reference(folder))
    reading = dicom_reader.read(folder, patient_id="p1", site=exported.SITE)
    structures = reading.patient.structures
    assert list(structures) == [name for name, mask in masks.items() if mask.any()]
    for name, mask in structures.items():
        assert np.array_equal(mask, masks[name]), name
    assert not [note for note in reading.notes if "not in the CT series" in note]


def test_decimal_strings_have_at_most_16_characters(tmp_path):
    grid = geometry.Grid(
        (2, 9, 8), (1 / 3, 2 / 7, 1e-3 * np.pi), (-99e3, 1e3 / 7, -0.0)
    )
    reference = ct_reference.invented(grid, patient_id="pt_1")
    masks = {"Rectum": np.random.default_rng(0).random(grid.shape) > 0.5}
    write(tmp_path / "a.dcm", masks, reference)
    decimals = list(exported.decimals(tmp_path / "a.dcm"))
    assert len(decimals) > 100 and {name for name, _ in decimals} == {"ContourData"}
    for _, text in decimals:
        assert 0 < len(text.strip()) <= 16
        assert len(text.strip().partition(".")[2]) <= 3  # of a mm
        assert text.strip() != "-0.0"


def fill_with_pillow(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Vertices rounded to pixels, and the outline filled too, as in many tools."""
    image = Image.new("1", shape[::-1])
    ImageDraw.Draw(image).polygon([tuple(p) for p in points.tolist()], 1, 1)
    return np.array(image)


def fill_with_matplotlib(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The voxels whose centres are inside the polygon."""
    centres = np.stack(np.meshgrid(np.arange(shape[1]), np.arange(shape[0])), axis=-1)
    inside = outlines.Path(points).contains_points(centres.reshape(-1, 2))
    return inside.reshape(shape)


def rasterise(folder: pathlib.Path, fill) -> dict[str, np.ndarray]:
    """Masks of the exported contours on the CT as SimpleITK reads it."""
    simpleitk = pytest.importorskip("SimpleITK", reason="no SimpleITK")
    reader = simpleitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder / "ct")))
    image = reader.Execute()
    masks = {}
    for name, outlines_mm in contours(pydicom.dcmread(folder / "contours.dcm")).items():
        mask = masks[name] = np.zeros(image.GetSize()[::-1], bool)
        for points_mm in outlines_mm:
            index = np.array(
                [image.TransformPhysicalPointToContinuousIndex(p) for p in points_mm]
            )
            z = round(index[0, 2])
            mask[z] ^= fill(index[:, :2], mask.shape[1:])
    # Reverse the axes along which the scan runs backwards.
    z, y, x = (int(np.sign(step)) for step in image.GetDirection()[::-4])
    return {name: mask[::z, ::y, ::x] for name, mask in masks.items()}


@pytest.mark.parametrize("position", exported.POSITIONS)
def test_other_libraries_fill_the_contours_alike(tmp_path, position):
    pelvis = male_pelvis.make_pelvis(
        3, 1, shape=(12, 96, 128), spacing_mm=(14.0, 3.9, 3.1)
    )
    exported.write_ct(tmp_path / "ct", pelvis.grid, position)
    masks = {name: pelvis.structures[name] for name in exported.SITE.names}
    reference = exported.reference(tmp_path / "ct")
    write(tmp_path / "contours.dcm", masks, reference)
    # Two fill rules: ours, and one that is up to a pixel larger.
    exact = rasterise(tmp_path, fill_with_matplotlib)
    coarse = rasterise(tmp_path, fill_with_pillow)
    for name, mask in masks.items():
        assert mask.any()
        assert np.array_equal(exact[name], mask), name
        border = ndimage.binary_dilation(mask, np.ones((1, 3, 3)))
        border &= ~ndimage.binary_erosion(mask, np.ones((1, 3, 3)))
        assert not np.any((coarse[name] ^ mask) & ~border), name
        shared = np.count_nonzero(coarse[name] & mask)
        sizes = np.count_nonzero(coarse[name]) + np.count_nonzero(mask)
        dice = 2 * shared / sizes
        print(f"{position} {name}: Dice {dice:.3f} with outlines filled")
        assert dice > 0.8


def test_every_call_makes_a_new_object(tmp_path, reference):
    masks = exported.some_masks(exported.GRID)
    uids = set()
    for name in ("a.dcm", "b.dcm"):
        write(tmp_path / name, masks, reference)
        dicom = pydicom.dcmread(tmp_path / name)
        assert dicom.file_meta.MediaStorageSOPInstanceUID == dicom.SOPInstanceUID
        uids |= {dicom.SOPInstanceUID, dicom.SeriesInstanceUID}
    assert len(uids) == 4 and all(uid.UID(value).is_valid for value in uids)
    assert not uids & {*reference.images, reference.header.SeriesInstanceUID}


def test_masks_that_do_not_fit_the_ct_are_refused(tmp_path, reference):
    path = tmp_path / "out" / "a.dcm"
    mask = np.ones(exported.GRID.shape, bool)
    with pytest.raises(errors.GeometryError, match=r"mask of Rectum is \(1, 5, 6\)"):
        write(path, {"Rectum": mask[:1]}, reference)
    with pytest.raises(errors.RecordError, match="mask of Rectum is float64"):
        write(path, {"Rectum": mask.astype(float)}, reference)
    with pytest.raises(errors.ConfigError, match="did you mean 'Rectum'"):
        write(path, {"Rectumm": mask}, reference)
    with pytest.raises(errors.RecordError, match="no contours to write"):
        write(path, {}, reference)
    assert not path.parent.exists()
