"""The rows of several methods, gathered for tables: means, spreads, errors by patient.

In: evaluation rows by role (several seeds each) and by yardstick. Out: a Measure for
each method and quantity. Patients are the unit; nothing depends on their order.
"""

import dataclasses
import functools
import itertools
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from mtl_jax.core import errors, roles, sites
from mtl_jax.evaluation import scoring
from mtl_jax.metrics import contour_metrics, openkbp

Rows = Sequence[scoring.Row]


@dataclasses.dataclass(frozen=True)
class Key:
    """What is measured: a metric of a structure ("" for the whole patient)."""

    structure: str
    metric: str
    variant: str = ""


@dataclasses.dataclass(frozen=True)
class Measure:
    """One quantity of one method.

    `by_patient` averages a patient over the seeds; patients without a value are not in
    it. `seed_means` are means over the patients, a seed each.
    """

    by_patient: dict[str, float]
    seed_means: tuple[float, ...]
    missed: int = 0  # structures not drawn, over all seeds
    false_positive: int = 0  # drawn where the reference is empty, over all seeds
    cells: int = 0  # values pooled, in one seed

    @property
    def n(self) -> int:
        """Patients with a value."""
        return len(self.by_patient)

    @property
    def mean(self) -> float:
        """Mean of the seeds' means; NaN without a patient."""
        return float(np.mean(self.seed_means)) if self.seed_means else math.nan

    @property
    def spread(self) -> float:
        """Standard deviation over the seeds, or over the patients of a single seed."""
        values = self.seed_means
        if len(values) == 1:
            values = [self.by_patient[who] for who in sorted(self.by_patient)]
        return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


@dataclasses.dataclass(frozen=True, eq=False)
class Method:
    """A role or a yardstick, with its rows of each seed."""

    name: str
    label: str
    seeds: tuple[dict[Key, tuple[scoring.Row, ...]], ...]

    @classmethod
    def of(cls, name: str, label: str, seeds: Sequence[Rows]) -> "Method":
        return cls(name, label, tuple(_by_key(name, rows) for rows in seeds))

    @functools.cached_property
    def keys(self) -> frozenset[Key]:
        """What has a value in some patient."""
        return frozenset(
            key
            for seed in self.seeds
            for key, rows in seed.items()
            if not all(math.isnan(row.error) for row in rows)
        )

    def unit(self, key: Key) -> str:
        """The unit of `key`; "" where the method has none of it."""
        return next((seed[key][0].unit for seed in self.seeds if key in seed), "")

    def measure(
        self, key: Key, of: Literal["error", "prediction"] = "error"
    ) -> Measure:
        """`key`'s errors, or its predicted values (Dice, distances)."""
        notes = [row.note for seed in self.seeds for row in seed.get(key, ())]
        by_seed = [
            {row.patient: getattr(row, of) for row in seed.get(key, ())}
            for seed in self.seeds
        ]
        return dataclasses.replace(
            _measure(by_seed),
            missed=notes.count(contour_metrics.MISSED),
            false_positive=notes.count(contour_metrics.FALSE_POSITIVE),
        )

    def official_dvh(self, site: sites.Site, variant: str = "") -> Measure:
        """The challenge's DVH score; by patient, the mean of the patient's cells.

        A metric that was added to the report does not enter the score.
        """
        by_seed, means, cells = [], [], 0
        for seed in self.seeds:
            values: dict[str, list[float]] = defaultdict(list)
            for key in sorted(seed, key=dataclasses.astuple):
                if key.variant == variant and _official(key, site):
                    for row in seed[key]:
                        if not math.isnan(row.error):
                            values[row.patient].append(row.error)
            pooled = [error for who in sorted(values) for error in values[who]]
            by_seed.append({who: float(np.mean(each)) for who, each in values.items()})
            if pooled:
                means.append(openkbp.dvh_score(pooled))
                cells = max(cells, len(pooled))
        measure = _measure(by_seed)
        return dataclasses.replace(measure, seed_means=tuple(means), cells=cells)


def _official(key: Key, site: sites.Site) -> bool:
    if not openkbp.applies(site) or key.structure not in site.names:
        return False
    return key.metric in openkbp.dvh_names(site.structure(key.structure))


def _by_key(name: str, rows: Rows) -> dict[Key, tuple[scoring.Row, ...]]:
    """`rows` by key, each in the order of the patients."""
    found: dict[Key, list[scoring.Row]] = defaultdict(list)
    for row in rows:
        found[Key(row.structure, row.metric, row.variant)].append(row)
    for key, several in found.items():
        several.sort(key=lambda row: row.patient)
        for row, following in itertools.pairwise(several):
            if row.patient == following.patient:
                raise errors.RecordError(
                    f"{name}: patient {row.patient} has {key.metric} of "
                    f"{key.structure or 'the whole patient'} twice; hand in each "
                    "seed's rows on their own"
                )
    return {key: tuple(several) for key, several in found.items()}


def _measure(by_seed: Iterable[Mapping[str, float]]) -> Measure:
    values: dict[str, list[float]] = defaultdict(list)
    means = []
    for seed in by_seed:
        known = {who: seed[who] for who in sorted(seed) if not math.isnan(seed[who])}
        for who, value in known.items():
            values[who].append(value)
        if known:
            means.append(float(np.mean(list(known.values()))))
    by_patient = {who: float(np.mean(values[who])) for who in sorted(values)}
    return Measure(by_patient, tuple(means))


@dataclasses.dataclass(frozen=True)
class Study:
    """All that tables are made of."""

    site: sites.Site
    cohort: str  # whose patients, in words, for captions
    dose_table: tuple[tuple[str, str], ...]  # its rows: structure and metric
    models: dict[str, Method]  # by role, in the order of core/roles
    yardsticks: tuple[Method, ...]

    @classmethod
    def of(
        cls,
        results: Mapping[str, Sequence[Rows]],
        yardsticks: Mapping[str, Rows],
        *,
        site: sites.Site,
        cohort: str,
        dose_table: Mapping[str, Sequence[str]] | None = None,
    ) -> "Study":
        """Gather rows by role (a list of seeds each) and by yardstick.

        Args:
            results: evaluation rows by role, each seed's on their own.
            yardsticks: evaluation rows by the yardstick's name.
            site: where structures, their order and their TG-263 names come from.
            cohort: whose patients these are, in words, for captions.
            dose_table: metrics by structure that make the rows of the dose table, in
                this order (core/reported_metrics); None: the site's own.

        Raises:
            ConfigError: a role that does not exist.
            RecordError: a patient twice in one seed.
        """
        for name in results:
            if name not in roles.ROLES:
                raise errors.ConfigError(
                    f"unknown role {name!r}{errors.nearest(name, roles.ROLES)}"
                )
        rows = site.dose_table
        if dose_table is not None:
            rows = tuple((name, m) for name, ms in dose_table.items() for m in ms)
        return cls(
            site=site,
            cohort=cohort,
            dose_table=rows,
            models={
                name: Method.of(name, label(name), results[name])
                for name in roles.ROLES
                if name in results
            },
            yardsticks=tuple(
                Method.of(name, name, [rows]) for name, rows in yardsticks.items()
            ),
        )

    @property
    def proposed(self) -> Method | None:
        """The paper's method, if it was run."""
        return self.models.get(roles.playing("proposed", "dose"))

    def doing(self, task: roles.Task) -> list[Method]:
        """The models that predict `task`."""
        return [
            method
            for name, method in self.models.items()
            if task in roles.ROLES[name].tasks
        ]

    def yardsticks_with(self, keys: Iterable[Key]) -> list[Method]:
        """The yardsticks that have some of `keys`."""
        wanted = set(keys)
        return [one for one in self.yardsticks if wanted & one.keys]

    def keys(self, methods: Iterable[Method]) -> list[Key]:
        """What has a value in some of `methods`, in the order of the paper's rows."""
        order = {name: at for at, name in enumerate(("", *self.site.contoured))}
        for name in self.site.names:
            order.setdefault(name, len(order))
        found = {key for method in methods for key in method.keys}
        return sorted(
            found,
            key=lambda key: (
                order.get(key.structure, len(order)),
                key.structure,
                _metric_order(key.metric),
                key.variant,
            ),
        )


def label(role: str) -> str:
    """A role as tables call it."""
    return roles.ROLES[role].paper_name or f"{role} (not in the paper)"


def shown_metric(metric: str) -> str:
    """A metric without its dialect: `exact:V_30Gy` is V_30Gy."""
    return metric.rpartition(":")[2]


def _metric_order(metric: str) -> tuple[int, float, str]:
    """Doses to volumes, doses to percentages, volumes, mean dose; then the name."""
    found = re.fullmatch(r"([DV])_([\d.]+)(\w*)", shown_metric(metric))
    if not found:
        return (3, 0.0, metric)
    kind, number, unit = found.groups()
    rank = 2 if kind == "V" else int(unit != "cc")
    return (rank, float(number), metric)
