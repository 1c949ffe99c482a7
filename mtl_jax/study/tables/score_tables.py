"""The table of dose errors in the whole patient, of roles and yardsticks, in Gy.

For OpenKBP these are the challenge's official scores; another site has no DVH score.
Published scores are listed with a role whose input shows the targets (`informed`),
because those networks also see organs and targets, which a CT alone does not show.
"""

from collections.abc import Sequence

from mtl_jax.core import roles, sites
from mtl_jax.metrics import openkbp
from mtl_jax.report import render
from mtl_jax.study import published
from mtl_jax.study.tables import cells, measures

DOSE = measures.Key("", "dose_error")
MORE = (measures.Key("", "dose_mae_body"), measures.Key("", "dose_mae_5gy"))

OFFICIAL = (
    "The scores of the OpenKBP challenge (Babier et al. 2021); lower is better. Dose "
    "score: the absolute error summed over all voxels, divided by the number of voxels "
    "in the possible-dose mask; mean over the n patients. DVH score: mean absolute "
    "difference over all cells (patient, structure, metric); its ± is over the "
    "patients' means."
)
PLAIN = (
    "Dose error: the absolute error summed over all voxels, divided by the number of "
    "voxels in the possible-dose mask (in the grid for patients without a mask); mean "
    "over the n patients; lower is better."
)


def table(study: measures.Study, *, name: str, title: str) -> render.Table:
    """The table of roles that predict a dose, yardsticks and published networks."""
    models = [method for method in study.doing("dose") if DOSE in method.keys]
    yardsticks = study.yardsticks_with([DOSE])
    known = {key for method in (*models, *yardsticks) for key in method.keys}
    variants = sorted({key.variant for key in known if key.metric == DOSE.metric})
    more = [key for key in MORE if key in known]
    beside = _published_beside(study)
    rows = []
    for method in models:
        inputs = roles.ROLES[method.name].input.in_tables
        rows.append(_row(study, method, inputs, variants, more))
        if method.name == _informed(study):
            rows += [_published(score, variants, more) for score in beside]
    rules = (len(rows),) if yardsticks else ()
    rows += [_row(study, method, "no image", variants, more) for method in yardsticks]
    return render.Table(
        name=name,
        title=title,
        caption=tuple(_caption(study, [*models, *yardsticks], variants, more)),
        columns=tuple(_columns(study.site, variants, more)),
        rows=tuple(rows),
        rules=rules,
    )


def _informed(study: measures.Study) -> str | None:
    """The role to which published networks compare: its input shows the targets."""
    names = (name for name in study.models if roles.get(name).input.shows_targets)
    return next(names, None)


def _published_beside(study: measures.Study) -> list[published.Score]:
    """Published scores, if there is a role that they compare with."""
    if _informed(study) is None:
        return []
    return [score for score in published.load().scores if score.site == study.site.name]


def _columns(
    site: sites.Site, variants: Sequence[str], more: Sequence[measures.Key]
) -> list[render.Column]:
    official = openkbp.applies(site)
    columns = [render.Column(name) for name in ("method", "input", "n")]
    for variant in variants:
        group = variant.replace("_", " ") or "as configured"
        names = ("dose score", "DVH score") if official else ("dose error",)
        columns += [render.Column(f"{name}, Gy", group) for name in names]
    columns += [render.Column(f"{key.metric}, Gy") for key in more]
    return [*columns, render.Column("DVH cells")] if official else columns


def _row(
    study: measures.Study,
    method: measures.Method,
    inputs: str,
    variants: Sequence[str],
    more: Sequence[measures.Key],
) -> tuple[render.Cell, ...]:
    scores, pooled = [], []
    official = openkbp.applies(study.site)
    for variant in variants:
        scores.append(method.measure(measures.Key("", DOSE.metric, variant)))
        if official:
            scores.append(method.official_dvh(study.site, variant))
    scores += [method.measure(key) for key in more]
    if official:
        pooled.append(render.Cell(method.official_dvh(study.site).cells, form="d"))
    return (
        render.Cell(method.label),
        render.Cell(inputs),
        render.Cell(method.measure(DOSE).n, form="d"),
        *(cells.cell(score, note="not computed") for score in scores),
        *pooled,
    )


def _published(
    score: published.Score, variants: Sequence[str], more: Sequence[measures.Key]
) -> tuple[render.Cell, ...]:
    nothing = render.Cell(note="not published")
    return (
        render.Cell(f"published: {score.name}"),
        render.Cell(score.inputs),
        render.Cell(score.patients, form="d"),
        cells.printed(score.dose),
        cells.printed(score.dvh),
        *([nothing] * (2 * (len(variants) - 1) + len(more) + 1)),
    )


def _caption(
    study: measures.Study,
    methods: Sequence[measures.Method],
    variants: Sequence[str],
    more: Sequence[measures.Key],
) -> list[str]:
    definition = OFFICIAL if openkbp.applies(study.site) else PLAIN
    sentences = [f"{study.cohort}.", definition, *cells.spreads(methods)]
    if len(variants) > 1:
        sentences.append(
            "With the possible-dose mask, predicted dose outside it is removed before "
            "scoring; without the mask, it is kept and counts as error."
        )
    if more:
        names = ", ".join(key.metric for key in more)
        sentences.append(f"docs/reference/metrics.md defines {names}.")
    beside = _published_beside(study)
    if beside:
        sources = "; ".join(f"{score.name}: {score.source}" for score in beside)
        sentences.append(
            "Published scores refer to the challenge's own 100 test patients and to "
            "networks whose input includes organs and targets, so they are comparable "
            f"only with {_informed(study)}, and only on the same patients. {sources}."
        )
    if openkbp.applies(study.site):
        sentences.append(
            "A network that sees only the CT knows neither the prescription nor the "
            "targets, so its scores are not comparable with published ones."
        )
    return sentences
