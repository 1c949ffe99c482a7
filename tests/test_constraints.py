"""The tested versions: one of each package, and of all that the project needs."""

import pathlib
import re
import tomllib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "constraints").glob("*.txt"))
# Of these, Apache Beam wants older versions than everything else takes.
OLDER = {"pillow", "protobuf", "pyarrow", "python-dateutil"}
HELD_BACK = {"py311": OLDER, "newest": OLDER | {"numpy"}}


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


@pytest.mark.parametrize("name", HELD_BACK)
def test_beam_holds_back_only_what_it_must(name: str):
    usual, beam = (
        {line.split("==")[0]: line for line in path.read_text("utf-8").split("\n")}
        for path in (
            ROOT / f"constraints/{name}.txt",
            ROOT / f"constraints/beam-{name}.txt",
        )
    )
    shared = {p for p in usual.keys() & beam.keys() if p and not p.startswith("#")}
    assert {p for p in shared if usual[p] != beam[p]} == HELD_BACK[name]
    assert "torch" not in beam and "apache-beam" not in usual
    assert {p for p in usual if "#" not in p} - {"torch"} <= beam.keys()
