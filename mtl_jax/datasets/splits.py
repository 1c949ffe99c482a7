"""Splits and cohorts: which patients of a source a data set takes."""

from collections.abc import Mapping

from mtl_jax.core import errors, sites

SPLITS = ("train", "validation", "test")
# "paper" takes the test patients that have every structure the paper contours (78 of
# OpenKBP's 100), and train and validation whole; "official" takes everyone.
COHORTS = ("paper", "official")


def select(
    cohort: str, split: str, contoured: Mapping[str, tuple[str, ...]], site: sites.Site
) -> tuple[str, ...]:
    """The patients of `split` in `cohort`, in the order of `contoured`.

    `contoured` holds the structures that each patient of the split has. DatasetError if
    no patient is left.
    """
    if cohort not in COHORTS:
        raise errors.DatasetError(
            f"unknown cohort {cohort!r}{errors.nearest(cohort, COHORTS)}; "
            f"cohorts: {', '.join(COHORTS)}"
        )
    if not contoured:
        raise errors.DatasetError(
            f"the source has no {split} patients; a data set needs all of "
            f"{', '.join(SPLITS)}: add patients to that split"
        )
    if cohort != "paper" or split != "test":
        return tuple(contoured)
    chosen = tuple(
        patient for patient, names in contoured.items() if {*site.contoured} <= {*names}
    )
    if not chosen:
        raise errors.DatasetError(
            f"none of the {len(contoured)} test patients has all of "
            f"{', '.join(site.contoured)}, as cohort 'paper' asks; use 'official'"
        )
    return chosen
