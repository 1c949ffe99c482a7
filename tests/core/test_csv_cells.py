"""Cells of CSV files that no spreadsheet runs."""

import csv
import pathlib

import pytest

from mtl_jax.core import csv_cells

FORMULAS = (
    *("=1+1", '=HYPERLINK("http://x")', "+1+cmd|' /C calc'!A0", "-2+3+cmd|'x'!A0"),
    *("@SUM(A1)", "\t=1+1", "\r=1", "＝1+1", "-", "--1", "=", "-1_0", "- 5"),
)
PLAIN = ("Rectum", "PTV_6000", "a=b", "'quoted", "", " =1", "CTV 60/54", "5-3")
NUMBERS = ("-5.5", "+1e-3", "-0", "-inf", "12", -5.5, 0, None, float("inf"))


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_written_as_text(text):
    assert csv_cells.harmless(text) == f"'{text}"
    assert csv_cells.original(f"'{text}") == text


@pytest.mark.parametrize("value", [*PLAIN, *NUMBERS])
def test_the_rest_stays_as_it_is(value):
    assert csv_cells.harmless(value) is value
    assert not isinstance(value, str) or csv_cells.original(value) == value


def test_all_who_write_text_into_a_csv_use_it():
    """A module with a CSV writer either has no text from data, or calls `harmless`."""
    package = pathlib.Path(csv_cells.__file__).parents[1]
    writers = (csv.writer.__name__ + "(", "DictWriter(")
    for path in package.rglob("*.py"):
        code = path.read_text(encoding="utf-8")
        if any(f"csv.{writer}" in code for writer in writers):
            assert "csv_cells.harmless" in code, path.name
