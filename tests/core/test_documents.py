"""Files that a user writes: what is read, and what is refused."""

import pytest

from mtl_jax.core import documents, errors

ALL = (".toml", ".yaml", ".yml", ".json")


# Ten values, ten times those, and so on: 10 ** 10 in 500 characters.
BOMB = "a: [" + "".join(
    f"&a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 10)}], " for n in range(10)
)
BOMB += "x]"


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
        ("A.YAML", "a: 1\r\nb: {c: [2]}\r\n"),
        ("a.yaml", "\ufeffa: &one 1\nb: {c: [2]}"),
    ],
)
def test_three_languages(tmp_path, name, text):
    found = read(tmp_path, name, text)
    assert (found["a"], found["b"]) == (1, {"c": [2]})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.toml", "a = 1\na = 2", "is not TOML: Cannot overwrite"),
        ("a.yaml", "a: 1\nb:\n  c: 1\n  c: 2", "'c' appears twice: keep one"),
        ("a.yaml", "'a': 1\na: 2", "'a' appears twice"),
        ("a.json", '{"a": {"c": 1, "c": 1}}', "'c' appears twice: keep one"),
        ("a.yaml", "a: !!python/object/apply:os.getcwd []", "is not YAML: "),
        ("a.yaml", "[a]: 1", "is not YAML: "),
        ("a.yaml", "- a\n- b", "holds no names"),
        ("a.json", '"a"', "holds no names"),
        ("a.yaml", BOMB, "with its aliases .* over 100000 values"),
        ("a.yaml", "a: &a [*a]", "with its aliases"),
        ("a.yaml", "a: &a {b: *a}", "with its aliases"),
        ("a.yaml", "a: " + "[" * 900 + "]" * 900, "nested too deep"),
        ("a.json", f'{{"a": {"9" * 5000}}}', "is not JSON: Exceeds the limit"),
        ("a.yaml", "a: !!timestamp x", "is not YAML: a value does not match its tag"),
        ("a.yaml", "!!int : 1", "is not YAML: a value does not match its tag"),
        ("a.yaml", "a: 2021-99-99", "is not YAML: month must be"),
        ("a.yaml", b"a\0: b", "is not YAML: unacceptable character"),
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
