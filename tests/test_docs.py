"""The documentation: its links lead somewhere, and what it tells of the code is so."""

import importlib
import pathlib
import re
import tomllib
from collections.abc import Iterable

from docs.reference import configuration
from mtl_jax.core import roles

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDERS = ("docs", "tfds_builders", "configs", "benchmarks")
OURS = "mtl_jax|tfds_builders|configs|benchmarks|tests|docs"
PAGES = [*ROOT.glob("*.md"), *(p for f in FOLDERS for p in (ROOT / f).rglob("*.md"))]


def test_links_lead_somewhere():
    broken = []
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
        for target in re.findall(r"\]\(([^)#\s]+)", text):
            if ":" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert not broken


def anchors(page: pathlib.Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    titles = re.findall(r"^#+ (.*)$", text, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}


def test_links_lead_to_headings():
    broken = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for target, anchor in re.findall(r"\]\(([^)#\s:]*)#([^)\s]+)\)", text):
            goal = (page.parent / target).resolve() if target else page
            if anchor not in anchors(goal):
                broken.append(f"{page.relative_to(ROOT)}: {target}#{anchor}")
    assert not broken


def test_files_and_modules_that_a_page_names_are_there():
    missing = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named = re.findall(rf"`((?:{OURS})/[\w./-]*)", text)
        named += re.findall(rf"python -m ((?:{OURS})[.\w]*)", text)
        named += re.findall(r"`mtl_jax\.(\w+)`", text)
        for name in named:
            path = name if "/" in name else name.replace(".", "/")
            there = [ROOT / top / path for top in ("", "mtl_jax")]
            if not any(p.exists() or p.with_suffix(".py").exists() for p in there):
                missing.append(f"{page.relative_to(ROOT)}: {name}")
    assert not missing


def test_every_page_of_the_docs_is_in_the_index():
    index = ROOT / "docs" / "README.md"
    text = index.read_text(encoding="utf-8")
    pages = [p.relative_to(index.parent).as_posix() for p in index.parent.rglob("*.md")]
    missing = [p for p in pages if p != "README.md" and f"({p})" not in text]
    assert not missing


def test_the_page_of_configuration_keys_is_what_the_code_says():
    page = (ROOT / "docs" / "reference" / "configuration.md").read_text(
        encoding="utf-8"
    )
    assert page == configuration.page(), "run python -m docs.reference.configuration"


def test_the_readme_names_all_roles():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for role in roles.ROLES.values():
        row = next(line for line in readme.split("\n") if "openkbp.py:ROLE" in line)
        assert f"`{role.name}`" in row


def test_tests_that_a_page_names_are_there():
    missing = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for path, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)", text):
            file = ROOT / path
            if not file.exists() or f"def {name}(" not in file.read_text("utf-8"):
                missing.append(f"{page.relative_to(ROOT)}: {path}::{name}")
    assert not missing


def test_the_site_shows_the_pages_in_the_order_of_the_index():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    with (ROOT / "zensical.toml").open("rb") as file:
        nav = tomllib.load(file)["project"]["nav"]
    home, *kinds = [page for part in nav for page in leaves(part)]
    assert home == "README.md"
    assert kinds == re.findall(r"\]\(([\w/-]+\.md)\)", index)


def leaves(part: object) -> list[str]:
    """The pages below a part of the navigation, in order."""
    if isinstance(part, str):
        return [part]
    parts = part.values() if isinstance(part, dict) else part
    assert isinstance(parts, Iterable)
    return [page for each in parts for page in leaves(each)]


def test_what_the_site_shows_of_a_module_is_there_with_a_docstring():
    shown = 0
    for page in (ROOT / "docs" / "reference" / "python").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        for name, members in re.findall(
            r"^::: (\S+)\n +options:\n +members: \[(.*)\]", text, flags=re.M
        ):
            module = importlib.import_module(name)
            for member in members.split(", "):
                assert getattr(module, member).__doc__, f"{name}.{member}"
                shown += 1
    assert shown > 40
