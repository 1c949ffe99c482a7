"""Small pieces of HTML: tables, lists and figures.

All texts of a report are escaped here.
"""

import collections
import dataclasses
import html
import io
import itertools
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from PIL import Image

from mtl_jax.core import errors
from mtl_jax.report import content, render

# Pixels.
MOST_IMAGE_WIDTH = 1800
# Cells with more characters than this may wrap.
LONG = 14
# Of a table with fewer rows, all columns are shown.
LEAST_ROWS = 3
# A table with more columns is shown in parts, one for each group of at least so many.
MOST_COLUMNS, LARGE_GROUP = 14, 3
NUMBER = re.compile(r"[-+−±<>≤≥]?\s*\d[\d.,e-]*\s*(%|\(.*\)|±.*)?[†*]*$")


def text(value: str) -> str:
    """`value` as text or as an attribute's value."""
    return html.escape(value, quote=True)


def embedded_json(value: Any) -> str:
    """`value` as JSON that cannot end the script element around it."""
    packed = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return packed.replace("<", "\\u003c")


def identifier(*parts: str) -> str:
    """A value for an id attribute."""
    return "-".join(re.sub(r"[^A-Za-z0-9_.]+", "-", part) for part in parts)


def table(contents: content.AnyTable, pages: Mapping[str, str] | None = None) -> str:
    """A table with its title above and its caption below; the first column names rows.

    `pages` maps patients to the ids of their pages; rows named like them are linked. A
    column that is the same in all rows is told below the table. A wide table is shown
    in parts, one for each group of its columns.

    Raises:
        RecordError: a row has more or fewer cells than there are headers.
    """
    same = ""
    if isinstance(contents, content.Table):
        contents = _with_cells(contents)
    else:
        contents, same = _without_same(contents)
    note = text(" ".join([same, *contents.caption])).strip()
    return "".join(_part(part, pages or {}) for part in _parts(contents)) + (
        f'<p class="note">{note}</p>\n' if note else ""
    )


def _part(contents: render.Table, pages: Mapping[str, str]) -> str:
    """A table without its caption."""
    body = "".join(
        ('<tr class="rule">' if number in contents.rules else "<tr>")
        + f'<th scope="row">{_name(row[0], pages)}</th>'
        f"{''.join(_cell(cell) for cell in row[1:])}</tr>\n"
        for number, row in enumerate(contents.rows)
    )
    # A wide table scrolls on its own, so it must be reachable by keyboard.
    return (
        '<div class="scroll" role="region" tabindex="0" '
        f'aria-label="{text(contents.title)}">'
        f"<table><caption>{text(contents.title)}</caption>"
        f"<thead>{_head(contents)}</thead>\n<tbody>{body}</tbody></table></div>\n"
    )


def _without_same(contents: render.Table) -> tuple[render.Table, str]:
    """The table without columns that are the same in all rows, told in a sentence."""
    if len(contents.rows) < LEAST_ROWS:
        return contents, ""
    kept, same = [], []
    for number, column in enumerate(contents.columns):
        first, *others = (row[number] for row in contents.rows)
        if not column.group and first.known and set(others) == {first}:
            same.append(f"{column.name} {first.text}{first.mark}")
        else:
            kept.append(number)
    if not same or not kept or contents.columns[kept[0]].group:
        return contents, ""
    sentence = f"In all rows: {', '.join(same)}."
    return _with_columns(contents, kept, contents.title), sentence


def _parts(contents: render.Table) -> list[render.Table]:
    """The table, or a table for each large group of columns if it is wide."""
    sizes = collections.Counter(column.group for column in contents.columns)
    alone = [n for n, column in enumerate(contents.columns) if not column.group]
    members: dict[str, list[int]] = {}  # small groups go with the large one before
    for number, column in enumerate(contents.columns):
        if column.group and (sizes[column.group] >= LARGE_GROUP or not members):
            members.setdefault(column.group, [])
        if column.group:
            at = column.group if column.group in members else list(members)[-1]
            members[at].append(number)
    if len(contents.columns) <= MOST_COLUMNS or len(members) < 2:
        return [contents]
    return [
        _with_columns(contents, sorted(alone + numbers), f"{contents.title}: {group}")
        for group, numbers in members.items()
    ]


def _with_columns(
    contents: render.Table, numbers: Sequence[int], title: str
) -> render.Table:
    """Some columns of a table."""
    return dataclasses.replace(
        contents,
        title=title,
        columns=tuple(contents.columns[number] for number in numbers),
        rows=tuple(tuple(row[n] for n in numbers) for row in contents.rows),
    )


def _with_cells(contents: content.Table) -> render.Table:
    """The same table with cells."""
    for row in contents.rows:
        if len(row) != len(contents.headers):
            raise errors.RecordError(
                f"table {contents.title!r}: a row has {len(row)} cells, but there are "
                f"{len(contents.headers)} headers: {list(row)}"
            )

    def cell(value: str) -> render.Cell:
        bold = len(value) > 4 and value.startswith("**") and value.endswith("**")
        return render.Cell(value[2:-2] if bold else value, best=bold)

    return render.Table(
        "",
        contents.title,
        (contents.caption,),
        tuple(render.Column(name) for name in contents.headers),
        tuple(tuple(cell(value) for value in row) for row in contents.rows),
    )


def _head(contents: render.Table) -> str:
    """One row of headers, or two if columns have groups."""
    cells = []
    grouped = any(column.group for column in contents.columns)
    for number, column in enumerate(contents.columns):
        filled = [row[number] for row in contents.rows if row[number].text]
        numbers = number and all(not c.known or NUMBER.match(c.text) for c in filled)
        kind = ' class="number"' if numbers and filled else ""
        rows = ' rowspan="2"' if grouped and not column.group else ""
        cells.append(f'<th scope="col"{rows}{kind}>{text(column.name)}</th>')
    if not grouped:
        return f"<tr>{''.join(cells)}</tr>"
    first, second = "", ""
    pairs = zip(contents.columns, cells, strict=True)
    for group, members in itertools.groupby(pairs, key=lambda pair: pair[0].group):
        heads = [cell for _, cell in members]
        if group:
            first += f'<th scope="colgroup" colspan="{len(heads)}">{text(group)}</th>'
            second += "".join(heads)
        else:
            first += "".join(heads)
    return f"<tr>{first}</tr><tr>{second}</tr>"


def _name(cell: render.Cell, pages: Mapping[str, str]) -> str:
    name = text(cell.text + cell.mark)
    page = pages.get(cell.text)
    return f'<a href="#{page}">{name}</a>' if page else name


def _cell(cell: render.Cell) -> str:
    value = text(cell.text)
    value = f"<strong>{value}</strong>" if cell.best else value
    kind = "number" if NUMBER.match(cell.text) else "" if cell.known else "missing"
    if len(cell.text) > LONG:
        kind = f"{kind} long".strip()
    kind = f' class="{kind}"' if kind else ""
    return f"<td{kind}>{value}{text(cell.mark)}</td>"


def facts(entries: Iterable[content.Fact]) -> str:
    """A list of terms and their values."""
    rows = "".join(
        f"<div><dt>{text(fact.term)}</dt><dd>{text(fact.value)}</dd></div>\n"
        for fact in entries
    )
    return f'<dl class="facts">{rows}</dl>\n' if rows else ""


def picture(figure: content.Picture, number: int) -> str:
    """A figure with its image embedded in the page."""
    kind, data, (width, height) = packed_image(figure)
    return (
        f'<figure id="figure-{number}">'
        f'<img src="data:image/{kind};base64,{data}" alt="{text(figure.alt)}" '
        f'width="{width}" height="{height}" loading="lazy" decoding="async">'
        f"<figcaption><strong>{text(figure.title)}</strong> {text(figure.caption)}"
        "</figcaption></figure>\n"
    )


def packed_image(figure: content.Picture) -> tuple[str, str, tuple[int, int]]:
    """Format, base64 and size of the image: lossless or lossy WebP, the smaller one."""
    try:
        with Image.open(figure.path) as file:
            image = file.convert("RGB")
    except OSError as error:
        raise errors.RecordError(
            f"figure {figure.title!r}: {figure.path} cannot be read ({error}): draw it "
            "again"
        ) from error
    if image.width > MOST_IMAGE_WIDTH:
        height = round(image.height * MOST_IMAGE_WIDTH / image.width)
        image = image.resize((MOST_IMAGE_WIDTH, height), Image.Resampling.LANCZOS)
    candidates = []
    for options in ({"lossless": True, "quality": 60}, {"quality": 86, "method": 5}):
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", **options)
        candidates.append(buffer.getvalue())
    return "webp", b64encode(min(candidates, key=len)).decode(), image.size
