"""`import mtl_jax` from a notebook: what it imports, what it predicts."""

import pathlib
import subprocess
import sys

import nibabel
import numpy as np
import pytest

import mtl_jax
from mtl_jax.interface import trained
from tests.predict import checkpoints, command
from tfds_builders.prostate import make_dummy_data

ROOT = pathlib.Path(__file__).resolve().parents[2]
multi = command.multi


@pytest.fixture(scope="session")
def model(multi):
    return mtl_jax.load_model(multi)


def test_the_import_imports_no_jax():
    program = (
        "import sys, mtl_jax\n"
        "assert set(mtl_jax.__all__) <= set(dir(mtl_jax))\n"
        "heavy = {'jax', 'numpy', 'absl', 'pydicom'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "mtl_jax.load_model\n"
        "assert 'jax' in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_names_are_there():
    assert mtl_jax.load_model is trained.load_model
    for name in mtl_jax.__all__:
        assert getattr(mtl_jax, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mtl_jax.nothing


def test_an_array_is_predicted_as_its_files_are(model, multi, tmp_path, monkeypatch):
    """`predict` on DICOM files is the second way to the same dose."""
    from mtl_jax.predict import __main__ as predict
    from mtl_jax.sources.phantom import dicom_cohort

    pelvis = make_dummy_data.pelvis(2)
    dicom_cohort.write_patient(tmp_path / "a", pelvis, patient_id="QX7")
    monkeypatch.setenv("MTL_JAX_QUIET", "")
    out = tmp_path / "out"
    status = predict.main(
        [f"--checkpoint={multi}", f"--out={out}", "--nifti", str(tmp_path / "a")]
    )
    assert status == 0
    found = model.predict(pelvis.ct_hu, spacing_mm=make_dummy_data.GRID.spacing_mm)
    assert found.dose_gy.shape == pelvis.ct_hu.shape
    assert found.dose_gy.dtype == np.float32
    assert tuple(found.masks) == model.structures
    (path,) = out.rglob("dose.nii.gz")
    written = nibabel.load(path)
    np.testing.assert_allclose(
        model.predict(tmp_path / "a").dose_gy, found.dose_gy, atol=1e-4
    )
    # NIfTI's axes are x, y, z, with x and y reversed.
    volume = np.asarray(written.dataobj).transpose(2, 1, 0)
    steps = np.sign(np.diag(written.affine)[:3][::-1]) * (1, -1, -1)
    volume = volume[tuple(slice(None, None, int(step)) for step in steps)]
    np.testing.assert_allclose(volume, found.dose_gy, atol=1e-3)


def test_an_image_is_predicted_in_its_own_order_of_axes(model):
    pelvis = make_dummy_data.pelvis(2)
    spacing = make_dummy_data.GRID.spacing_mm
    expected = model.predict(pelvis.ct_hu, spacing_mm=spacing)
    affine = np.diag([-spacing[2], -spacing[1], spacing[0], 1.0])
    ct = nibabel.Nifti1Image(pelvis.ct_hu.transpose(2, 1, 0), affine)
    found = model.predict(ct)
    assert found.dose_gy.shape == ct.shape
    np.testing.assert_array_equal(found.dose_gy.transpose(2, 1, 0), expected.dose_gy)
    for name, mask in found.masks.items():
        assert mask.dtype == bool
        np.testing.assert_array_equal(mask.transpose(2, 1, 0), expected.masks[name])


def test_a_patient_is_predicted_as_its_ct_where_dose_is_possible(model):
    pelvis, grid = make_dummy_data.pelvis(2), make_dummy_data.GRID
    expected = model.predict(pelvis.ct_hu, spacing_mm=grid.spacing_mm)
    found = model.predict(mtl_jax.Patient(pelvis.ct_hu, grid))
    np.testing.assert_array_equal(found.dose_gy, expected.dose_gy)
    assert found.site.name == "prostate"
    half = np.zeros(grid.shape, bool)
    half[:, :, : grid.shape[2] // 2] = True
    patient = mtl_jax.Patient(pelvis.ct_hu, grid, possible_dose_mask=half)
    dose_gy = model.predict(patient).dose_gy
    assert dose_gy[half].any() and not dose_gy[~half].any()
    with pytest.raises(mtl_jax.MtlError, match="this Patient has its own"):
        model.predict(patient, spacing_mm=grid.spacing_mm)


def test_the_model_says_what_it_is(model):
    assert (model.role, model.site, model.prescription_gy) == ("multi", "prostate", 60)
    assert "multi of prostate" in repr(model)


def test_a_prediction_says_why_not_to_trust_it(model):
    """The network sees 96 of 300 mm: 90 % of the area is outside."""
    water = np.zeros((3, 100, 100))
    water[:, 0, 0] = -1000
    found = model.predict(water, spacing_mm=(3.0, 3.0, 3.0))
    (outside,) = [text for text in found.warnings if "is outside" in text]
    assert "96 x 96 mm (y, x): 90%" in outside


def test_contours_go_in_where_the_role_needs_them(tmp_path):
    home = checkpoints.write(tmp_path / "human", "seq_human", "prostate")
    model = mtl_jax.load_model(home)
    pelvis, spacing = make_dummy_data.pelvis(2), make_dummy_data.GRID.spacing_mm
    with pytest.raises(mtl_jax.MtlError, match="needs contours"):
        model.predict(pelvis.ct_hu, spacing_mm=spacing)
    contours = {name: pelvis.structures[name] for name in model.structures}
    found = model.predict(pelvis.ct_hu, spacing_mm=spacing, contours=contours)
    assert found.masks == {}
    patient = mtl_jax.Patient(pelvis.ct_hu, make_dummy_data.GRID, contours)
    np.testing.assert_array_equal(model.predict(patient).dose_gy, found.dose_gy)
    other = {name: np.zeros_like(mask) for name, mask in contours.items()}
    without = model.predict(pelvis.ct_hu, spacing_mm=spacing, contours=other)
    assert np.abs(found.dose_gy - without.dose_gy).max() > 0.1
    with pytest.raises(mtl_jax.MtlError, match=r"shape \(1, 2, 3\)"):
        model.predict(
            pelvis.ct_hu, spacing_mm=spacing, contours={"Rectum": np.ones((1, 2, 3))}
        )


def test_a_wrong_name_is_an_error():
    with pytest.raises(mtl_jax.MtlError, match="multy"):
        mtl_jax.load_model("multy")
