"""The numbers in tables: means, spreads, and errors by patient.

Input: evaluation rows by role (several seeds each) and by yardstick. Output: a Measure
for each method and quantity. Means are over patients; their order has no effect.
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
    """A quantity: a metric of a structure ("" for the whole patient)."""

    structure: str
    metric: str
    variant: str = ""


@dataclasses.dataclass(frozen=True)
class Measure:
    """One quantity of one method.

    `by_patient` has each patient's mean over the seeds, without patients that have no
    value. `seed_means` has the mean over the patients for each seed.
    """

    by_patient: dict[str, float]
    seed_means: tuple[float, ...]
    missed: int = 0  # structures without a predicted contour, over all seeds
    false_positive: int = 0  # predicted but empty in the reference, over all seeds
    cells: int = 0  # number of pooled values in one seed

    @property
    def n(self) -> int:
        """Patients with a value."""
        return len(self.by_patient)

    @property
    def mean(self) -> float:
        """The mean of the seeds' means; NaN without patients."""
        return float(np.mean(self.seed_means)) if self.seed_means else math.nan

    @property
    def spread(self) -> float:
        """Standard deviation over the seeds; with one seed, over its patients."""
        values = self.seed_means
        if len(values) == 1:
            values = [self.by_patient[name] for name in sorted(self.by_patient)]
        return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


@dataclasses.dataclass(frozen=True, eq=False)
class Method:
    """A role or a yardstick, with its rows of each seed."""

    name: str
    label: str
    seeds: tuple[dict[Key, tuple[scoring.Row, ...]], ...]

    @classmethod
    def of(cls, name: str, label: str, seeds: Sequence[Rows]) -> "Method":
        """A method from the evaluation rows of each seed."""
        return cls(name, label, tuple(_by_key(name, rows) for rows in seeds))

    @functools.cached_property
    def keys(self) -> frozenset[Key]:
        """The quantities with a value in some patient."""
        return frozenset(
            key
            for seed in self.seeds
            for key, rows in seed.items()
            if not all(math.isnan(row.error) for row in rows)
        )

    def unit(self, key: Key) -> str:
        """The unit of `key`; "" if the method has no such quantity."""
        return next((seed[key][0].unit for seed in self.seeds if key in seed), "")

    def measure(
        self, key: Key, of: Literal["error", "prediction", "reference"] = "error"
    ) -> Measure:
        """The errors of `key`, or its predicted or reference values."""
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

    def mean_error(self, keys: Sequence[Key]) -> Measure:
        """The mean of each patient's errors of `keys`, of those that it has."""
        by_seed = []
        for seed in self.seeds:
            values: dict[str, list[float]] = defaultdict(list)
            for key in keys:
                for row in seed.get(key, ()):
                    if not math.isnan(row.error):
                        values[row.patient].append(row.error)
            by_seed.append({name: float(np.mean(v)) for name, v in values.items()})
        return _measure(by_seed)

    def official_dvh(self, site: sites.Site, variant: str = "") -> Measure:
        """The challenge's DVH score; `by_patient` has the mean of a patient's cells.

        Metrics that the challenge does not have do not enter the score.
        """
        by_seed, means, cells = [], [], 0
        for seed in self.seeds:
            values: dict[str, list[float]] = defaultdict(list)
            for key in sorted(seed, key=dataclasses.astuple):
                if key.variant == variant and _official(key, site):
                    for row in seed[key]:
                        if not math.isnan(row.error):
                            values[row.patient].append(row.error)
            pooled = [error for name in sorted(values) for error in values[name]]
            by_seed.append({n: float(np.mean(each)) for n, each in values.items()})
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
    """`rows` by key, each sorted by patient."""
    by_key: dict[Key, list[scoring.Row]] = defaultdict(list)
    for row in rows:
        by_key[Key(row.structure, row.metric, row.variant)].append(row)
    for key, rows_of_key in by_key.items():
        rows_of_key.sort(key=lambda row: row.patient)
        for row, following in itertools.pairwise(rows_of_key):
            if row.patient == following.patient:
                raise errors.RecordError(
                    f"{name}: patient {row.patient} has {key.metric} of "
                    f"{key.structure or 'the whole patient'} twice; give "
                    "each seed's rows separately"
                )
    return {key: tuple(rows_of_key) for key, rows_of_key in by_key.items()}


def _measure(by_seed: Iterable[Mapping[str, float]]) -> Measure:
    values: dict[str, list[float]] = defaultdict(list)
    means = []
    for seed in by_seed:
        known = {name: seed[name] for name in sorted(seed)}
        known = {name: v for name, v in known.items() if not math.isnan(v)}
        for name, value in known.items():
            values[name].append(value)
        if known:
            means.append(float(np.mean(list(known.values()))))
    by_patient = {name: float(np.mean(values[name])) for name in sorted(values)}
    return Measure(by_patient, tuple(means))


@dataclasses.dataclass(frozen=True)
class Study:
    """The rows of all methods, from which the tables are made."""

    site: sites.Site
    cohort: str  # describes the patients, for captions
    generated: bool  # phantoms: the paper's values are not set beside theirs
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
        generated: bool = False,
        dose_table: Mapping[str, Sequence[str]] | None = None,
    ) -> "Study":
        """Collect rows by role (a list of seeds each) and by yardstick.

        Args:
            results: the evaluation rows of each seed, by role.
            yardsticks: evaluation rows by the yardstick's name.
            site: defines the structures, their order and their TG-263 names.
            cohort: describes the patients, for captions.
            generated: they are phantoms.
            dose_table: the rows of the dose table as metrics by structure, in this
                order (core/reported_metrics); None: the site's.

        Raises:
            ConfigError: an unknown role.
            RecordError: a patient is in one seed's rows twice.
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
            generated=generated,
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
        return [method for method in self.yardsticks if wanted & method.keys]

    def keys(self, methods: Iterable[Method]) -> list[Key]:
        """The keys with a value in some of `methods`, in the paper's order."""
        order = {name: i for i, name in enumerate(("", *self.site.contoured))}
        for name in self.site.names:
            order.setdefault(name, len(order))
        known = {key for method in methods for key in method.keys}
        return sorted(
            known,
            key=lambda key: (
                order.get(key.structure, len(order)),
                key.structure,
                _metric_order(key.metric),
                key.variant,
            ),
        )


def label(role: str) -> str:
    """The role's name in tables."""
    return roles.ROLES[role].paper_name or f"{role} (not in the paper)"


def shown_metric(metric: str) -> str:
    """A metric without its dialect: `exact:V_30Gy` is V_30Gy."""
    return metric.rpartition(":")[2]


def _metric_order(metric: str) -> tuple[int, float, str]:
    """Sort key: doses to cc, doses to percentages, volumes; then other metrics."""
    match = re.fullmatch(r"([DV])_([\d.]+)(\w*)", shown_metric(metric))
    if not match:
        return (3, 0.0, metric)
    kind, number, unit = match.groups()
    rank = 2 if kind == "V" else int(unit != "cc")
    return (rank, float(number), metric)
