"""Files that are written whole or not at all."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path to write to, which becomes `path` at the end; folders are made.

    After an error `path` is what it was, and nothing is left beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.tmp")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def json_digest(values: Mapping[str, Any]) -> str:
    """SHA-256 of values as JSON has them, names sorted."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
