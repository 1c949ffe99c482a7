"""The page on odd DICOM cases: what each is, what is expected, and what was seen."""

import collections
import pathlib
from collections.abc import Mapping

from tests.odd_cases import expect, outcome, table

PAGE = pathlib.Path(__file__).parents[2] / "docs/reference/odd-dicom-cases.md"
KINDS = {
    expect.RIGHT: "right, without a note",
    expect.NOTED: "right, and told in a note",
    expect.REFUSED: "refused, and clearly",
    outcome.WRONG: "wrong",
}
HEAD = """\
# Odd DICOM patients, and what the reader does

{total} folders of DICOM-RT, each odd in one way, valid or broken, and what the reader
of `mtl_jax` makes of them. They are written with pydicom alone, with no code of the
package. CT, structures and dose are functions of the place in the patient (a body with
a gradient, ellipses and boxes, a dose that is linear), so the true value of each of the
10 × 24 × 32 voxels is known.

{counts}

A case is *right* if all voxels of the CT, of each structure and of the dose are true
and nothing is said; *noted* if they are true and a note says what is odd; *refused* if
an error says what is wrong, and where. Everything else is *wrong*: a difference, also
one that a note tells of; another exception; an error or a note of other words; a part
of the patient's name, id, birth date, UIDs or path in a message; more than
{seconds:.0f} seconds.

`python -m tests.odd_cases` writes this page, and the test suite runs the same cases.
Numbers in the column "about" are those of the [traps](dicom-traps.md), where *identity*
and *time* have paragraphs of their own; `tests/odd_cases/table.py` leads to each case's
code.
"""


def text(outcomes: Mapping[tuple[str, str], outcome.Outcome]) -> str:
    """The page, of the outcome of each case by group and name."""
    counts = collections.Counter(seen.kind for seen in outcomes.values())
    lines = ["| outcome | cases |", "|---|---|"]
    lines += [f"| {words} | {counts[kind]} |" for kind, words in KINDS.items()]
    head = HEAD.format(
        total=len(outcomes), counts="\n".join(lines), seconds=outcome.SECONDS
    )
    sections = [_section(group, outcomes) for group in table.GROUPS]
    return "\n".join([head, *sections])


def _section(group: str, outcomes: Mapping[tuple[str, str], outcome.Outcome]) -> str:
    lines = [
        f"## {group}\n",
        "| what is odd | about | expected | seen | what the reader says |",
        "|---|---|---|---|---|",
    ]
    for name, case in table.GROUPS[group].items():
        seen = outcomes[group, name]
        kind = f"{seen.kind}: {seen.reason}" if seen.reason else seen.kind
        cells = (name, case.about, case.expected, kind, seen.said)
        lines.append(f"| {' | '.join(escaped(cell) for cell in cells)} |")
    return "\n".join(lines) + "\n"


def escaped(words: str) -> str:
    """`words` for a cell: nothing in them is a sign of Markdown."""
    for sign in ("\\", "|", "*", "_", "<", "[", "~", "`"):
        words = words.replace(sign, f"\\{sign}")
    return words
