"""Small pieces of HTML: everything that comes from outside is escaped here."""

import html
import io
import itertools
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any

from PIL import Image

from mtl_jax.core import errors
from mtl_jax.report import content, render

# Pixels across of an embedded picture.
WIDEST = 1800
# Characters from which on a cell's text may be broken into lines.
LONG = 30
NUMBER = re.compile(r"[-+−±<>≤≥]?\s*\d[\d.,e-]*\s*(%|\(.*\)|±.*)?[†*]*$")


def text(value: str) -> str:
    """`value` as text or as an attribute's value."""
    return html.escape(value, quote=True)


def embedded_json(value: Any) -> str:
    """`value` as JSON that cannot end the script element it stands in."""
    packed = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return packed.replace("<", "\\u003c")


def identifier(*parts: str) -> str:
    """A value for an id attribute."""
    return "-".join(re.sub(r"[^A-Za-z0-9_.]+", "-", part) for part in parts)


def table(given: content.AnyTable, pages: Mapping[str, str] | None = None) -> str:
    """A table with its title above, its caption below; the first column names the rows.

    A row named like a patient of `pages` (ids of their pages) leads there.

    Raises:
        RecordError: a row has more or fewer cells than there are headers.
    """
    if isinstance(given, content.Table):
        given = _rendered(given)
    note = text(" ".join(given.caption)).strip()
    body = "".join(
        ('<tr class="rule">' if number in given.rules else "<tr>")
        + f'<th scope="row">{_name(row[0], pages or {})}</th>'
        f"{''.join(_cell(cell) for cell in row[1:])}</tr>\n"
        for number, row in enumerate(given.rows)
    )
    # Wide tables scroll by themselves, so the keyboard has to be able to reach them.
    return (
        '<div class="scroll" role="region" tabindex="0" '
        f'aria-label="{text(given.title)}">'
        f"<table><caption>{text(given.title)}</caption>"
        f"<thead>{_head(given)}</thead>\n<tbody>{body}</tbody></table></div>\n"
        + (f'<p class="note">{note}</p>\n' if note else "")
    )


def _rendered(given: content.Table) -> render.Table:
    """The same with cells."""
    for row in given.rows:
        if len(row) != len(given.headers):
            raise errors.RecordError(
                f"table {given.title!r}: a row has {len(row)} cells, but there are "
                f"{len(given.headers)} headers: {list(row)}"
            )

    def cell(words: str) -> render.Cell:
        bold = len(words) > 4 and words.startswith("**") and words.endswith("**")
        return render.Cell(words[2:-2] if bold else words, best=bold)

    return render.Table(
        "",
        given.title,
        (given.caption,),
        tuple(render.Column(name) for name in given.headers),
        tuple(tuple(cell(words) for words in row) for row in given.rows),
    )


def _head(given: render.Table) -> str:
    """One row of headers, or two where columns stand in groups."""
    cells = []
    grouped = any(column.group for column in given.columns)
    for number, column in enumerate(given.columns):
        below = [row[number] for row in given.rows if row[number].text]
        numbers = number and all(not c.known or NUMBER.match(c.text) for c in below)
        kind = ' class="number"' if numbers and below else ""
        rows = ' rowspan="2"' if grouped and not column.group else ""
        cells.append(f'<th scope="col"{rows}{kind}>{text(column.name)}</th>')
    if not grouped:
        return f"<tr>{''.join(cells)}</tr>"
    first, second = "", ""
    pairs = zip(given.columns, cells, strict=True)
    for group, together in itertools.groupby(pairs, key=lambda pair: pair[0].group):
        heads = [cell for _, cell in together]
        if group:
            first += f'<th scope="colgroup" colspan="{len(heads)}">{text(group)}</th>'
            second += "".join(heads)
        else:
            first += "".join(heads)
    return f"<tr>{first}</tr><tr>{second}</tr>"


def _name(cell: render.Cell, pages: Mapping[str, str]) -> str:
    words = text(cell.text + cell.mark)
    page = pages.get(cell.text)
    return f'<a href="#{page}">{words}</a>' if page else words


def _cell(cell: render.Cell) -> str:
    words = text(cell.text)
    words = f"<strong>{words}</strong>" if cell.best else words
    kind = "number" if NUMBER.match(cell.text) else "" if cell.known else "missing"
    if len(cell.text) > LONG:
        kind = f"{kind} long".strip()
    kind = f' class="{kind}"' if kind else ""
    return f"<td{kind}>{words}{text(cell.mark)}</td>"


def facts(given: Iterable[content.Fact]) -> str:
    """Terms and what they are."""
    rows = "".join(
        f"<div><dt>{text(fact.term)}</dt><dd>{text(fact.value)}</dd></div>\n"
        for fact in given
    )
    return f'<dl class="facts">{rows}</dl>\n' if rows else ""


def picture(given: content.Picture, number: int) -> str:
    """A figure; its image is in the page itself."""
    kind, data, (width, height) = packed_image(given)
    return (
        f'<figure id="figure-{number}">'
        f'<img src="data:image/{kind};base64,{data}" alt="{text(given.alt)}" '
        f'width="{width}" height="{height}" loading="lazy" decoding="async">'
        f"<figcaption><strong>{text(given.title)}</strong> {text(given.caption)}"
        "</figcaption></figure>\n"
    )


def packed_image(given: content.Picture) -> tuple[str, str, tuple[int, int]]:
    """Format, base64 and size: the smaller of lossless and good lossy WebP."""
    try:
        with Image.open(given.path) as file:
            image = file.convert("RGB")
    except OSError as error:
        raise errors.RecordError(
            f"figure {given.title!r}: {given.path} cannot be read ({error}): draw it "
            "again"
        ) from error
    if image.width > WIDEST:
        height = round(image.height * WIDEST / image.width)
        image = image.resize((WIDEST, height), Image.Resampling.LANCZOS)
    candidates = []
    for options in ({"lossless": True, "quality": 60}, {"quality": 86, "method": 5}):
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", **options)
        candidates.append(buffer.getvalue())
    return "webp", b64encode(min(candidates, key=len)).decode(), image.size
