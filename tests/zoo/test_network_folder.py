"""Folders of packed networks that are damaged; the networks of this installation."""

import json
import shutil

import pytest

from docs.reference import model_zoo
from mtl_jax.core import errors
from mtl_jax.zoo import network_folder, packaged
from tests.pack import packable


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    return packable.pack(tmp_path_factory.mktemp("packed"))


@pytest.fixture
def copy(packed, tmp_path):
    return shutil.copytree(packed, tmp_path / "multi")


def test_one_changed_bit_of_the_weights_is_noticed(copy):
    path = copy / network_folder.WEIGHTS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(errors.CheckpointError, match=r"is damaged: its SHA-256 is"):
        network_folder.weights(copy)
    path.unlink()
    with pytest.raises(errors.CheckpointError, match="SHA-256 is nothing"):
        network_folder.weights(copy)


@pytest.mark.parametrize("text", ["", "[]", "{}"])
def test_a_damaged_description_is_noticed(copy, text):
    (copy / network_folder.DESCRIPTION).write_text(text)
    with pytest.raises(errors.CheckpointError, match=r"network\.json is damaged"):
        network_folder.describe(copy)


def test_a_changed_description_is_noticed(copy):
    path = copy / network_folder.DESCRIPTION
    description = json.loads(path.read_text())
    description["statistics"]["ct_mean"] += 1
    path.write_text(json.dumps(description))
    with pytest.raises(errors.CheckpointError, match="differs from its digest"):
        network_folder.describe(copy)


def test_names_are_the_folders_that_hold_a_network(packed, tmp_path, monkeypatch):
    monkeypatch.setattr(packaged, "FOLDER", tmp_path)
    assert packaged.names() == ()
    message = r"no network called 'multi' .*\(it has none\): give the working directory"
    with pytest.raises(errors.CheckpointError, match=message):
        packaged.folder("multi")
    (tmp_path / "__pycache__").mkdir()
    for name in ("small", "multi"):
        shutil.copytree(packed, tmp_path / name)
    assert packaged.names() == ("multi", "small")
    assert packaged.folder("small") == tmp_path / "small"


def test_those_of_this_installation_are_whole():
    for name in packaged.names():
        folder = packaged.folder(name)
        assert network_folder.describe(folder)["name"] == name
        assert network_folder.weights(folder)["params"]


def test_the_page_has_a_column_for_each(packed, monkeypatch):
    monkeypatch.setattr(packaged, "FOLDER", packed.parent)
    head, _, *rows = model_zoo.table().split("\n")
    assert head == "| name | `multi` |"
    facts = dict(row[2:-2].split(" | ") for row in rows)
    assert ["name", *facts] == list(model_zoo.FACTS)
    assert facts["role"] == "`multi`" and facts["parameters"] == "170,863"
    assert facts["reached"].startswith(
        "on the test split (7 patients): dose score 3.250 Gy"
    )
    monkeypatch.setattr(packaged, "FOLDER", packed)  # there is none
    assert model_zoo.table() == model_zoo.NONE


def test_the_page_is_up_to_date():
    page = model_zoo.PAGE.read_text(encoding="utf-8")
    assert page == model_zoo.page(), "run python -m docs.reference.model_zoo"
