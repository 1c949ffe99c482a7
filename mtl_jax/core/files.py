"""Writes files completely or not at all, and digests of plain values."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary path to write to, which is renamed to `path` at the end.

    Missing folders are made. After an error `path` is unchanged, and the temporary file
    is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.tmp")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def json_digest(values: Mapping[str, Any]) -> str:
    """SHA-256 of `values` as JSON with sorted names."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
