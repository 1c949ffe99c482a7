"""The files of a benchmark that trains many runs, written anew after each of them.

Input: the rows so far, and their Markdown table. Output: `result.json` and `table.md`,
each whole or not at all.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mtl_jax.core import files


def write(out: Path, rows: Sequence[Mapping[str, Any]], table: str) -> None:
    """Write both files into the folder `out`."""
    for name, text in (
        ("result.json", json.dumps(rows, indent=1)),
        ("table.md", table),
    ):
        with files.whole(out / name) as partial:
            partial.write_text(text)
