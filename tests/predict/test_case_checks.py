"""Warnings about patients for whom a network was not made, by hand."""

import dataclasses

import numpy as np
import pytest

from mtl_jax.core import geometry, records
from mtl_jax.export import ct_reference
from mtl_jax.predict import case_checks, cases, trained_model
from mtl_jax.run import training_data
from tests.pack import packable
from tests.predict import checkpoints, openkbp

TRAINED = packable.TRAINING_DATA


def make_model(tmp_path, role="multi", spacing_mm=0.0, training=TRAINED):
    """A model with an image of 32 x 32 pixels."""
    home = checkpoints.write(
        tmp_path / role, role, "openkbp", changes={"data.image_spacing_mm": spacing_mm}
    )
    return dataclasses.replace(trained_model.describe(home), training=training)


def make_case(shape, spacing_mm, body, structures=()):
    """Air at -1000 HU, and a body of 0 HU in `body`, a part of the grid."""
    grid = geometry.Grid(shape, spacing_mm)
    hu = np.full(shape, -1000.0, np.float32)
    hu[body] = 0.0
    masks = {name: np.ones(shape, bool) for name in structures}
    patient = records.Patient("p", grid, hu + 1024, masks, None, None)
    reference = ct_reference.invented(grid, patient_id="p")
    return cases.Case(patient, reference, "", ())


@pytest.fixture(autouse=True)
def no_differences(monkeypatch):
    """Of the training data's values: they have tests of their own."""
    monkeypatch.setattr(training_data, "differences", lambda *_: [])


def test_a_body_outside_the_network_s_image(tmp_path):
    model = make_model(tmp_path)
    # 64 x 40 pixels: of each 40 rows and columns 32 are seen, those from 4 to 35.
    within = make_case((2, 40, 40), (3.0, 4.2, 4.2), np.s_[:, 4:36, 4:36])
    assert list(case_checks.warnings(within, model)) == []
    # 3 of 40 columns of the body are not seen: less than a tenth.
    bed = make_case((2, 40, 40), (3.0, 4.2, 4.2), np.s_[:, 10:20, 0:36])
    (told,) = case_checks.warnings(bed, model)
    assert told.startswith("the network's image shows 134 x 134 mm (y, x): 11% of the")
    arm = make_case((2, 40, 40), (3.0, 4.2, 4.2), np.s_[:, 10:20, 1:36])
    assert list(case_checks.warnings(arm, model)) == []
    air = make_case((2, 40, 40), (3.0, 4.2, 4.2), np.s_[:0])
    assert list(case_checks.warnings(air, model)) == []


def test_unusual_pixels_are_read_as_in_training(tmp_path):
    """Pixels of half the size that repeat those of a usual CT give the same image."""
    model = make_model(tmp_path)
    rng = np.random.default_rng(0)
    usual = rng.integers(0, 2000, (32, 32)).astype(np.int16)
    fine = np.repeat(np.repeat(usual, 2, axis=0), 2, axis=1)
    grid = geometry.Grid((1, 64, 64), (3.0, 2.125, 2.125))
    read = model.preprocess_for(grid)
    assert read.image_spacing_mm == 4.25  # the middle of 4 and 4.5
    example = {
        **dict.fromkeys(("masks", "dose_gy"), np.zeros((64, 64), np.uint16)),
        "ct": fine,
        "spacing_mm": np.array(grid.spacing_mm),
    }
    np.testing.assert_allclose(read.resample(example)["ct"], usual, atol=1e-3)
    case = make_case(grid.shape, grid.spacing_mm, np.s_[:, 20:40, 20:40])
    (told,) = case_checks.warnings(case, model)
    assert told == "the CT is read with pixels of 4.25 mm, as in training"


@pytest.mark.parametrize("pixel_mm", [4.0, 4.5, 3.3, 5.5])
def test_usual_pixels_are_the_network_s(tmp_path, pixel_mm):
    model = make_model(tmp_path)
    grid = geometry.Grid((1, 64, 64), (3.0, pixel_mm, pixel_mm))
    assert model.preprocess_for(grid) is model.preprocess


def test_a_network_with_pixels_of_its_own_reads_any(tmp_path):
    grid = geometry.Grid((1, 64, 64), (3.0, 1.0, 1.0))
    model = make_model(tmp_path, spacing_mm=14.0)
    assert model.preprocess_for(grid) is model.preprocess
    old = make_model(tmp_path / "old", training=None)
    assert old.preprocess_for(grid) is old.preprocess


@pytest.mark.parametrize(
    ("role", "contoured", "missing"),
    [
        # In all of three training patients: Brainstem, SpinalCord, PTV70; PTV56 in one.
        ("informed", ("Brainstem", "SpinalCord", "PTV70"), ""),
        ("informed", ("SpinalCord",), "Brainstem, PTV70"),
        ("seq_human", ("SpinalCord",), "Brainstem"),
        ("multi", (), ""),
    ],
)
def test_contours_that_training_patients_had(tmp_path, role, contoured, missing):
    case = make_case((2, 32, 32), (3.0, 4.2, 4.2), np.s_[:, 9:12], contoured)
    told = list(case_checks.warnings(case, make_model(tmp_path, role)))
    assert len(told) == bool(missing)
    assert all(one.startswith(f"no contour of {missing}, which") for one in told)


def test_an_openkbp_patient_is_a_head(tmp_path, network):
    folder = openkbp.write(tmp_path / "pt_7")
    (case_folder,) = cases.find([folder], tmp_path / "out")
    options = cases.ReadingOptions(None, {})
    case = cases.read(case_folder, network("multi", "prostate").model, options, None)
    assert training_data.regions_of(case.body_part) == (training_data.HEAD,)
