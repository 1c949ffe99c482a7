"""A full-size phantom as DICOM-RT, read by our reader and by other libraries."""

import pathlib
import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from scipy import ndimage

from mtl_jax.core import geometry, records, sites
from mtl_jax.sources.dicom import reader as dicom_reader
from mtl_jax.sources.phantom import dicom_cohort, dicom_images, male_pelvis

POSITIONS = tuple(dicom_images.POSITIONS)


@pytest.fixture(scope="module")
def pelvis() -> male_pelvis.Pelvis:
    return male_pelvis.make_pelvis(3, 1)


@pytest.fixture(scope="module")
def folders(
    pelvis, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, pathlib.Path]:
    """The same phantom scanned in each position."""
    root = tmp_path_factory.mktemp("positions")
    for position in POSITIONS:
        dicom_cohort.write_patient(
            root / position, pelvis, patient_id="PHANTOM-TEST", position=position
        )
    return {position: root / position for position in POSITIONS}


def test_file_names_do_not_follow_the_order_of_slices(folders):
    numbers = [
        pydicom.dcmread(path, specific_tags=["InstanceNumber"]).InstanceNumber
        for path in sorted(folders["HFS"].glob("CT.*.dcm"))
    ]
    assert sorted(numbers) == list(range(1, 41)) and numbers != sorted(numbers)


def test_dciodvfy_finds_no_error(folders):
    if shutil.which("dciodvfy") is None:
        pytest.skip("no dciodvfy: install Debian's dicom3tools")
    for position, folder in folders.items():
        checked = [*sorted(folder.glob("CT.*"))[:2], *folder.glob("R*.dcm")]
        assert len(checked) == 4
        for path in checked:
            done = subprocess.run(["dciodvfy", path], capture_output=True, text=True)
            output = done.stdout + done.stderr
            kind = {"CT": "CTImage", "RS": "RTStructureSet", "RD": "RTDose"}
            assert kind[path.name[:2]] in output  # it recognised the object
            assert "Error" not in output, f"{position} {path.name[:2]}: {output}"
            assert done.returncode == 0


def canonical(simpleitk, image) -> tuple[np.ndarray, geometry.Grid]:
    """SimpleITK's volume in LPS orientation, and its grid."""
    image = simpleitk.DICOMOrient(image, "LPS")
    assert np.allclose(image.GetDirection(), np.eye(3).ravel())
    x, y, z = image.GetSize()
    dx, dy, dz = image.GetSpacing()
    grid = geometry.Grid((z, y, x), (dz, dy, dx), image.GetOrigin())
    return simpleitk.GetArrayFromImage(image), grid


def assert_same_grid(grid: geometry.Grid, expected: geometry.Grid) -> None:
    assert grid.shape == expected.shape
    np.testing.assert_allclose(grid.affine, expected.affine, atol=1e-6)


@pytest.mark.parametrize("position", POSITIONS)
def test_simpleitk_reads_the_same_volume_and_dose(folders, pelvis, position):
    simpleitk = pytest.importorskip("SimpleITK", reason="no SimpleITK")
    reader = simpleitk.ImageSeriesReader()
    named = [
        reader.GetGDCMSeriesFileNames(str(folders[position]), series)
        for series in reader.GetGDCMSeriesIDs(str(folders[position]))
    ]
    reader.SetFileNames(max(named, key=len))
    hu, grid = canonical(simpleitk, reader.Execute())
    assert_same_grid(grid, pelvis.grid)
    assert np.array_equal(hu, pelvis.ct_hu)

    (path,) = folders[position].glob("RD.*.dcm")
    image = simpleitk.ReadImage(str(path))
    stored, grid = canonical(simpleitk, image)
    assert_same_grid(grid, pelvis.dose_grid)
    scaling = float(image.GetMetaData("3004|000e"))
    assert np.abs(stored * scaling - pelvis.dose_gy).max() <= 0.501 * scaling


@pytest.mark.parametrize("position", ["HFS", "FFP"])
def test_highdicom_finds_a_regular_volume(folders, pelvis, position):
    highdicom = pytest.importorskip("highdicom", reason="no highdicom")
    files = [pydicom.dcmread(path) for path in folders[position].glob("CT.*.dcm")]
    volume = highdicom.get_volume_from_series(files)
    volume = volume.to_patient_orientation("HPL")  # z, y, x: head, posterior, left
    assert np.array_equal(volume.array, pelvis.ct_hu)
    np.testing.assert_allclose(volume.affine, pelvis.grid.affine, atol=1e-6)


def test_dicomrttool_reads_the_same_masks_and_dose(folders, pelvis):
    tool = pytest.importorskip("DicomRTTool.ReaderWriter", reason="no DicomRTTool")
    names = [name for name in pelvis.structures if name != "External"]
    reader = tool.DicomReaderWriter(
        Contour_Names=[name.lower() for name in names],
        arg_max=False,
        get_dose_output=True,
        verbose=False,
    )
    reader.walk_through_folders(str(folders["HFS"]))
    reader.set_index(0)
    reader.get_images_and_mask()
    reader.get_dose()
    assert np.array_equal(reader.ArrayDicom, pelvis.ct_hu)
    for channel, name in enumerate(names, 1):
        # It rounds contours to whole voxels, half up: up to one more on two sides.
        filled, mask = reader.mask[..., channel] > 0, pelvis.structures[name]
        grown = ndimage.binary_dilation(mask, np.ones((1, 3, 3)))
        assert filled.any() and np.all(grown[filled]), name
        if name != "Rectal_Wall":  # its hole shrinks by as much
            assert np.all(filled[ndimage.binary_erosion(mask, np.ones((1, 3, 3)))]), (
                name
            )
    expected = geometry.resample(pelvis.dose_gy, pelvis.dose_grid, onto=pelvis.grid)
    inside = pelvis.structures["PTV_6000"]
    np.testing.assert_allclose(reader.dose[inside], expected[inside], atol=2e-3)


@pytest.mark.parametrize("position", POSITIONS)
def test_our_reader_reads_the_same_volumes(folders, pelvis, position):
    reading = dicom_reader.read(folders[position], patient_id="p1", site=sites.PROSTATE)
    patient = records.check_patient(reading.patient, sites.PROSTATE.names)
    assert_same_grid(patient.grid, pelvis.grid)
    assert np.array_equal(patient.ct, pelvis.ct_hu)
    assert set(patient.structures) == set(sites.PROSTATE.names)
    for name, mask in patient.structures.items():
        assert np.array_equal(mask, pelvis.structures[name])
    expected = geometry.resample(pelvis.dose_gy, pelvis.dose_grid, onto=pelvis.grid)
    for name in ("PTV_6000", "Rectum", "Bladder"):
        mask = pelvis.structures[name]
        np.testing.assert_allclose(patient.dose_gy[mask], expected[mask], atol=2e-3)
