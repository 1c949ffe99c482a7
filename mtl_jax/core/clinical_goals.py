"""Clinical goals of a site: limits of DVH metrics that a plan should keep.

Input: `goals/<site>.toml`, each goal with its source. Output: Goals, or a ConfigError
that says what is wrong in a file. A site without a file has no goals.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mtl_jax.core import documents, errors, metric_names, sites

FOLDER = Path(__file__).with_name("goals")
KEYS = ("structure", "metric", "source")


@dataclasses.dataclass(frozen=True)
class _Limit:
    sign: str
    keeps: Callable[[float, float], bool]  # the value, the limit


LIMITS = {
    "at_most": _Limit("≤", lambda value, limit: value <= limit),
    "below": _Limit("<", lambda value, limit: value < limit),
    "at_least": _Limit("≥", lambda value, limit: value >= limit),
}


@dataclasses.dataclass(frozen=True)
class Goal:
    """A limit of a DVH metric of a structure."""

    structure: str
    metric: str  # with its dialect
    kind: str  # of LIMITS
    limit: float  # in the metric's unit
    source: str

    def met(self, value: float) -> bool:
        """Whether a plan with this value of the metric meets the goal."""
        return LIMITS[self.kind].keeps(value, self.limit)

    @property
    def text(self) -> str:
        """Such as `D_0.1cc ≤ 50 Gy`."""
        metric = metric_names.parse(self.metric, "dvh")
        name = self.metric.rpartition(":")[2]
        return f"{name} {LIMITS[self.kind].sign} {self.limit:g} {metric.unit}"


@functools.cache
def of_site(name: str) -> tuple[Goal, ...]:
    """The goals of the built-in site called `name`; none for another one."""
    path = FOLDER / f"{name}.toml"
    if name not in sites.SITES or not path.exists():
        return ()
    return read(path, sites.get(name))


def read(path: Path, site: sites.Site) -> tuple[Goal, ...]:
    """The goals in the file at `path`, in its order.

    Raises:
        ConfigError: it names the file, the goal and what is wrong.
    """
    try:
        content = documents.read(path, documents.TOML_OR_YAML, "sources, goals")
        sources = content.get("sources", {})
        return tuple(
            _goal(number, values, sources, site)
            for number, values in enumerate(content.get("goals", ()), 1)
        )
    except errors.ConfigError as error:
        raise errors.ConfigError(f"goals file {path}: {error}") from None


def _goal(
    number: int, values: Mapping[str, Any], sources: Mapping[str, str], site: sites.Site
) -> Goal:
    kinds = [key for key in LIMITS if key in values]
    unknown = sorted(set(values) - {*KEYS, *LIMITS})
    if len(kinds) != 1 or unknown or not all(key in values for key in KEYS):
        raise errors.ConfigError(
            f"goal {number} has {', '.join(values)}: give {', '.join(KEYS)} and one of "
            f"{', '.join(LIMITS)}"
        )
    limit, source = values[kinds[0]], values["source"]
    if not isinstance(limit, int | float) or not math.isfinite(limit):
        raise errors.ConfigError(f"goal {number}: {kinds[0]} should be a number")
    if source not in sources:
        raise errors.ConfigError(
            f"goal {number}: source {source!r} is not in [sources]"
            f"{errors.nearest(str(source), sources)}"
        )
    try:
        metric_names.parse(values["metric"], "dvh")
        structure = site.structure(values["structure"]).name
    except errors.ConfigError as error:
        raise errors.ConfigError(f"goal {number}: {error}") from None
    return Goal(structure, values["metric"], kinds[0], float(limit), sources[source])
