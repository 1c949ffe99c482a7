"""Writes `configuration.md` beside it, from the code: what each key is and may hold.

python -m docs.reference.configuration
"""

import importlib
import pathlib
import re

from configs import common
from mtl_jax.core import config as core_config

FOLDER = pathlib.Path(__file__).parent
CONFIGS = FOLDER.parents[1] / "configs"
HEAD = """# The keys of a configuration

Written from `configs/common.py` and `mtl_jax/core/config.py` by
`python -m docs.reference.configuration`; a test compares.

Give a value on the command line as `--config.KEY=VALUE`. An unknown key, or a value of
another kind than the third column's, is refused before anything runs. A run that is
started again goes on only with the values that it began with, but for those that the
fourth column lets go.

| key | value | may be | may change | what |
|---|---|---|---|---|
"""


def comments() -> dict[str, str]:
    """What `configs/common.py` says above each key; "as above" where keys share it."""
    lines = (CONFIGS / "common.py").read_text(encoding="utf-8").split("\n")
    found, comment = {}, ""
    for line in lines[lines.index("def get_config() -> ml_collections.ConfigDict:") :]:
        code = line.strip()
        if code.startswith("#"):
            comment += f" {code[1:].strip()}"
        elif "= ml_collections.ConfigDict()" in code:
            comment = ""
        elif match := re.match(r"(\w+)\.(\w+) = ", code):
            section = "" if match[1] == "config" else f"{match[1]}."
            found[section + match[2]] = comment.strip() or "as above"
            comment = ""
    return found


def show(value: object) -> str:
    """A value as it would be typed."""
    values = value if isinstance(value, list) else [value]
    text = ", ".join(f"{item!r}" for item in values)
    return f"`({text})`" if isinstance(value, list) else f"`{text}`"


def page() -> str:
    """The whole page."""
    shared = core_config.flatten(common.get_config())
    what = comments()
    rows = []
    for key, rule in core_config.KEYS.items():
        free = "" if rule.shapes_training else "yes"
        cells = (f"`{key}`", show(shared[key]), rule.expected, free, what[key])
        rows.append(f"| {' | '.join(cells)} |")
    text = HEAD + "\n".join(rows) + "\n"
    for path in sorted(CONFIGS.glob("*.py")):
        if path.stem in ("__init__", "common"):
            continue
        module = importlib.import_module(f"configs.{path.stem}")
        own = core_config.flatten(module.get_config())
        changed = [f"`{k}` {show(v)}" for k, v in own.items() if v != shared[k]]
        values = "; ".join(changed) or "nothing: it is the table above"
        text += f"\n`configs/{path.name}` sets {values}.\n"
    return text


if __name__ == "__main__":
    (FOLDER / "configuration.md").write_text(page(), encoding="utf-8")
