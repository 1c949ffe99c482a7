"""What a checkpoint says of its network, and a network from it alone."""

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from mtl_jax.core import errors, geometry, records, sites
from mtl_jax.predict import trained_model
from mtl_jax.run import workdir
from mtl_jax.train import checkpoint
from tests.predict import checkpoints


def change_run(folder, change):
    path = folder / "run" / "metadata"
    run = json.loads(path.read_text())
    change(run)
    run.pop("description_digest", None)
    path.write_text(json.dumps(run))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    home = tmp_path_factory.mktemp("saved")
    return checkpoints.write(home, "multi", "prostate", steps=(1, 2))


@pytest.fixture
def home(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "home")


def test_a_workdir_its_checkpoints_or_one_step(home):
    folder = home / "checkpoints"
    for path, step in ((home, 2), (folder, 2), (folder / "1", 1), (folder / "2", 2)):
        model = trained_model.describe(path)
        assert model.step == step
        assert model.digest == checkpoint.read_run(folder / str(step))["digest"]
        assert model.author.model == "multi (prostate)"
    for step, score in ((1, 0.1), (2, 0.2)):
        change_run(folder / str(step), lambda run, s=score: run.update(score=s))
    assert trained_model.describe(home).step == 2
    # How a working directory is evaluated may have changed since it was trained.
    settings = checkpoint.read_run(folder / "2")["config"]
    settings |= {"evaluate.checkpoint": "best", "evaluate.contour_threshold": 0.25}
    workdir.write_json(settings, home / "config.json")
    model = trained_model.describe(home)
    assert model.step == 1
    assert model.rules.contour_threshold == 0.25
    assert trained_model.describe(folder).rules.contour_threshold == 0.5
    with pytest.raises(errors.CheckpointError, match="holds no checkpoint"):
        trained_model.describe(home / "predictions")
    (home.parent / "study").mkdir()
    home.rename(home.parent / "study" / "multi")
    with pytest.raises(errors.CheckpointError, match=r"directory \(multi in it\)"):
        trained_model.describe(home.parent / "study")


def test_a_softmax_head_is_told_from_an_older_version_s(home):
    """Files that were made of masks cut at a threshold are made again."""
    folder = home / "checkpoints" / "1"
    before = trained_model.describe(folder)
    assert "contour_head" not in before.basis

    def change(run):
        run["config"]["model.contour_head"] = "softmax"
        del run["config"]["optimizer.schedule"]

    change_run(folder, change)
    model = trained_model.describe(folder)
    assert model.rules.contour_head == "softmax"
    assert model.basis == before.basis | {"contour_head": "softmax"}


def test_a_site_of_the_user_s_needs_no_file(home):
    folder = home / "checkpoints" / "1"
    plain = {"name": "mine", "prescription_gy": 50.0, "ct_offset_hu": 0.0}
    plain |= {"contoured": ["Heart"], "structures": {"Heart": {}, "Lung": {}}}

    def change(run):
        run["site"] = plain
        run["config"] |= {"site": "gone/mine.yaml", "evaluate.metrics": "gone.toml"}
        run["config"]["data.structures"] = ["Heart"]

    change_run(folder, change)
    model = trained_model.describe(folder)
    assert model.site == sites.from_json(plain)
    assert model.preprocess.structures == ("Heart",)
    assert model.rules.site.name == "mine"


def test_weights_are_what_was_saved_and_channels_what_is_told(home, network):
    folder = home / "checkpoints" / "1"
    ready = trained_model.load(trained_model.describe(folder))
    image = np.random.default_rng(0).normal(size=(4, 32, 32, 1)).astype(np.float32)
    found = ready.apply(image)
    assert found["contours"].shape == (4, 32, 32, 5)
    assert found["dose"].shape == (4, 32, 32, 1)
    other = trained_model.load(
        trained_model.describe(home / "checkpoints" / "2")
    ).apply(image)
    assert np.abs(other["dose"] - found["dose"]).max() > 1e-3
    assert set(network("contour", "prostate").apply(image)) == {"contours"}


def test_the_network_that_draws_comes_along(network):
    ready = network("seq_auto", "prostate")
    assert ready.model.role.tasks == ("dose",)
    assert ready.contour_network.model.role.name == "contour"
    image = np.zeros((4, 32, 32, 1), np.float32)
    assert set(ready.contour_network.apply(image)) == {"contours"}
    assert ready.model.basis["drawing"]["checkpoint"] == "0"


def remove_key(run):
    del run["config"]["data.image_size"]


def add_key(run):
    run["config"]["model.depth"] = 3


def remove_statistics(run):
    del run["statistics"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove_key, "another version of mtl_jax.*data.image_size"),
        (add_key, "model.depth"),
        (remove_statistics, "does not contain its statistics"),
    ],
)
def test_a_checkpoint_of_another_version_is_refused(home, change, message):
    change_run(home / "checkpoints" / "1", change)
    with pytest.raises(errors.CheckpointError, match=message):
        trained_model.describe(home / "checkpoints" / "1")


def test_one_without_the_network_that_draws_is_refused(tmp_path):
    home = checkpoints.write(tmp_path, "seq_auto", "prostate")
    folder = home / "checkpoints" / "1"
    shutil.rmtree(folder / "drawing")
    with pytest.raises(errors.CheckpointError, match="cannot be read"):
        trained_model.load(trained_model.describe(folder))
    change_run(folder, lambda run: run.pop("drawing"))
    with pytest.raises(errors.CheckpointError, match="saved by an earlier version"):
        trained_model.describe(folder)


def test_damaged_weights_are_noticed(home):
    folder = home / "checkpoints" / "2"
    change_run(folder, lambda run: run.update(weights_digest="0"))
    with pytest.raises(errors.CheckpointError, match="damaged"):
        trained_model.load(trained_model.describe(folder))


def test_of_damaged_arrays_one_error_is_told(home):
    folder = home / "checkpoints" / "2"
    largest = max((folder / "state" / "d").iterdir(), key=lambda p: p.stat().st_size)
    content = largest.read_bytes()
    largest.write_bytes(content[: len(content) // 2])
    program = (
        "import pathlib, sys; from mtl_jax.predict import trained_model\n"
        "try: trained_model.load(trained_model.describe(pathlib.Path(sys.argv[1])))\n"
        "except ValueError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, text=True
    )
    assert "cannot be read" in done.stdout
    assert "closed" not in done.stderr and "Traceback" not in done.stderr


def test_no_dose_in_the_air_around_the_body(network):
    rules = network("multi", "prostate").model.rules
    hu = np.full((2, 6, 6), -1000, np.float32)
    hu[:, 1:5, 1:5] = 0
    hu[:, 2, 2] = -1000  # gas inside the body
    grid = geometry.Grid(hu.shape, (3.0, 3.0, 3.0))
    patient = records.Patient("p", grid, hu, {}, None, None)
    raw = trained_model.Prediction({}, np.full(hu.shape, 7.0), {})
    expected = np.zeros(hu.shape)
    expected[:, 1:5, 1:5] = 7.0
    found = raw.cleaned_up(patient, rules).dose_gy
    np.testing.assert_array_equal(found, expected)
    # A place that is known counts instead.
    known = np.zeros(hu.shape, bool)
    known[0] = True
    patient = dataclasses.replace(patient, possible_dose_mask=known)
    found = raw.cleaned_up(patient, rules).dose_gy
    np.testing.assert_array_equal(found, 7.0 * known)
