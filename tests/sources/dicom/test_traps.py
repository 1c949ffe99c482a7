"""The page on traps: each has its row, and each row's tests exist."""

import pathlib
import re

import pytest

from tests.sources.dicom import odd_inputs

ROOT = pathlib.Path(__file__).parents[3]
PAGE = ROOT / "docs/reference/dicom-traps.md"
# 31 and 41 are about writing.
NUMBERS = sorted({*range(1, 46)} - {31, 41})


@pytest.fixture(scope="module")
def rows() -> list[str]:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("| ")]


def test_every_trap_has_a_row_with_a_test(rows):
    numbered = [found for row in rows if (found := re.match(r"\| (\d+) \|", row))]
    assert [int(found[1]) for found in numbered] == NUMBERS
    for found in numbered:
        row = found.string
        assert re.search(r'(`test_\w+`|"[^"]+") *(, .*)?\|$', row), row


def test_the_tests_exist(rows):
    there = "\n".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")
    )
    for row in rows:
        last = row.rstrip("|").rpartition("|")[2]
        for name in re.findall(r"`(test_\w+)`", last):
            assert f"def {name}(" in there, name
        for case in re.findall(r'"([^"]+)"', last):
            assert case in odd_inputs.CASES, case
