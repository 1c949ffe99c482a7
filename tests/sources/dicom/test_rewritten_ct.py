"""CTs that other tools wrote: unspecified values, and the documented resampling."""

import pathlib
import re
import subprocess
import sys

import numpy as np
import pydicom
import pytest

from mtl_jax.core import errors
from mtl_jax.sources.dicom import ct_series, headers
from tests.sources.dicom import changes as do
from tests.sources.dicom import writing

PAGE = pathlib.Path(__file__).parents[3] / "docs/how-to/bring-your-own-data.md"


def read(files, folder):
    (series,) = headers.scan(writing.save(files, folder), show_paths=True).ct.values()
    return ct_series.read(series)


def body(files, soft=40, air=-1000):
    """Soft tissue in air, on every slice."""
    hu = np.full((8, 10), air)
    hu[1:7, 1:9] = soft
    for made in files.values():
        writing.set_pixels(made, (hu + 1024).astype(np.uint16), 12)


def test_unspecified_values_with_air_and_water_are_taken(tmp_path):
    files = writing.ct()
    body(files)
    do.put("ct*", RescaleType="US")(files)
    series = read(files, tmp_path)
    assert (series.hu.min(), series.hu.max()) == (-1000, 40)
    (note,) = series.notes
    assert note.kind == "ct_values"
    assert note.startswith("ct0.dcm and others have RescaleType 'US' (unspecified)")


@pytest.mark.parametrize(("soft", "air"), [(1064, 24), (700, -1000), (40, -500)])
def test_unspecified_values_without_are_refused(tmp_path, soft, air):
    files = writing.ct()
    body(files, soft, air)
    do.put("ct*", RescaleType="US")(files)
    with pytest.raises(errors.SourceError, match="do not look like Hounsfield units"):
        read(files, tmp_path)


def linear(points):
    return points @ np.array([3.0, -2.0, 1.5])


def test_the_documented_script_makes_a_tilted_ct_one_that_is_read(tmp_path):
    """Values are linear in the patient, so they can be known between voxels."""
    pytest.importorskip("SimpleITK")
    files = writing.ct()
    for z, made in enumerate(files.values()):
        made.PatientBirthDate = "19501224"
        made.ImagePositionPatient[1] += 0.3 * z  # 5.7 degrees
        corner = np.array(made.ImagePositionPatient, float)
        y, x = np.mgrid[:8, :10]
        points = np.stack([x * 1.25, y * 2.0, 0 * x], axis=-1) + corner
        stored = np.rint(linear(points) + 1024).astype(np.uint16)
        writing.set_pixels(made, stored, 12)
    with pytest.raises(errors.SourceError, match="gantry tilt of 5"):
        read(files, tmp_path / "in")
    (script,) = re.findall(
        r"```python\n(import itertools.*?)```", PAGE.read_text(), re.S
    )
    path = tmp_path / "resample_ct.py"
    path.write_text(script)
    folders = [str(tmp_path / name) for name in ("in", "out")]
    subprocess.run([sys.executable, path, *folders], check=True, capture_output=True)
    found = headers.scan(tmp_path / "out", show_paths=True)
    assert not found.notes
    (series,) = found.ct.values()
    ct = ct_series.read(series)
    assert ct.frame_uid == writing.FRAME
    assert series[0].text("PatientBirthDate") == "19501224"
    assert pydicom.dcmread(series[0].path).RescaleType == "HU"
    points = writing.centres(ct.grid)
    inside = ct.hu > -1024
    assert inside.mean() > 0.5
    error = np.abs(ct.hu - linear(points))[:, 2:-2][inside[:, 2:-2]]
    assert np.percentile(error, 95) <= 1.5


def test_dvhs_alone_are_no_dose(tmp_path):
    """As some systems export them, beside the dose and in its place."""
    files = writing.patient()
    dvhs = writing.dose()
    dvhs.SOPInstanceUID = "1.2.3.4"
    for keyword in (
        *("Rows", "Columns", "PixelData", "ImageOrientationPatient", "PixelSpacing"),
        *("ImagePositionPatient", "GridFrameOffsetVector", "NumberOfFrames"),
        *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    ):
        delattr(dvhs, keyword)
    dvhs.DVHSequence = writing.sequence({"DVHType": "CUMULATIVE", "DVHData": [1, 2]})
    files["dvh.dcm"] = dvhs
    reading = writing.read_files(files, tmp_path / "both")
    assert reading.patient.dose_gy is not None
    told = "skipped 1 file (RTDOSE of DVHs alone, without a dose): dvh.dcm"
    assert told in reading.notes
    del files["rd.dcm"]
    reading = writing.read_files(files, tmp_path / "alone")
    assert reading.patient.dose_gy is None
    assert told in reading.notes
    assert "no RTDOSE here: the patient has no dose" in reading.notes
