"""A run that is evaluated together with further ones: its volumes, its errors."""

import dataclasses
import pathlib

import numpy as np
import pytest

from mtl_jax.core import config as configs
from mtl_jax.core import errors, records, sites
from mtl_jax.datasets import examples, prepared
from mtl_jax.evaluation import summary
from mtl_jax.inference import volumes
from mtl_jax.run import averaging, input_contours, model_card, results, wiring, workdir
from mtl_jax.study import plan
from mtl_jax.train import checkpoint
from tests.predict import checkpoints
from tfds_builders.prostate import make_dummy_data

SITE = sites.PROSTATE
LARGER = {"model.width": 8, "data.image_size": (64, 32), "data.image_spacing_mm": 2.5}


def patient(seed):
    made = make_dummy_data.pelvis(seed)
    masks = {name: made.structures[name] for name in SITE.names}
    dose = np.random.default_rng(seed).uniform(0, 62, make_dummy_data.GRID.shape)
    dose = dose.astype(np.float32)
    grid = make_dummy_data.GRID
    return records.Patient(f"p{seed}", grid, made.ct_hu, masks, dose, None)


@pytest.fixture(scope="module")
def data():
    """Three splits of two patients in memory."""
    splits = {}
    for number, name in enumerate(records.SPLITS):
        source, entries = [], []
        for seed in (2 * number, 2 * number + 1):
            stack = examples.stack(patient(seed), SITE)
            entries.append(dataclasses.replace(stack.entry, start=len(source)))
            source += examples.slices(stack)
        splits[name] = prepared.Split(name, source, tuple(entries), SITE)
    return prepared.Prepared(SITE, splits, "f" * 64, None, pathlib.Path("nowhere"))


def finished(data, home, role="multi", *, step=1, fingerprint=None, **changes):
    """The finished run of `step` steps in `home`; changes have __ for a dot."""
    changes = {key.replace("__", "."): value for key, value in changes.items()}
    changes = {"train.batch_size": 4, "train.steps": step} | changes
    checkpoints.write(home, role, "prostate", steps=(step,), changes=changes)
    config = checkpoints.configure(role, "prostate", changes)
    workdir.write_json(configs.flatten(config), home / "config.json")
    provenance = {"data_fingerprint": fingerprint or data.fingerprint, "starts": []}
    workdir.write_json(provenance, home / "provenance.json")
    workdir.write_json(checkpoints.STATISTICS, home / "statistics.json")
    return wiring.Run(config, data, home, input_contours.prepare(config, data, home))


def together(run, *others):
    """`run`, evaluated with the runs in `others`."""
    flat = configs.flatten(run.config) | {"evaluate.also": [str(o) for o in others]}
    config = configs.check(configs.unflatten(flat))
    return dataclasses.replace(run, config=config)


def evaluate(run):
    """The summary of the test split, and the predictions of its patients."""
    found = results.evaluate_split(run, "test", {})
    paths = sorted((run.workdir / "predictions" / "test").iterdir())
    return found, [volumes.read(path) for path in paths]


@pytest.fixture(scope="module")
def pair(data, tmp_path_factory):
    """Two finished runs, of other sizes and grids."""
    root = tmp_path_factory.mktemp("pair")
    larger = {key.replace(".", "__"): value for key, value in LARGER.items()}
    return finished(data, root / "a"), finished(data, root / "b", step=2, **larger)


def check_mean(found, singles):
    """Whether doses and contours of `found` are the means of the `singles`."""
    for prediction, *parts in zip(found, *singles, strict=True):
        doses = np.stack([part.dose_gy for part in parts])
        inside = (doses > 0).all(axis=0)
        assert inside.mean() > 0.5 and np.abs(doses[0] - doses[1])[inside].max() > 1
        expected = doses.mean(axis=0)[inside]
        np.testing.assert_allclose(prediction.dose_gy[inside], expected, rtol=1e-5)
        if prediction.contours is not None:
            contours = np.stack([part.contours for part in parts]).astype(np.float64)
            mean = contours.mean(axis=0)
            np.testing.assert_allclose(prediction.contours, mean, atol=6e-4)


def test_predictions_are_the_mean_and_the_evaluation_says_of_what(pair):
    first, second = pair
    singles = [evaluate(run)[1] for run in pair]
    assert results.is_current(first, "test")
    both = together(first, second.workdir)
    assert not results.is_current(both, "test")
    found, predictions = evaluate(both)
    check_mean(predictions, singles)
    digest = checkpoint.read_run(second.workdir / "checkpoints" / "2")["digest"]
    assert found["settings"]["also"] == [digest]
    assert "step 1, mean of 2 networks" in summary.text(found, SITE)
    card = model_card.text(both)
    assert f"the mean of 2 networks, the others of the checkpoints {digest}" in card
    assert "averages the networks that `evaluate.also`" in card
    assert results.is_current(both, "test")
    assert not results.is_current(first, "test")
    found, predictions = evaluate(first)
    assert "also" not in found["settings"]
    for prediction, single in zip(predictions, singles[0], strict=True):
        np.testing.assert_array_equal(prediction.dose_gy, single.dose_gy)
        np.testing.assert_array_equal(prediction.contours, single.contours)


def test_an_evaluation_with_a_run_that_was_trained_further_is_stale(
    data, pair, tmp_path
):
    other = finished(data, tmp_path / "other", step=2)
    both = together(finished(data, tmp_path / "run"), other.workdir)
    evaluate(both)
    assert results.is_current(both, "test")
    checkpoints.write(tmp_path / "other", "multi", "prostate", steps=(3,))
    assert not results.is_current(both, "test")


def test_each_counts_once_and_the_run_itself_is_not_among_the_others(pair, monkeypatch):
    first, second = pair
    monkeypatch.chdir(second.workdir.parent)
    names = (first.workdir, second.workdir, "b", "./b/../a")
    (other,) = averaging.runs(together(first, *names))
    assert other.workdir == second.workdir
    assert averaging.runs(together(second, *names))[0].workdir == first.workdir


def test_each_has_its_own_predicted_contours(data, tmp_path):
    finished(data, tmp_path / "contour", "contour")
    finished(data, tmp_path / "contour2", "contour", step=2)
    runs = [
        finished(
            *(data, tmp_path / f"auto{step}", "seq_auto"),
            step=step,
            data__contours_from=str(tmp_path / folder),
        )
        for step, folder in ((1, "contour"), (2, "contour2"))
    ]
    singles = [evaluate(run)[1] for run in runs]
    check_mean(evaluate(together(runs[0], runs[1].workdir))[1], singles)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"role": "contour"}, "its role is 'contour', not 'multi'"),
        ({"data__prescription_gy": 78.0}, "its data.prescription_gy is 78.0, not 60.0"),
        ({"fingerprint": "e" * 64}, "it was trained on other data .fingerprint eeeee"),
        ({"train__steps": 2}, "it is not finished"),
    ],
)
def test_what_cannot_be_averaged_is_refused(data, pair, tmp_path, changes, message):
    finished(data, tmp_path / "other", **changes)
    with pytest.raises(errors.WorkdirError, match=message):
        averaging.runs(together(pair[0], tmp_path / "other"))
    with pytest.raises(errors.WorkdirError, match=r"gone, which holds no run"):
        averaging.runs(together(pair[0], tmp_path / "gone"))


def test_a_study_evaluates_each_run_by_itself(pair, tmp_path):
    config = together(pair[0], "other").config
    with pytest.raises(errors.ConfigError, match=r"evaluate\.also is for single runs"):
        plan.jobs(config, ("multi",), (0,), tmp_path)
