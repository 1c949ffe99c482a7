"""Small pieces of HTML: everything that comes from outside is escaped here."""

import html
import io
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any

from PIL import Image

from mtl_jax.core import errors
from mtl_jax.study.report import content

# Pixels across of an embedded picture.
WIDEST = 1800
NUMBER = re.compile(r"[-+±<>≤≥]?\s*\d[\d.,]*\s*(%|\(.*\)|±.*|e-?\d+)?[†*]*$")


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


def cell(value: str) -> str:
    """A cell's text; `**text**` is emphasised."""
    if len(value) > 4 and value.startswith("**") and value.endswith("**"):
        return f"<strong>{text(value[2:-2])}</strong>"
    return text(value)


def table(given: content.TableLike, pages: Mapping[str, str] | None = None) -> str:
    """A table with its caption; the first column names the rows.

    A row named like a patient of `pages` (ids of their pages) leads there.

    Raises:
        RecordError: a row has more or fewer cells than there are headers.
    """
    for row in given.rows:
        if len(row) != len(given.headers):
            raise errors.RecordError(
                f"table {given.title!r}: a row has {len(row)} cells, but there are "
                f"{len(given.headers)} headers: {list(row)}"
            )
    caption = f"<strong>{text(given.title)}</strong> {text(given.caption)}".strip()
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in given.headers)
    body = "".join(
        f'<tr><th scope="row">{_linked(row[0], pages or {})}</th>'
        + "".join(f"<td{_aligned(value)}>{cell(value)}</td>" for value in row[1:])
        + "</tr>\n"
        for row in given.rows
    )
    # Wide tables scroll by themselves, so the keyboard has to be able to reach them.
    return (
        '<div class="scroll" role="region" tabindex="0" '
        f'aria-label="{text(given.title)}">'
        f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead>\n"
        f"<tbody>{body}</tbody></table></div>\n"
    )


def _linked(name: str, pages: Mapping[str, str]) -> str:
    return f'<a href="#{pages[name]}">{cell(name)}</a>' if name in pages else cell(name)


def _aligned(value: str) -> str:
    return ' class="number"' if NUMBER.match(value.strip("* ")) else ""


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
