"""The tested versions: one of each package, and of all that the project needs."""

import pathlib
import re
import tomllib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "constraints").glob("*.txt"))


def pinned(path: pathlib.Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").split("\n")
    names = (re.split(r"[><=]", line)[0].lower() for line in lines)
    return [name for name in names if name and not name.startswith("#")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_package_has_one_version(path: pathlib.Path):
    names = pinned(path)
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_every_installation_needs_is_pinned(path: pathlib.Path):
    with (ROOT / "pyproject.toml").open("rb") as file:
        wanted = tomllib.load(file)["project"]["dependencies"]
    names = {re.split(r"[><=!\[]", each)[0].lower() for each in wanted}
    assert not names - set(pinned(path))
