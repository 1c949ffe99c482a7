"""Cells of CSV files that spreadsheets show, and do not run.

Input: values, some of them text from data, such as names of ROIs. Output: the same,
with an apostrophe before text that a spreadsheet would take for a formula.
"""

from typing import Any

# The last two are skipped by spreadsheets before they look for the others.
FORMULAS = ("=", "+", "-", "@", "\t", "\r")
# Of full width, which some spreadsheets take for the same.
_WIDE = tuple(chr(ord(sign) + 0xFEE0) for sign in "=+-@")
TEXT = "'"


def harmless(value: Any) -> Any:
    """`value`, if it is a number or plain text; else the same text after an apostrophe.

    >>> [harmless(value) for value in ("Rectum", "=1+1", "-5.5", -5.5, "@SUM(A1)")]
    ['Rectum', "'=1+1", '-5.5', -5.5, "'@SUM(A1)"]
    """
    is_formula = isinstance(value, str) and value.startswith(FORMULAS + _WIDE)
    return f"{TEXT}{value}" if is_formula and not _is_number(value) else value


def original(text: str) -> str:
    """The text that `harmless` made `text` of."""
    return text[1:] if text[:1] == TEXT and harmless(text[1:]) == text else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and "_" not in text and text.strip() == text
