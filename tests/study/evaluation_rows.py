"""Small cohorts of evaluation rows, and access to the cells of their tables."""

import math

from mtl_jax.core import sites
from mtl_jax.evaluation import scoring
from mtl_jax.study.tables import catalogue, measures, pair_tables

NAN = math.nan
PATIENTS = ("pt_1", "pt_2", "pt_3", "pt_4")
OARS = sites.OPENKBP.contoured


def dose_row(patient, structure, metric, error, variant="", unit="Gy", note=""):
    return scoring.Row(
        patient, structure, metric, unit, 10.0, 10.0 + error, error, note, variant
    )


def dice_row(patient, structure, value, note="", variant=""):
    return scoring.Row(
        patient, structure, "dice", "1", 1.0, value, 1 - value, note, variant
    )


def hd_row(patient, structure, value, note=""):
    return scoring.Row(patient, structure, "hd100", "mm", 0.0, value, value, note)


def dose_rows(scale, patients=PATIENTS):
    """Errors scale * (1, 2, 3, 4) for the patients; twice that for the mean dose."""
    return [
        dose_row(who, name, f"openkbp:{metric}", factor * scale * (1 + at))
        for at, who in enumerate(patients)
        for name in OARS
        for metric, factor in (("D_0.1cc", 1.0), ("D_mean", 2.0))
    ]


def contour_rows(dice, distance):
    return [
        row
        for at, who in enumerate(PATIENTS)
        for name in OARS
        for row in (
            dice_row(who, name, dice - 0.01 * at**2),
            hd_row(who, name, distance + at**2),
        )
    ]


def build(results, yardsticks=None, **more):
    settings = {"site": sites.OPENKBP, "cohort": "Four patients", "seed": 1}
    settings |= more
    seed = settings.pop("seed")
    study = measures.Study.of(results, yardsticks or {}, **settings)
    compared = pair_tables.compare(study, seed=seed)
    made = catalogue.build(study, compared, seed=seed)
    return {table.name: table for table in made}


def column(table, title):
    at = [column.title for column in table.columns].index(title)
    return [row[at] for row in table.rows]


def values(table, title):
    return [cell.value for cell in column(table, title)]
