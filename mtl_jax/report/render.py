"""A table as data, and its rendering as Markdown, CSV and LaTeX (booktabs).

Input: a Table of Cells. Output: text, or files. Markdown and LaTeX have title, caption
and rounded numbers. CSV has all digits, with spreads, marks and notes in their own
columns. Equal tables give equal bytes.
"""

import csv
import dataclasses
import io
import math
import re
from collections.abc import Iterable
from pathlib import Path

from mtl_jax.core import csv_cells, files


@dataclasses.dataclass(frozen=True)
class Cell:
    """A number, a text, or a note that says why there is no value."""

    value: float | str | None = None
    spread: float | None = None
    form: str = ".3f"  # format of the value and its spread
    mark: str = ""  # a symbol that the caption explains
    best: bool = False  # printed bold
    note: str = ""  # why there is no value

    @property
    def known(self) -> bool:
        """Whether there is a value; NaN counts as none."""
        missing = isinstance(self.value, float) and math.isnan(self.value)
        return self.value is not None and not missing

    @property
    def text(self) -> str:
        """The rounded value as text, without the mark."""
        if isinstance(self.value, str):
            return self.value
        if self.value is None or not self.known:
            return self.note or "–"
        # `z`: no minus sign before a zero.
        number = format(self.value, self.form if "d" in self.form else f"z{self.form}")
        if self.spread is None or math.isnan(self.spread):
            return number
        return f"{number} ± {format(self.spread, self.form)}"


@dataclasses.dataclass(frozen=True)
class Column:
    """A column's heading; neighbours of one group share a heading above them."""

    name: str
    group: str = ""

    @property
    def title(self) -> str:
        """The name after its group, as Markdown and CSV show it."""
        return f"{self.group}: {self.name}" if self.group else self.name


@dataclasses.dataclass(frozen=True)
class Table:
    """A table with all that is needed to read it."""

    name: str  # of its files, without suffix
    title: str
    caption: tuple[str, ...]  # sentences that define the numbers
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    rules: tuple[int, ...] = ()  # indices of rows with a line above

    def __post_init__(self) -> None:
        for row in self.rows:
            assert len(row) == len(self.columns), (self.name, row)


def write_all(tables: Iterable[Table], folder: Path) -> list[Path]:
    """Write each table as `<name>.md`, `.csv` and `.tex`; returns the paths."""
    paths = []
    for table in tables:
        for suffix, content in (
            (".md", markdown(table)),
            (".csv", csv_text(table)),
            (".tex", latex(table)),
        ):
            path = folder / f"{table.name}{suffix}"
            with files.whole(path) as partial:
                partial.write_text(content, encoding="utf-8", newline="")
            paths.append(path)
    return paths


def markdown(table: Table) -> str:
    """The title as a heading, the table and its caption, as Markdown."""
    caption = markdown_escape(" ".join(table.caption))
    return f"### {markdown_escape(table.title)}\n\n{markdown_rows(table)}\n{caption}\n"


def markdown_rows(table: Table) -> str:
    """The table alone, as Markdown."""

    def line(texts: Iterable[str]) -> str:
        return f"| {' | '.join(texts)} |\n"

    lines = [line(markdown_escape(column.title) for column in table.columns)]
    lines.append(line("---" if left else "---:" for left in _left(table)))
    lines += [line(map(_markdown_cell, row)) for row in table.rows]
    return "".join(lines)


def _markdown_cell(cell: Cell) -> str:
    text = markdown_escape(cell.text)
    return (f"**{text}**" if cell.best else text) + markdown_escape(cell.mark)


def markdown_escape(text: str) -> str:
    """`text` on one line, with Markdown's special characters escaped."""
    for sign in ("\\", "|", "*", "`", "[", "]", "~"):
        text = text.replace(sign, f"\\{sign}")
    # Underscores inside words (D_mean) need no escape.
    text = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)
    return " ".join(text.replace("<", "&lt;").splitlines())


def csv_text(table: Table) -> str:
    """The table as CSV: all digits; spread, mark and note in columns of their own."""
    extras = []  # the additional columns of each column
    for cells in zip(*table.rows, strict=True):
        has = {
            "spread": any(cell.spread is not None for cell in cells),
            "mark": any(cell.mark for cell in cells),
            "note": any(cell.note for cell in cells),
        }
        extras.append([name for name, wanted in has.items() if wanted])
    if not table.rows:
        extras = [[] for _ in table.columns]
    head = []
    for column, names in zip(table.columns, extras, strict=True):
        head += [column.title, *(f"{column.title} {name}" for name in names)]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(head)
    for row in table.rows:
        values: list[object] = []
        for cell, names in zip(row, extras, strict=True):
            values.append(csv_cells.harmless(cell.value) if cell.known else "")
            extra = (_plain(getattr(cell, name)) for name in names)
            values += map(csv_cells.harmless, extra)
        writer.writerow(values)
    return file.getvalue()


def _plain(value: object) -> object:
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return "" if missing else value


def latex(table: Table) -> str:
    r"""A LaTeX `table` environment; needs `\usepackage{booktabs}`."""
    left = _left(table)
    lines = [
        r"\begin{table}",
        r"\centering\scriptsize\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{_latex_escape(table.title)}. "
        rf"{_latex_escape(' '.join(table.caption))}}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{{''.join('l' if text else 'r' for text in left)}}}",
        r"\toprule",
        *_latex_groups(table),
        _latex_line(_latex_escape(column.name) for column in table.columns),
        r"\midrule",
    ]
    for index, row in enumerate(table.rows):
        if index in table.rules:
            lines.append(r"\midrule")
        lines.append(_latex_line(_latex_cell(cell) for cell in row))
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _latex_line(texts: Iterable[str]) -> str:
    return f"{' & '.join(texts)} \\\\"


def _latex_groups(table: Table) -> list[str]:
    """The line of group headings above the columns, and the rules below them."""
    if not any(column.group for column in table.columns):
        return []
    heads, rules, first = [], [], 1
    runs: list[list[Column]] = []
    for column in table.columns:
        if runs and column.group and runs[-1][0].group == column.group:
            runs[-1].append(column)
        else:
            runs.append([column])
    for run in runs:
        last = first + len(run) - 1
        group = run[0].group
        heads.append(
            rf"\multicolumn{{{len(run)}}}{{c}}{{{_latex_escape(group)}}}"
            if group
            else ""
        )
        if group:
            rules.append(rf"\cmidrule(lr){{{first}-{last}}}")
        first = last + 1
    return [_latex_line(heads), " ".join(rules)]


def _latex_cell(cell: Cell) -> str:
    text = _latex_escape(cell.text)
    mark = rf"\textsuperscript{{{_latex_escape(cell.mark)}}}" if cell.mark else ""
    return (rf"\textbf{{{text}}}" if cell.best else text) + mark


_LATEX = {sign: f"\\{sign}" for sign in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
    "±": r"$\pm$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "§": r"\S{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "–": "--",
    "\n": " ",
}


def _latex_escape(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)


def _left(table: Table) -> list[bool]:
    """Whether each column is left-aligned: those that hold text."""
    columns = (
        zip(*table.rows, strict=True) if table.rows else ((),) * len(table.columns)
    )
    return [
        any(isinstance(cell.value, str) and cell.value for cell in cells)
        for cells in columns
    ]
