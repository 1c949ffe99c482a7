"""The table of targets: coverage, homogeneity and conformity (not in the paper).

Input: the measures of a study. Output: a table with a row for each metric of a target,
with the values of the plan and of each prediction, and the errors.
"""

from mtl_jax.core import metric_names
from mtl_jax.report import render
from mtl_jax.study.tables import cells, measures


def tables(study: measures.Study) -> list[render.Table]:
    """The table, if some model has values for a target's metric."""
    keys = [key for key in study.keys(study.doing("dose")) if _is_of_target(key)]
    if not keys:
        return []
    models = [method for method in study.doing("dose") if method.keys & set(keys)]
    methods = [*models, *study.yardsticks_with(keys)]
    columns = [render.Column(name) for name in ("target", "metric", "unit", "n")]
    columns.append(render.Column("plan"))
    columns += [render.Column(m.label, "prediction") for m in methods]
    columns += [render.Column(m.label, "error") for m in methods]
    rows = []
    for key in keys:
        predicted = {m: m.measure(key, "prediction") for m in methods}
        rows.append(
            (
                render.Cell(key.structure),
                render.Cell(measures.shown_metric(key.metric)),
                render.Cell(models[0].unit(key)),
                cells.patients(predicted),
                cells.cell(models[0].measure(key, "reference")),
                *(cells.cell(measure) for measure in predicted.values()),
                *(cells.cell(m.measure(key)) for m in methods),
            )
        )
    caption = (
        f"{study.cohort}.",
        "Means over the n patients with this target. D_95 is in percent of the "
        "target's prescription; HI is (D_2 - D_98) / D_50, 0 for an even dose (ICRU "
        "report 83); CI is Paddick's conformity index, 1 if the prescribed isodose is "
        "the target (docs/reference/metrics.md). The error is |predicted - plan|.",
        *cells.spreads(methods),
    )
    return [
        render.Table(
            name="targets",
            title="Target coverage (not in the paper)",
            caption=caption,
            columns=tuple(columns),
            rows=tuple(rows),
        )
    ]


def _is_of_target(key: measures.Key) -> bool:
    found = metric_names.kind(key.metric, "dvh") if key.structure else ""
    return bool(found) and metric_names.FORMS[found].of_target and not key.variant
