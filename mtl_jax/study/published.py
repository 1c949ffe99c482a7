"""Published numbers: the tables of the paper, and OpenKBP scores of other networks.

Input: `published.toml`. Output: records to show next to our results, never to be merged
with them: cohorts and training differ. docs/explanation/the-papers-numbers.md lists
their inconsistencies.
"""

import dataclasses
import functools
import statistics
import tomllib
from collections.abc import Collection, Sequence
from importlib import resources
from typing import Any

DAGGER = "†"


@dataclasses.dataclass(frozen=True)
class Value:
    """A number as printed."""

    printed: str
    dagger: bool = False

    @classmethod
    def of(cls, text: str) -> "Value":
        """Parse a printed number, with or without a dagger."""
        return cls(text.removesuffix(DAGGER), text.endswith(DAGGER))

    @property
    def value(self) -> float:
        """The number itself."""
        return float(self.printed)


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table, with its values by role."""

    structure: str  # TG-263 name
    printed_structure: str
    metric: str  # without a dialect: D_mean, V_30Gy, dice, hausdorff
    values: dict[str, Value]


@dataclasses.dataclass(frozen=True)
class Table:
    """One of the paper's Tables 2 to 5."""

    number: int
    site: str
    patients: int
    against: str  # the role that daggers compare Multi-Automated with
    caption_p: str  # significance level in the caption
    roles: tuple[str, ...]
    rows: tuple[Row, ...]
    average: dict[str, dict[str, Value]]  # by metric ("dvh" for Tables 2, 3) and role
    relative_difference_percent: dict[str, Value]  # by role; none in Tables 4, 5

    def row(self, structure: str, metric: str) -> Row | None:
        """The row of a structure (TG-263 name) and metric; None if there is none."""
        for row in self.rows:
            if (row.structure, row.metric) == (structure, metric):
                return row
        return None

    def mean(self, role: str, metrics: Collection[str] | None = None) -> float:
        """The paper's average: the mean of a role's rows, all or those of `metrics`."""
        return statistics.fmean(
            row.values[role].value
            for row in self.rows
            if metrics is None or row.metric in metrics
        )


@dataclasses.dataclass(frozen=True)
class Claim:
    """An improvement stated in the paper's text."""

    site: str
    source: str
    improvement_percent: Value


@dataclasses.dataclass(frozen=True)
class Score:
    """Official OpenKBP scores of a published network, in Gy."""

    site: str
    name: str
    patients: int
    dose: Value
    dvh: Value
    inputs: str
    source: str


@dataclasses.dataclass(frozen=True)
class Published:
    """All of `published.toml`."""

    arxiv: str
    doi: str
    tables: tuple[Table, ...]
    claims: tuple[Claim, ...]
    scores: tuple[Score, ...]

    def table(self, site: str, metric: str) -> Table | None:
        """The site's table with an average of `metric`: dvh, dice or hausdorff."""
        for table in self.tables:
            if table.site == site and metric in table.average:
                return table
        return None

    def claim(self, site: str) -> Claim | None:
        """The improvement that the paper states for a site."""
        return next((claim for claim in self.claims if claim.site == site), None)


@functools.cache
def load() -> Published:
    """Read `published.toml` of this package."""
    file = resources.files("mtl_jax.study") / "published.toml"
    content = tomllib.loads(file.read_text(encoding="utf-8"))
    return Published(
        arxiv=content["paper"]["arxiv"],
        doi=content["paper"]["doi"],
        tables=tuple(_table(entry) for entry in content["table"]),
        claims=tuple(Claim(**_values(entry)) for entry in content["claim"]),
        scores=tuple(Score(**_values(entry)) for entry in content["score"]),
    )


def _values(entry: dict[str, Any]) -> dict[str, Any]:
    """`entry` with its printed numbers as Values."""
    numbers = ("dose", "dvh", "improvement_percent")
    return {k: Value.of(v) if k in numbers else v for k, v in entry.items()}


def _table(entry: dict[str, Any]) -> Table:
    roles = entry["roles"]

    def by_role(texts: Sequence[str]) -> dict[str, Value]:
        pairs = zip(roles, texts, strict=True)
        return {role: Value.of(text) for role, text in pairs if text}

    return Table(
        number=entry["number"],
        site=entry["site"],
        patients=entry["patients"],
        against=entry["against"],
        caption_p=entry["caption_p"],
        roles=tuple(roles),
        rows=tuple(
            Row(structure, printed, metric, by_role(texts))
            for structure, printed, metric, *texts in entry["rows"]
        ),
        average={k: by_role(texts) for k, texts in entry["average"].items()},
        relative_difference_percent=by_role(
            entry.get("relative_difference_percent", [""] * len(roles))
        ),
    )
