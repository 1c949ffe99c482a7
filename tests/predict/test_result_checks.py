"""A network that predicted nothing says so: statistics.json, picture, last line."""

import json

import numpy as np
import pytest
from PIL import Image

from mtl_jax.core import records
from mtl_jax.predict import patient_loop, result_checks, trained_model
from tests.predict import command as predicting

multi, clinic, call = predicting.multi, predicting.clinic, predicting.call

SHAPE = (2, 4, 4)


def prediction(highest_gy, **voxels):
    masks = {name: np.zeros(SHAPE, bool) for name in voxels}
    for name, count in voxels.items():
        masks[name].flat[:count] = True
    dose = np.zeros(SHAPE, np.float32)
    dose[1, 2, 3] = highest_gy
    return records.PredictedVolumes(dose, masks)


@pytest.mark.parametrize(
    ("highest_gy", "voxels", "expected"),
    [
        (61, {"Rectum": 3, "Bladder": 1}, []),
        (30, {"Rectum": 3}, []),
        (0.09, {"Rectum": 3}, ["the highest dose is 0.09 Gy of 60 prescribed"]),
        (61, {"Rectum": 0, "Bladder": 1}, ["the network drew no Rectum"]),
        (61, {"Rectum": 0, "Bladder": 0}, ["the network drew no contour"]),
        (61, {}, []),  # a role that predicts none
    ],
)
def test_by_hand(network, highest_gy, voxels, expected):
    model = network("multi", "prostate").model  # 60 Gy
    assert result_checks.failures(prediction(highest_gy, **voxels), model) == expected


def test_a_role_without_dose_has_no_low_one(network):
    model = network("contour", "prostate").model
    empty = records.PredictedVolumes(None, {"Rectum": np.ones(SHAPE, bool)})
    assert result_checks.failures(empty, model) == []


def test_it_is_said_in_all_places(multi, clinic, call, tmp_path, monkeypatch):
    silent = trained_model.predict

    def nothing(network, patient):
        found = silent(network, patient)
        masks = {name: mask & False for name, mask in found.masks.items()}
        return trained_model.Prediction(masks, found.dose_gy * 1e-3, {})

    monkeypatch.setattr(patient_loop.trained_model, "predict", nothing)
    titles = []
    draw = patient_loop.output_files.patient_figure.draw

    def watched(path, patient, *, title, **settings):
        titles.append(title)
        draw(path, patient, title=title, **settings)

    monkeypatch.setattr(patient_loop.output_files.patient_figure, "draw", watched)
    for again in (False, True):  # also if the patient was done before
        status, out, err = call(multi, clinic / "a")
        assert status == 0
        assert out.splitlines()[-1].endswith("CHECK 1: no contour, or a very low dose")
        assert ("the network drew no contour" in err) != again
    (statistics,) = (tmp_path / "out").glob("*/statistics.json")
    first, second = json.loads(statistics.read_text())["failures"]
    assert first == "the network drew no contour"
    assert second.startswith("the highest dose is 0.")
    assert titles[0].endswith(f"\nCheck: {first}; {second}")
    Image.open(statistics.with_name("preview.png")).verify()
