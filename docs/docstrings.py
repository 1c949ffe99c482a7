"""Docstrings as the site shows them: an extension of Griffe, which reads them.

The comment at a record's field says its units and axes: it becomes a row of a table of
attributes. Examples become blocks of code. `zensical.toml` names this file.
"""

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^>>> .*?(?=\n\n|\Z)", flags=re.M | re.S)


def as_code(docstring: str) -> str:
    """Its examples, which start with `>>>`, as blocks of code."""
    return EXAMPLE.sub(lambda found: f"```pycon\n{found[0]}\n```", docstring)


def comment(lines: list[str], first: int, last: int) -> str:
    """The comment at the end of lines `first` to `last` (from 1), else that above."""
    ends = [line.partition("  # ")[2] for line in lines[first - 1 : last]]
    if any(ends):
        return " ".join(filter(None, ends))
    above: list[str] = []
    for line in reversed(lines[: first - 1]):
        if not line.lstrip().startswith("# "):
            break
        above.insert(0, line.lstrip()[2:])
    return " ".join(above)


class Docstrings(griffe.Extension):
    """Fields with their comments, and examples as code."""

    def on_instance(self, *, obj: Any, **_: Any) -> None:
        """Mark the examples of `obj`."""
        if obj.docstring:
            obj.docstring.value = as_code(obj.docstring.value)

    def on_class_members(self, *, cls: Any, **_: Any) -> None:
        """Add a table of the class's fields to its docstring."""
        lines = cls.lines_collection[cls.filepath]
        rows = [
            f"    {field.name} ({field.annotation}): "
            + comment(lines, field.lineno, field.endlineno)
            for field in cls.attributes.values()
            if field.annotation is not None and "property" not in field.labels
        ]
        if rows and cls.docstring:
            cls.docstring.value += "\n\n" + "\n".join(["Attributes:", *rows])
