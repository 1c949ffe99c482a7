"""A checkpoint's description that somebody has changed: one clear error each."""

import json
import shutil

import pytest

from mtl_jax.core import errors
from mtl_jax.predict import trained_model
from tests.predict import checkpoints


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    home = tmp_path_factory.mktemp("saved")
    return checkpoints.write(home, "multi", "prostate") / "checkpoints" / "1"


DEEP = "[" * 100_000 + "]" * 100_000
TEXTS = {
    "brackets in brackets": lambda text: DEEP,
    "brackets in a value": lambda text: text.replace('"step": 1', f'"step": {DEEP}'),
    "a list": lambda text: "[1, 2]",
    "a text": lambda text: '"digest"',
    "a number": lambda text: "7",
}
VALUES = {
    "config": [None, 3, [], "x", {}],
    "site": [None, 3, [], {}, {"name": []}, "nowhere"],
    "statistics": [None, 3, [], {}, {"ct_mean": "x", "ct_std": []}],
    "step": ["x", None, []],
    "digest": [3, [], {}],
    "score": ["x", []],
    "training_data": [3, [], {}, {"spacing_mm": "x"}, {"ct_hu": None}],
}


def damaged(saved, folder, change):
    copy = shutil.copytree(saved, folder / "1")
    path = copy / "run" / "metadata"
    path.write_text(change(path.read_text()))
    return copy


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_that_is_no_description(saved, tmp_path, name):
    folder = damaged(saved, tmp_path, TEXTS[name])
    with pytest.raises(errors.CheckpointError, match="checkpoint"):
        trained_model.describe(folder)


def with_value(change):
    """A change of the description, as one who knows of its digest would make it."""

    def changed(text):
        run = json.loads(text)
        run.pop("description_digest")
        change(run)
        return json.dumps(run)

    return changed


@pytest.mark.parametrize("key", VALUES)
def test_a_value_of_another_type(saved, tmp_path, key):
    for number, value in enumerate(VALUES[key]):
        change = with_value(lambda run, v=value: run.update({key: v}))
        folder = damaged(saved, tmp_path / str(number), change)
        with pytest.raises(errors.CheckpointError, match="checkpoint"):
            trained_model.describe(folder)


@pytest.mark.parametrize("value", [None, "x", -1, [], {"a": 1}, [1, 2, 3], True])
def test_a_configuration_with_other_values(saved, tmp_path, value):
    keys = ("role", "model.width", "data.image_size", "data.structures")
    for number, key in enumerate((*keys, "evaluate.contour_threshold")):
        if (key, value) == ("evaluate.contour_threshold", True):
            continue
        change = with_value(lambda run, k=key: run["config"].update({k: value}))
        folder = damaged(saved, tmp_path / str(number), change)
        with pytest.raises(errors.CheckpointError, match="checkpoint 1 has a"):
            trained_model.describe(folder)


def test_a_site_in_a_checkpoint_opens_no_file(saved, tmp_path):
    """A file at that path would be read otherwise, and its values shown in errors."""
    site = tmp_path / "private.yaml"
    site.write_text("name: secret\n")
    change = with_value(lambda run: run.update(site=str(site)))
    with pytest.raises(errors.CheckpointError, match="unknown site") as raised:
        trained_model.describe(damaged(saved, tmp_path, change))
    assert "secret" not in str(raised.value)
    # Nor does its configuration's: the checkpoint has the whole site.
    change = with_value(lambda run: run["config"].update(site=str(site)))
    found = trained_model.describe(damaged(saved, tmp_path / "other", change))
    assert found.site.name == "prostate"
