"""Writes the table of `model-zoo.md`: the networks that come with the package.

python -m docs.reference.model_zoo

Input: `mtl_jax/zoo/*/network.json`. Output: the page beside this file, with the table
between its two marks.
"""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from mtl_jax.report import render
from mtl_jax.zoo import network_folder, packaged

PAGE = pathlib.Path(__file__).with_name("model-zoo.md")
BEGIN = "<!-- table: written by python -m docs.reference.model_zoo -->"
END = "<!-- end of the table -->"
NONE = "No network comes with this version yet."
FACTS = (
    *("name", "role", "parameters", "file", "trained on", "reached", "terms"),
    "SHA-256 of the file",
)


def page() -> str:
    """The text of the page, with the networks that are there."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def table() -> str:
    """A column for each network, in Markdown; a sentence if there is none."""
    names = packaged.names()
    if not names:
        return NONE
    described = [network_folder.describe(packaged.folder(name)) for name in names]
    head, *rows = zip(FACTS, *map(_cells, described), strict=True)
    rows = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cells(network: Mapping[str, Any]) -> Iterator[str]:
    name, escape = network["name"], render.markdown_escape
    yield f"`{name}`"
    yield f"`{network['role']}`"
    yield f"{network['parameters']:,}"
    yield f"{network['bytes'] / 1e6:.1f} MB"
    yield escape(packaged.trained_on(network))
    yield escape("; ".join(packaged.reached(network)))
    yield escape(network["licence"])
    yield f"`{network['digest'][:12]}...`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
