"""Files that a user writes: what is read, and what is refused."""

import pytest

from mtl_jax.core import documents, errors

ALL = (".toml", ".yaml", ".yml", ".json")


def read(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return documents.read(path, ALL, "names")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.toml", "a = 1\n[b]\nc = [2]"),
        ("a.yaml", "a: 1\nb: {c: [2]}"),
        ("a.yml", "x: &x {c: [2]}\na: 1\nb:\n  <<: *x"),
        ("a.json", '{"a": 1, "b": {"c": [2]}}'),
    ],
)
def test_three_languages(tmp_path, name, text):
    found = read(tmp_path, name, text)
    assert (found["a"], found["b"]) == (1, {"c": [2]})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.toml", "a = 1\na = 2", "is not TOML: Cannot overwrite"),
        ("a.yaml", "a: 1\nb:\n  c: 1\n  c: 2", "'c' is there twice: keep one"),
        ("a.yaml", "'a': 1\na: 2", "'a' is there twice"),
        ("a.json", '{"a": {"c": 1, "c": 1}}', "'c' is there twice: keep one"),
        ("a.yaml", "a: !!python/object/apply:os.getcwd []", "is not YAML: "),
        ("a.yaml", "[a]: 1", "is not YAML: "),
        ("a.yaml", "- a\n- b", "holds no names"),
        ("a.json", '"a"', "holds no names"),
        ("a.json", "", "is not JSON"),
        ("a.yaml", b"a: \xff", "is not YAML"),
        ("a.json", "[" * 100_000, "is not JSON: nested too deep"),
        ("a.txt", "a: 1", "its name should end in .toml, .yaml, .yml, .json"),
    ],
)
def test_what_is_refused(tmp_path, name, text, message):
    with pytest.raises(errors.ConfigError, match=message):
        read(tmp_path, name, text)


def test_an_empty_file_holds_nothing_and_a_missing_one_cannot_be_read(tmp_path):
    assert read(tmp_path, "a.yaml", "# nothing yet\n") == {}
    with pytest.raises(errors.ConfigError, match="cannot be read: No such file"):
        documents.read(tmp_path / "b.yaml", ALL, "names")
