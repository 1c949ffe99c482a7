"""A patient predicted alone is as a study predicts it from a data set."""

import dataclasses

import numpy as np
import pytest

from mtl_jax.core import geometry, records, sites
from mtl_jax.datasets import examples, prepared
from mtl_jax.inference import volumes
from mtl_jax.pipeline import batches, predicted_contours, target_distance
from mtl_jax.predict import trained_model
from tests.predict import checkpoints
from tfds_builders.prostate import make_dummy_data

SITE = sites.PROSTATE


@pytest.fixture
def patient():
    """Five slices of a size that is not the network's, with all structures."""
    made = make_dummy_data.pelvis(3)
    masks = {name: made.structures[name] for name in SITE.names}
    return records.Patient("p1", make_dummy_data.GRID, made.ct_hu, masks, None, None)


def in_a_data_set(network, patient, drawn, folder=None):
    """What a study's path from stored slices says.

    Distances to the targets, if they are an input, go through files in `folder`.
    """
    stack = examples.stack(patient, SITE)
    rows = list(examples.slices(stack))
    if drawn:
        bits = predicted_contours.bits(drawn, SITE, patient.grid.shape)
        rows = [
            row | {"predicted": plane} for row, plane in zip(rows, bits, strict=True)
        ]
    split = prepared.Split("test", rows, (stack.entry,), SITE)
    if folder:
        split = target_distance.attach(split, folder, "fingerprint")
    model = network.model
    feed = batches.evaluation(
        split, preprocess=model.preprocess, batch_size=network.batch_size
    )
    feed = volumes.Feed(feed, network.apply, model.preprocess)
    ((_, found),) = volumes.predict([feed], {0: patient.grid})
    return found


@pytest.mark.parametrize(
    "role", ["multi", "contour", "seq_human", "informed", "seq_auto"]
)
def test_the_same_as_from_a_data_set(network, patient, role):
    ready = network(role, "prostate")
    found = trained_model.predict(ready, patient)
    assert bool(found.contours_in) == (role == "seq_auto")
    expected = in_a_data_set(ready, patient, found.contours_in)
    if expected.dose_gy is None:
        assert found.dose_gy is None
    else:
        assert found.dose_gy.dtype == np.float32
        assert found.dose_gy.max() > 0
        np.testing.assert_array_equal(found.dose_gy, expected.dose_gy)
    drawn = ready.model.rules.masks(expected)
    assert list(found.masks) == list(drawn)
    assert any(mask.any() for mask in drawn.values()) == (
        "contours" in expected_of(role)
    )
    for name, mask in drawn.items():
        np.testing.assert_array_equal(found.masks[name], mask)


def test_the_distance_to_the_targets_is_that_of_a_data_set(patient, tmp_path):
    home = checkpoints.write(
        tmp_path, "informed", "prostate", changes={"data.target_distance_mm": 20.0}
    )
    ready = trained_model.load(trained_model.describe(home))
    assert ready.model.preprocess.channels == 1 + 4 + 1 + 1
    found = trained_model.predict(ready, patient).dose_gy
    expected = in_a_data_set(ready, patient, {}, tmp_path / "distances").dose_gy
    np.testing.assert_array_equal(found, expected)
    # It matters where the targets are.
    moved = {n: np.roll(m, 9, axis=2) for n, m in patient.structures.items()}
    other = dataclasses.replace(patient, structures=moved)
    assert np.abs(trained_model.predict(ready, other).dose_gy - found).max() > 1e-3


@pytest.mark.parametrize("role", ["multi", "seq_auto"])
def test_neighbours_and_a_second_window_are_those_of_a_data_set(
    patient, tmp_path, role
):
    changes = {
        "data.neighbours": 1,
        "data.neighbour_mm": 10.0,
        "data.ct_second_window": (-100.0, 200.0),
    }
    checkpoints.write(tmp_path, role, "prostate", changes=changes)
    ready = trained_model.load(trained_model.describe(tmp_path))
    channels = 1 + 5 * (role == "seq_auto") + 1 + 2 * 2
    assert ready.model.preprocess.channels == channels
    found = trained_model.predict(ready, patient)
    expected = in_a_data_set(ready, patient, found.contours_in)
    np.testing.assert_array_equal(found.dose_gy, expected.dose_gy)
    # With slices 5 mm apart, a slice sees those two away, and the last one at the end.
    ct = patient.ct.copy()
    ct[-1] = 150
    other = trained_model.predict(ready, dataclasses.replace(patient, ct=ct)).dose_gy
    changed = np.abs(other - found.dose_gy).max(axis=(1, 2)) > 0
    assert changed.tolist() == [False, False, True, True, True]


def expected_of(role):
    return ("contours",) if role in ("multi", "contour") else ("dose",)


def test_what_is_told_changes_the_dose(network, patient):
    ready = network("seq_human", "prostate")
    less = {n: m for n, m in patient.structures.items() if n != "Rectum"}
    other = dataclasses.replace(patient, structures=less)
    doses = [trained_model.predict(ready, one).dose_gy for one in (patient, other)]
    assert np.abs(doses[0] - doses[1]).max() > 1e-3


def test_contours_that_are_drawn_come_from_the_ct_alone(network, patient):
    ready = network("seq_auto", "prostate")
    blind = dataclasses.replace(patient, structures={})
    first, second = (trained_model.predict(ready, one) for one in (patient, blind))
    np.testing.assert_array_equal(first.dose_gy, second.dose_gy)
    assert any(mask.any() for mask in first.contours_in.values())


def test_clean_up_and_the_possible_dose_mask_cleaned_up(network):
    model = network("multi", "openkbp").model
    grid = geometry.Grid((1, 1, 5), (1.0, 1.0, 1.0))
    possible = np.array([[[True, True, False, False, False]]])
    masks = {"Brainstem": np.array([[[True, True, False, True, False]]])}
    dose = np.arange(1, 6, dtype=np.float32).reshape(1, 1, 5)
    found = trained_model.Prediction(masks, dose, {})
    patient = records.Patient("p1", grid, dose, {}, None, possible)
    for largest in (False, True):
        rules = dataclasses.replace(
            model.rules, largest_component=largest, apply_possible_dose_mask=largest
        )
        shown = found.cleaned_up(patient, rules)
        voxels = [1, 1, 0, int(not largest), 0]
        assert shown.contours["Brainstem"].astype(int).ravel().tolist() == voxels
        doses = [1, 2, 0, 0, 0] if largest else [1, 2, 3, 4, 5]
        assert shown.dose_gy.ravel().tolist() == doses
