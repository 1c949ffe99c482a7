"""Exported doses: worked by hand, and read by our reader and by SimpleITK."""

import functools

import numpy as np
import pydicom
import pytest
from pydicom import uid

from mtl_jax.core import errors, geometry
from mtl_jax.export import ct_reference, rtdose, rtstruct
from mtl_jax.sources.dicom import headers, reader
from mtl_jax.sources.dicom import rtdose as dicom_rtdose
from tests.export import exported

write = functools.partial(
    rtdose.write, author=exported.AUTHOR, created=exported.CREATED
)


def some_dose(grid: geometry.Grid, highest_gy: float = 78.3) -> np.ndarray:
    """A dose [Z, Y, X] float32 with different values in all voxels, and some zeros."""
    dose = np.random.default_rng(3).random(grid.shape, np.float32)
    dose *= np.float32(highest_gy) / dose.max()
    dose[:, 0, 0] = 0
    return dose


def a_plan(reference: ct_reference.CtReference, **changes: object) -> pydicom.Dataset:
    dicom = pydicom.Dataset()
    dicom.SOPClassUID, dicom.SOPInstanceUID = uid.RTPlanStorage, "1.2.826.0.1.77"
    dicom.PatientID = reference.header.PatientID
    dicom.StudyInstanceUID = reference.header.StudyInstanceUID
    dicom.FrameOfReferenceUID = reference.header.FrameOfReferenceUID
    for keyword, value in changes.items():
        setattr(dicom, keyword, value)
    return dicom


@pytest.fixture
def reference(tmp_path) -> ct_reference.CtReference:
    exported.write_ct(tmp_path / "ct")
    return exported.reference(tmp_path / "ct")


def test_voxels_match_those_worked_by_hand(tmp_path, reference):
    dose_gy = np.zeros(exported.GRID.shape, np.float32)
    dose_gy[3, 1, 2] = 60  # x 16, y -18, z 115
    dose_gy[0, 4, 5] = 15  # x 25, y -12, z 100
    write(tmp_path / "a.dcm", dose_gy, reference)
    dicom = pydicom.dcmread(tmp_path / "a.dcm")
    assert dicom.ImagePositionPatient == [10, -20, 100]  # the centre of the first voxel
    assert dicom.ImageOrientationPatient == [1, 0, 0, 0, 1, 0]
    assert dicom.PixelSpacing == [2, 3]  # between rows, then between columns
    assert dicom.GridFrameOffsetVector == [0, 5, 10, 15]
    assert dicom.FrameIncrementPointer == 0x3004000C
    assert (dicom.NumberOfFrames, dicom.Rows, dicom.Columns) == (4, 5, 6)
    assert dicom.pixel_array.dtype == np.uint16
    # (2^16 - 1) steps make 60 Gy: 60 / 65535 = 9.15541313801...E-4.
    assert dicom["DoseGridScaling"].value.original_string == "9.155413139E-4"
    stored = dicom.pixel_array
    assert stored[3, 1, 2] == 65535
    assert stored[0, 4, 5] == 16384  # a quarter of it
    assert np.count_nonzero(stored) == 2


def test_the_object_describes_itself(tmp_path, reference):
    write(tmp_path / "a.dcm", some_dose(exported.GRID), reference)
    dicom = pydicom.dcmread(tmp_path / "a.dcm")
    assert dicom.file_meta.TransferSyntaxUID == uid.ImplicitVRLittleEndian
    assert (dicom.Modality, dicom.SOPClassUID) == ("RTDOSE", uid.RTDoseStorage)
    assert (dicom.DoseUnits, dicom.DoseType) == ("GY", "PHYSICAL")
    notice = "AI-generated, not for clinical use"
    assert dicom.DoseComment == dicom.SeriesDescription == notice
    statement = f"{notice}. Predicted by mtl_jax 9.8.7, model"
    assert dicom.ImageComments.startswith(statement)
    assert exported.AUTHOR.checkpoints[0] in dicom.ImageComments
    assert (dicom.BitsAllocated, dicom.BitsStored, dicom.HighBit) == (16, 16, 15)
    assert dicom.PixelRepresentation == 0
    assert dicom.PhotometricInterpretation == "MONOCHROME2"
    assert "RescaleSlope" not in dicom


def test_without_a_plan_the_dose_refers_to_none(tmp_path, reference):
    write(tmp_path / "a.dcm", some_dose(exported.GRID), reference)
    dicom = pydicom.dcmread(tmp_path / "a.dcm")
    assert dicom.DoseSummationType == "PLAN_OVERVIEW"
    assert "ReferencedRTPlanSequence" not in dicom
    (overview,) = dicom.PlanOverviewSequence
    assert overview.PlanOverviewIndex == 1
    values = [element.value for element in overview if element.value]
    assert values == [1]  # nothing but the index


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("kind", [uid.RTPlanStorage, uid.RTIonPlanStorage])
def test_with_a_plan_the_dose_refers_to_it(tmp_path, reference, kind, stated):
    plan = a_plan(reference, SOPClassUID=kind)
    if not stated:
        del plan.FrameOfReferenceUID  # which a plan may leave out
    write(tmp_path / "a.dcm", some_dose(exported.GRID), reference, plan=plan)
    dicom = pydicom.dcmread(tmp_path / "a.dcm")
    assert dicom.DoseSummationType == "PLAN" and "PlanOverviewSequence" not in dicom
    (referred,) = dicom.ReferencedRTPlanSequence
    assert referred.ReferencedSOPClassUID == kind
    assert referred.ReferencedSOPInstanceUID == "1.2.826.0.1.77"


@pytest.mark.parametrize(
    "keyword", ["PatientID", "StudyInstanceUID", "FrameOfReferenceUID"]
)
def test_the_plan_of_another_ct_is_refused(tmp_path, reference, keyword):
    plan = a_plan(reference, **{keyword: "1.2.3.666"})
    with pytest.raises(
        errors.SourceError, match=f"has a different {keyword}"
    ) as refused:
        write(tmp_path / "a.dcm", some_dose(exported.GRID), reference, plan=plan)
    assert "666" not in str(refused.value)
    no_plan = a_plan(reference, SOPClassUID=uid.RTDoseStorage)
    with pytest.raises(errors.SourceError, match="is not an RT Plan"):
        write(tmp_path / "a.dcm", some_dose(exported.GRID), reference, plan=no_plan)
    assert not (tmp_path / "a.dcm").exists()


@pytest.mark.parametrize("grid", [exported.GRID, exported.ODD], ids=["plain", "odd"])
@pytest.mark.parametrize("position", exported.POSITIONS)
def test_our_reader_reads_the_dose_back(tmp_path, grid, position):
    folder = tmp_path / "ct"
    exported.write_ct(folder, grid, position)
    dose_gy, path = some_dose(grid), folder / "dose.dcm"
    write(path, dose_gy, exported.reference(folder))
    (file,) = headers.scan(folder).doses
    read = dicom_rtdose.read(file)
    # Half a step, and the resolution of a float32.
    bound_gy = rtdose.quantum_gy(dose_gy) / 2 + np.spacing(dose_gy.max())
    assert bound_gy < 0.0007
    assert np.abs(read.dose_gy - dose_gy).max() <= bound_gy
    np.testing.assert_array_equal(read.dose_gy == 0, dose_gy == 0)
    # The dose is known in every voxel of the CT, whose grid it shares.
    ct = exported.read_ct(folder)
    total_gy, known, _ = dicom_rtdose.total((file,), ct.grid)
    assert known.all()
    np.testing.assert_allclose(total_gy, dose_gy, rtol=0, atol=7e-4)


def test_a_prediction_is_not_read_as_a_patients_planned_dose(tmp_path):
    folder = tmp_path / "ct"
    exported.write_ct(folder)
    reference = exported.reference(folder)
    rtstruct.write(
        folder / "contours.dcm",
        exported.some_masks(exported.GRID),
        reference,
        site=exported.SITE,
        author=exported.AUTHOR,
        created=exported.CREATED,
    )
    write(folder / "dose.dcm", some_dose(exported.GRID), reference)
    with pytest.raises(errors.SourceError, match="PLAN_OVERVIEW"):
        reader.read(folder, patient_id="p1", site=exported.SITE)
    # With a reference to a plan, it is read.
    plan = a_plan(reference)
    write(folder / "dose.dcm", some_dose(exported.GRID), reference, plan=plan)
    reading = reader.read(folder, patient_id="p1", site=exported.SITE)
    dose_gy = reading.patient.dose_gy
    np.testing.assert_allclose(dose_gy, some_dose(exported.GRID), rtol=0, atol=7e-4)


@pytest.mark.parametrize("position", exported.POSITIONS)
def test_simpleitk_reads_the_same_dose_and_grid(tmp_path, position):
    simpleitk = pytest.importorskip("SimpleITK", reason="no SimpleITK")
    exported.write_ct(tmp_path / "ct", exported.ODD, position)
    dose_gy = some_dose(exported.ODD)
    write(tmp_path / "a.dcm", dose_gy, exported.reference(tmp_path / "ct"))
    image = simpleitk.ReadImage(str(tmp_path / "a.dcm"))
    stored = simpleitk.GetArrayFromImage(image).astype(np.float64)
    scaling = float(image.GetMetaData("3004|000e"))
    assert np.abs(stored * scaling - dose_gy).max() <= 0.5001 * scaling
    assert np.allclose(image.GetDirection(), np.eye(3).ravel())
    assert image.GetSpacing() == pytest.approx(exported.ODD.spacing_mm[::-1], abs=1e-6)
    assert image.GetOrigin() == pytest.approx(exported.ODD.origin_mm, abs=1e-6)


@pytest.mark.parametrize(
    "highest_gy", [1e-30, 3e-7, 0.1, 1 / 3, 1.0, 59.99999, 70.0, 78.3, 1e3, 1e7]
)
def test_any_dose_is_stored_to_within_half_a_step(highest_gy):
    dose_gy = some_dose(exported.ODD, highest_gy)
    text = rtdose._scaling(dose_gy)
    assert len(text) <= 16
    stored = rtdose._stored(dose_gy, float(text))
    # The highest dose uses all bits and is not clipped.
    top = float(dose_gy.max()) / float(text)
    assert 65534.999 < top <= 65535 and stored.max() == 65535
    error_gy = np.abs(stored * np.float64(text) - dose_gy)
    assert error_gy.max() <= 0.5 * float(text) * (1 + 1e-6)
    assert float(text) == rtdose.quantum_gy(dose_gy)


def test_errors_are_far_below_a_hundredth_of_a_gray():
    assert rtdose.quantum_gy(np.full((1, 1, 1), 80, np.float32)) / 2 < 7e-4


def test_negative_dose_is_stored_as_zero(tmp_path, reference):
    for name, value in (("zero", 0), ("below", -3)):
        dose_gy = np.full(exported.GRID.shape, value, np.float32)
        write(tmp_path / name, dose_gy, reference)
        dicom = pydicom.dcmread(tmp_path / name)
        assert dicom.DoseGridScaling > 0 and not dicom.pixel_array.any()
    dose_gy = some_dose(exported.GRID)
    dose_gy[1, 1, 1] = -0.4  # a cast alone would make it about 65,000
    write(tmp_path / "some", dose_gy, reference)
    dicom = pydicom.dcmread(tmp_path / "some")
    expected = np.maximum(dose_gy.astype(float), 0) / float(dicom.DoseGridScaling)
    assert np.abs(dicom.pixel_array - expected).max() <= 0.501


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinite_values_are_refused(tmp_path, reference, value):
    dose_gy = some_dose(exported.GRID)
    dose_gy[2, 3, 4] = value
    with pytest.raises(errors.RecordError, match="NaN or infinite"):
        write(tmp_path / "out" / "a.dcm", dose_gy, reference)
    with pytest.raises(errors.GeometryError, match=r"the dose is \(4, 5, 5\)"):
        write(tmp_path / "out" / "a.dcm", dose_gy[..., :5], reference)
    assert not (tmp_path / "out").exists()


def test_decimal_strings_have_at_most_16_characters(tmp_path):
    grid = geometry.Grid((7, 3, 4), (2 / 3, 1 / 7, np.pi), (-1e3 / 3, 2e4 / 7, -0.0))
    reference = ct_reference.invented(grid, patient_id="pt_1")
    write(tmp_path / "a.dcm", some_dose(grid), reference)
    decimals = list(exported.decimals(tmp_path / "a.dcm"))
    assert {name for name, _ in decimals} == {
        *("PixelSpacing", "SliceThickness", "ImagePositionPatient"),
        *("ImageOrientationPatient", "GridFrameOffsetVector", "DoseGridScaling"),
    }
    assert all(0 < len(text.strip()) <= 16 for _, text in decimals)
    offsets = [
        float(text) for name, text in decimals if name == "GridFrameOffsetVector"
    ]
    np.testing.assert_allclose(offsets, np.arange(7) * 2 / 3, atol=1e-8)
