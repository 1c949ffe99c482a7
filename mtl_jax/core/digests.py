"""Plain values to a digest: the same ones have the same, whatever their order."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def of_json(values: Mapping[str, Any]) -> str:
    """SHA-256 of values as JSON has them, names sorted."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
