"""Ids by salted hash, and the key file."""

import hashlib
import json
import os
import pathlib
import stat

import pytest

from mtl_jax.core import errors
from mtl_jax.sources.clinical import pseudonyms


def test_ids_are_salted_hashes_and_kept(tmp_path):
    path = tmp_path / "a" / "keys.json"
    first = pseudonyms.ids(path, ["Jane", "Joe"])
    content = json.loads(path.read_text())
    digest = hashlib.sha256(f"{content['salt']}/Jane".encode()).hexdigest()
    assert first["Jane"] == "p" + digest[:12]
    assert content["patients"] == {first["Jane"]: "Jane", first["Joe"]: "Joe"}
    assert len(bytes.fromhex(content["salt"])) == 32
    # One more, one less: what was there stays.
    second = pseudonyms.ids(path, ["Jane", "Ann"])
    assert second["Jane"] == first["Jane"]
    assert set(json.loads(path.read_text())["patients"].values()) == {
        *("Jane", "Joe", "Ann")
    }
    assert [p.name for p in path.parent.iterdir()] == ["keys.json"]
    assert pseudonyms.ids(tmp_path / "b.json", ["Jane"])["Jane"] != first["Jane"]


def test_nobody_else_may_read_it(tmp_path):
    path = tmp_path / "keys.json"
    before = os.umask(0)
    try:
        pseudonyms.ids(path, ["Jane"])
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.chmod(0o644)
        pseudonyms.ids(path, ["Jane"])
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        pseudonyms.ids(path, ["Joe"])
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"salt": 3, "patients": {}}', "{}", "[" * 100_000]
)
def test_a_damaged_key_file_is_never_replaced(tmp_path, text):
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(errors.SourceError, match="not one of ours, or damaged"):
        pseudonyms.ids(path, ["Jane"])
    assert path.read_text() == text


def test_a_place_that_cannot_be_written_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.SourceError, match=pseudonyms.VARIABLE) as raised:
        pseudonyms.ids(tmp_path / "file" / "keys.json", ["Jane"])
    assert str(tmp_path) not in str(raised.value)


def test_its_place_is_beside_the_folder_or_named(tmp_path, monkeypatch):
    monkeypatch.delenv(pseudonyms.VARIABLE, raising=False)
    assert pseudonyms.key_file(tmp_path / "x") == tmp_path / "x.keys.json"
    # Not in a patient's folder, and not without a name.
    assert (
        pseudonyms.key_file(tmp_path / "x" / "Jane" / "..") == tmp_path / "x.keys.json"
    )
    with pytest.raises(errors.SourceError, match="the root of the file system"):
        pseudonyms.key_file(pathlib.Path("/"))
    monkeypatch.setenv(pseudonyms.VARIABLE, str(tmp_path / "k"))
    assert pseudonyms.key_file(tmp_path / "x") == tmp_path / "k"
