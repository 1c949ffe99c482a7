"""`predict ct.nii.gz`: the prediction of the same CT as DICOM, in its own axes."""

import json

import nibabel
import numpy as np
import pydicom
import pytest

from mtl_jax.sources.dicom import headers
from tests.predict import command
from tests.sources.nifti import writing
from tfds_builders.prostate import make_dummy_data

call, multi = command.call, command.multi
RESULTS = {"preview.png", "statistics.json", "dose.nii.gz"}
RESULTS |= {f"{name}.nii.gz" for name in writing.VALUES}


def write(tmp_path, name="ct.nii.gz", codes="LPS", change=lambda hu: hu):
    pelvis = make_dummy_data.pelvis(1)
    return writing.write(tmp_path / name, change(pelvis.ct_hu), pelvis.grid, codes)


def test_the_prediction_is_that_of_the_dicom_files(call, multi, scan, tmp_path):
    """Value for value at the same places, whatever the order of axes."""
    paths = {
        "dicom": scan(seed=1),
        "LPS": write(tmp_path, "Zaphod.nii.gz"),
        "SAR": write(tmp_path, "Marvin.nii", "SAR"),
    }
    status, out, err = call(multi, *paths.values(), "--nifti")
    assert status == 0, err
    assert "Zaphod" not in out + err
    keys = json.loads((tmp_path / "out.keys.json").read_text())["patients"]
    ids = {path: key for key, path in keys.items()}
    folders = {name: tmp_path / "out" / ids[str(path)] for name, path in paths.items()}
    names = {name: {path.name for path in folders[name].iterdir()} for name in paths}
    assert names["LPS"] == names["SAR"] == RESULTS
    assert names["dicom"] == RESULTS | {"RS.dcm", "RD.dcm"}
    last = out.strip().splitlines()[-1]
    assert last.startswith("CTs that are NIfTI: the results are NIfTI too, without RT")
    for file in sorted(RESULTS - {"preview.png", "statistics.json"}):
        expected = nibabel.load(folders["dicom"] / file)
        for name in ("LPS", "SAR"):
            made, ct = nibabel.load(folders[name] / file), nibabel.load(paths[name])
            assert made.shape == ct.shape, file
            np.testing.assert_allclose(made.affine, ct.affine, atol=1e-4)
            same = nibabel.as_closest_canonical(made)
            other = nibabel.as_closest_canonical(expected)
            np.testing.assert_array_equal(same.get_fdata(), other.get_fdata())
            np.testing.assert_allclose(same.affine, other.affine, atol=1e-4)
    assert nibabel.load(folders["SAR"] / "dose.nii.gz").get_fdata().max() > 1
    # Done, and not done again.
    assert (
        "3 of 3 patients were already done"
        in call(multi, *paths.values(), "--nifti")[1]
    )


def test_dicom_files_on_request(call, multi, tmp_path):
    status, out, err = call(multi, write(tmp_path, codes="RAS"), "--dicom")
    assert status == 0, err
    assert "CTs that are NIfTI" not in out
    (folder,) = (path for path in (tmp_path / "out").iterdir() if path.is_dir())
    names = {path.name for path in folder.iterdir()}
    assert RESULTS | {"RS.dcm", "RD.dcm", "CT"} == names
    dose = pydicom.dcmread(folder / "RD.dcm")
    assert (
        dose.PositionReferenceIndicator == "INVENTED: NIfTI HAS NO FRAME OF REFERENCE"
    )
    (series,) = headers.scan(folder / "CT").ct.values()
    assert len(series) == make_dummy_data.GRID.shape[0]
    ct = pydicom.dcmread(series[0].path)
    assert ct.SeriesDescription == "NIfTI CT, frame of reference is invented"
    assert "BodyPartExamined" not in ct


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda hu: hu + 1024, "do not look like Hounsfield units"),
        (lambda hu: np.where(hu < 0, np.nan, hu), "NaN or infinite"),
    ],
)
def test_what_is_no_ct_is_an_error_of_this_patient_alone(
    call, multi, tmp_path, change, message
):
    good, bad = write(tmp_path), write(tmp_path, "bad.nii.gz", change=change)
    status, out, err = call(multi, bad, good)
    assert status == 1
    assert "1 of 2 patients" in out
    assert message in err and "bad.nii" not in err


@pytest.mark.parametrize("flag", ["--reference=auto", "--reference_plan=CT"])
def test_what_needs_dicom_is_said_at_once(call, multi, tmp_path, flag):
    path = write(tmp_path)
    status, _, err = call(multi, path, flag.replace("CT", str(path)))
    assert status == 2
    assert f"{flag.split('=')[0]} is for DICOM, and a CT here is a NIfTI file" in err
    assert not (tmp_path / "out").exists()
