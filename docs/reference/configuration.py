"""Writes `configuration.md`: the meaning, value and range of each configuration key.

python -m docs.reference.configuration

Input: `configs/*.py`, whose comments describe the keys, and `mtl_jax/core/config.py`.
Output: the page beside this file.
"""

import importlib
import pathlib
import re

from mtl_jax.configs import common
from mtl_jax.core import config as core_config

FOLDER = pathlib.Path(__file__).parent
CONFIGS = FOLDER.parents[1] / "configs"
HEAD = """# The keys of a configuration

`python -m docs.reference.configuration` writes this page from `configs/common.py` and
`mtl_jax/core/config.py`; a test checks that it is up to date.

Set a value on the command line as `--config.KEY=VALUE`. An unknown key, or a value that
the third column does not allow, is an error before anything runs. A run that is resumed
must have the values that it started with, except for keys marked in the fourth column.

| key | default | allowed values | may change | meaning |
|---|---|---|---|---|
"""


def comments() -> dict[str, str]:
    """The comment above each key in `configs/common.py`, by key.

    Raises:
        ValueError: a key has no comment.
    """
    lines = (CONFIGS / "common.py").read_text(encoding="utf-8").split("\n")
    by_key, comment = {}, ""
    for line in lines[lines.index("def get_config() -> ml_collections.ConfigDict:") :]:
        code = line.strip()
        if code.startswith("#"):
            comment += f" {code[1:].strip()}"
        elif "= ml_collections.ConfigDict()" in code:
            comment = ""
        elif match := re.match(r"(\w+)\.(\w+) = ", code):
            key = match[2] if match[1] == "config" else f"{match[1]}.{match[2]}"
            if not comment:
                raise ValueError(
                    f"configs/common.py: {key} has no comment; add a line above it "
                    "that says what it does"
                )
            by_key[key], comment = comment.strip(), ""
    return by_key


def show(value: object) -> str:
    """A value as it is typed in Python; a list stands for a tuple."""
    return f"`{tuple(value) if isinstance(value, list) else value!r}`"


def page() -> str:
    """The text of the page."""
    shared = core_config.flatten(common.get_config())
    meanings = comments()
    rows = []
    for key, rule in core_config.KEYS.items():
        may_change = "" if rule.shapes_training else "yes"
        name, default = f"`{key}`", show(shared[key])
        cells = (name, default, rule.expected, may_change, meanings[key])
        rows.append(f"| {' | '.join(cells)} |")
    text = HEAD + "\n".join(rows) + "\n"
    for path in sorted(CONFIGS.glob("*.py")):
        if path.stem in ("__init__", "common"):
            continue
        module = importlib.import_module(f"mtl_jax.configs.{path.stem}")
        own = core_config.flatten(module.get_config())
        changed = [f"`{k}` {show(v)}" for k, v in own.items() if v != shared[k]]
        values = "; ".join(changed) or "no key: all defaults above apply"
        text += f"\n`configs/{path.name}` sets {values}.\n"
    return text


if __name__ == "__main__":
    (FOLDER / "configuration.md").write_text(page(), encoding="utf-8")
