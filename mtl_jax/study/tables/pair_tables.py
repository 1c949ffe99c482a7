"""What one role gains over another: differences by structure, of all pairs of interest.

Input: the measures of a study. Output: families of comparisons, one for each pair and
quantity; a table of them, and the numbers of the figure.
"""

import dataclasses
from collections.abc import Iterator, Sequence

from mtl_jax.core import roles
from mtl_jax.figures import differences
from mtl_jax.report import render
from mtl_jax.study.tables import dose_tables, measures, score_tables, significance

WHOLE_PATIENT, ALL = "whole patient", "mean of the structures"


@dataclasses.dataclass(frozen=True)
class Quantity:
    """An error that is compared: of each structure, and of all together."""

    name: str
    title: str
    unit: str
    task: roles.Task
    keys: dict[str, tuple[measures.Key, ...]]  # by structure, or WHOLE_PATIENT or ALL


@dataclasses.dataclass(frozen=True)
class Compared:
    """One pair of roles, compared in one quantity."""

    quantity: Quantity
    family: significance.Family


def compare(study: measures.Study, *, seed: int) -> list[Compared]:
    """All pairs in all quantities that the study has values for."""
    made = []
    for quantity in _quantities(study):
        for method, against in _pairs(study, quantity.task):
            measured = {
                measures.Key(structure, quantity.name): (
                    method.mean_error(keys),
                    against.mean_error(keys),
                )
                for structure, keys in quantity.keys.items()
            }
            units = dict.fromkeys(measured, quantity.unit)
            family = significance.compare(method, against, measured, units, seed=seed)
            made.append(Compared(quantity, family))
    return made


def _pairs(
    study: measures.Study, task: roles.Task
) -> Iterator[tuple[measures.Method, measures.Method]]:
    """The proposed role against each other, and drawn against predicted contours.

    Roles that are told the targets are left out: a CT alone does not show them.
    """
    models = [
        model
        for model in study.doing(task)
        if not roles.ROLES[model.name].input.shows_targets
    ]
    proposed = [m for m in models if roles.ROLES[m.name].part == "proposed"]
    yield from ((ours, other) for ours in proposed for other in models if other != ours)
    drawn = [m for m in models if roles.ROLES[m.name].input.needs_rtstruct]
    predicted = [m for m in models if roles.ROLES[m.name].input.contoured_by]
    yield from ((ours, other) for ours in drawn for other in predicted)


def _quantities(study: measures.Study) -> Iterator[Quantity]:
    contoured = {key for model in study.doing("contours") for key in model.keys}
    for metric, title, unit in (
        ("dice", "1 - Dice", ""),
        ("hd95", "HD95", "mm"),
    ):
        keys = _by_structure(
            key
            for name in study.site.contoured
            if (key := measures.Key(name, metric)) in contoured
        )
        if keys:
            yield Quantity(metric, title, unit, "contours", keys)
    models = study.doing("dose")
    keys = _by_structure(
        key
        for key in dose_tables.keys_of_table(study)
        if any(model.unit(key) == "Gy" for model in models)
    )
    if any(score_tables.DOSE in model.keys for model in models):
        keys |= {WHOLE_PATIENT: (score_tables.DOSE,)}
    if keys:
        title = "dose: DVH error of a structure, dose error of the patient"
        yield Quantity("dose", title, "Gy", "dose", keys)


def _by_structure(
    keys: Iterator[measures.Key],
) -> dict[str, tuple[measures.Key, ...]]:
    """`keys` by structure, then all together."""
    known = tuple(keys)
    found: dict[str, tuple[measures.Key, ...]] = {}
    for key in known:
        found[key.structure] = (*found.get(key.structure, ()), key)
    return found | {ALL: known} if known else {}


def table(study: measures.Study, compared: Sequence[Compared]) -> render.Table:
    """The table of all comparisons."""
    labels = {
        key: (key.structure, each.quantity.title)
        for each in compared
        for key in each.family.results
    }
    return significance.table(
        "pairs",
        "What one role gains over another, by structure (not in the paper)",
        [each.family for each in compared],
        labels,
        [
            f"{study.cohort}.",
            "A structure's DVH error is the mean of its rows in Gy of the table of "
            "DVH metrics. The p-values are corrected for the rows of a pair and "
            "quantity.",
            *significance.definitions(compared[0].family, of="the error"),
        ],
    )


def panels(compared: Sequence[Compared]) -> list[differences.Panel]:
    """The same differences for the figure: one panel for each quantity."""
    by_quantity: dict[str, list[Compared]] = {}
    for each in compared:
        by_quantity.setdefault(each.quantity.name, []).append(each)
    return [
        differences.Panel(
            group[0].quantity.title,
            group[0].quantity.unit,
            tuple(group[0].quantity.keys),
            tuple(_series(each.family) for each in group),
        )
        for group in by_quantity.values()
    ]


def _series(family: significance.Family) -> differences.Series:
    results = family.results.values()
    return differences.Series(
        f"{family.method.label} against {family.against.label}",
        tuple(result.mean_difference for result in results),
        tuple(result.interval for result in results),
        tuple(
            result.verdict(family.comparisons) in ("better", "worse")
            for result in results
        ),
    )
