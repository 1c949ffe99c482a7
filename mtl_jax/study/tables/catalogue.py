"""Builds all tables of a study, in the form of the paper's tables.

Input: the measures of a study, and its pairs of roles. Output: tables as data, which
report/render writes. docs/reference/tables.md explains every column.
"""

from collections.abc import Sequence

from mtl_jax.core import roles
from mtl_jax.metrics import openkbp
from mtl_jax.report import render
from mtl_jax.study import published
from mtl_jax.study.tables import (
    contour_tables,
    dose_tables,
    goal_tables,
    measures,
    pair_tables,
    patient_tables,
    score_tables,
    significance,
    target_tables,
)


def build(
    study: measures.Study, compared: Sequence[pair_tables.Compared], *, seed: int
) -> list[render.Table]:
    """Build the tables that the study has values for; roles may be missing.

    Args:
        study: the measures of all methods.
        compared: the pairs of roles (pair_tables.compare).
        seed: seed of the bootstrap.
    """
    pairs = [pair_tables.table(study, compared)] if compared else []
    return [
        *_dose(study, seed),
        *_contours(study, seed),
        *_scores(study, seed),
        *pairs,
        *target_tables.tables(study),
        *patient_tables.tables(study),
        *goal_tables.tables(study),
    ]


def _dose(study: measures.Study, seed: int) -> list[render.Table]:
    keys, others = dose_tables.keys_of_table(study), dose_tables.keys_of_others(study)
    paper = published.load().table(study.site.name, "dvh")
    name = f"table{paper.number}" if paper else "dvh"
    number = f"Table {paper.number}: " if paper else ""
    made = []
    rival, base = (roles.playing(part, "dose") for part in ("rival", "base"))
    families = _families(study, keys, (rival, base), seed)
    if keys:
        made.append(
            dose_tables.table(
                study,
                keys,
                name=name,
                title=f"{number}DVH-MAE, error of dose-volume metrics",
                family=next((f for f in families if f.against.name == rival), None),
                paper=None if study.generated else paper,
            )
        )
    for family in families:
        against = family.against
        beside = "" if against.name == rival else " (not in the paper)"
        made.append(
            significance.table(
                f"{name}-tests-{against.name}",
                f"{number}tests of Multi-Automated against {against.label}{beside}",
                [family],
                {key: (key.structure, key.metric) for key in keys},
                [
                    f"{study.cohort}.",
                    *significance.definitions(family, of="the DVH error"),
                ],
            )
        )
    if others:
        made.append(
            dose_tables.table(
                study,
                others,
                name=f"{name}-others",
                title="Errors of the other dose-volume metrics (not in the paper)",
                family=None,
                paper=None,
                averages=False,
            )
        )
    return made


def _families(
    study: measures.Study,
    keys: Sequence[measures.Key],
    against: Sequence[str],
    seed: int,
) -> list[significance.Family]:
    """Multi-Automated against each of the roles that was run."""
    multi = study.proposed
    if multi is None or not keys:
        return []
    return [
        significance.family(keys, multi, study.models[name], seed=seed)
        for name in against
        if name in study.models
    ]


def _contours(study: measures.Study, seed: int) -> list[render.Table]:
    metrics = contour_tables.metrics_of(study)
    if not metrics:
        return []
    paper = published.load().table(study.site.name, "dice")
    name = f"table{paper.number}" if paper else "contours"
    number = f"Table {paper.number}: " if paper else ""
    rival = roles.playing("rival", "contours")
    families = [
        family
        for metric in metrics
        for family in _families(
            study, contour_tables.keys_of(study, metric), (rival,), seed
        )
    ]
    main = [metric for metric in metrics if metric in contour_tables.PAPER_METRICS]
    others = [metric for metric in metrics if metric not in main]
    made = []
    for suffix, chosen, title in (
        ("", main, f"{number}agreement of contours"),
        ("-others", others, "Other contour metrics (not in the paper)"),
    ):
        if chosen:
            made.append(
                contour_tables.table(
                    study,
                    chosen,
                    name=name + suffix,
                    title=title,
                    families=families,
                    paper=not (suffix or study.generated),
                )
            )
    if families:
        title = f"{number}tests of Multi-Automated against DL-Baseline"
        made.append(_contour_tests(study, families, f"{name}-tests-contour", title))
    for variant in contour_tables.variants_of(study):
        made.append(
            contour_tables.table(
                study,
                contour_tables.metrics_of(study, variant),
                name=f"{name}-{variant}",
                title=f"Agreement of contours, variant {variant} (not in the paper)",
                variant=variant,
            )
        )
    return made


def _contour_tests(
    study: measures.Study,
    families: Sequence[significance.Family],
    name: str,
    title: str,
) -> render.Table:
    labels = {
        key: (key.structure, contour_tables.metric_title(key.metric))
        for family in families
        for key in family.results
    }
    error = "the error (1 - Dice, or the distance)"
    return significance.table(
        name,
        title,
        families,
        labels,
        [
            f"{study.cohort}.",
            "The p-values of each metric are corrected for the rows of that metric.",
            *significance.definitions(families[0], of=error),
        ],
    )


def _scores(study: measures.Study, seed: int) -> list[render.Table]:
    models = [m for m in study.doing("dose") if score_tables.DOSE in m.keys]
    if not models:
        return []
    name, title, score = "dose", "Error of the dose in the whole patient", "Dose error"
    if openkbp.applies(study.site):
        name, title, score = "openkbp", "Official OpenKBP scores", "Dose score"
    made = [score_tables.table(study, name=name, title=title)]
    pairs = [(m, y) for m in models for y in study.yardsticks_with([score_tables.DOSE])]
    tested = [
        significance.family(
            [score_tables.DOSE], *pair, seed=seed, comparisons=len(pairs)
        )
        for pair in pairs
    ]
    if tested:
        made.append(
            significance.table(
                f"{name}-tests",
                f"{score}: tests against the yardsticks (not in the paper)",
                tested,
                {score_tables.DOSE: ("whole patient", "dose error")},
                [
                    f"{study.cohort}.",
                    *significance.definitions(tested[0], of="the dose error"),
                ],
            )
        )
    return made
