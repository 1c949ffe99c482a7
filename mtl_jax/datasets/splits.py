"""The patients of each split of a data set, and the index of them in its metadata.

Input: a cohort's name and what each patient has. Output: the ids of each split; an
Index, to and from JSON.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtl_jax.core import errors, files, records, sites
from mtl_jax.datasets import examples

SPLITS = records.SPLITS
# "paper": all training and validation patients, and the test patients with every
# structure that the paper contours (78 of OpenKBP's 100). "official": all patients.
# "phantom": all generated patients, under a name of their own. "own": all patients of a
# user's cohort that can be read.
COHORTS = ("paper", "official", "phantom", "own")
INDEX_FORMAT = 1


def select(
    cohort: str, split: str, contoured: Mapping[str, tuple[str, ...]], site: sites.Site
) -> tuple[str, ...]:
    """The patients of `split` in `cohort`, in the order of `contoured`.

    `contoured` holds the structures that each patient of the split has.

    Raises:
        DatasetError: the cohort is unknown, or no patient is left.
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
            f"{', '.join(site.contoured)}, as cohort 'paper' requires; use 'official'"
        )
    return chosen


@dataclasses.dataclass(frozen=True)
class Origin:
    """What a data set was built from."""

    fingerprint: str  # SHA-256 of the source
    description: str  # for messages


@dataclasses.dataclass(frozen=True)
class Index:
    """A data set's metadata: what it was built from, and its patients by split."""

    site: sites.Site
    cohort: str
    origin: Origin
    fingerprint: str  # SHA-256 of all that is stored, whatever it was built from
    patients: dict[str, tuple[examples.PatientEntry, ...]]

    def to_json(self) -> dict[str, Any]:
        """Plain values for a metadata file, with a digest of them."""
        values = {
            "format": INDEX_FORMAT,
            "site": sites.to_json(self.site),
            "cohort": self.cohort,
            "origin": dataclasses.asdict(self.origin),
            "fingerprint": self.fingerprint,
            "patients": {
                split: [entry.to_json() for entry in entries]
                for split, entries in self.patients.items()
            },
        }
        return values | {"digest": files.json_digest(values)}

    @classmethod
    def of(cls, metadata: Mapping[str, Any] | None, path: Path) -> "Index":
        """What `to_json` wrote; a DatasetError if the data set in `path` lacks it."""
        index_format = metadata.get("format") if metadata else None
        if metadata is None or index_format != INDEX_FORMAT:
            raise errors.DatasetError(
                f"{path} holds no data set of mtl_jax (index format {index_format}, "
                f"expected {INDEX_FORMAT}); remove the directory and build the data "
                "set again"
            )
        values = dict(metadata)
        digest = values.pop("digest", None)  # data sets of earlier versions have none
        if digest not in (None, files.json_digest(values)):
            raise _damaged(path, "it does not match its digest")
        try:
            return cls._from_json(values, path)
        except (KeyError, TypeError, AttributeError, errors.ConfigError) as error:
            raise _damaged(path, f"{type(error).__name__}: {error}") from error

    @classmethod
    def _from_json(cls, values: Mapping[str, Any], path: Path) -> "Index":
        patients = {
            split: tuple(examples.PatientEntry.from_json(row) for row in rows)
            for split, rows in values["patients"].items()
        }
        for entries in patients.values():
            for entry in entries:
                if not records.is_id(entry.patient_id):
                    raise _damaged(path, f"{entry.patient_id!r} is not a patient id")
        return cls(
            site=sites.from_json(values["site"]),
            cohort=values["cohort"],
            origin=Origin(**values["origin"]),
            fingerprint=values["fingerprint"],
            patients=patients,
        )


def _damaged(path: Path, damage: str) -> errors.DatasetError:
    return errors.DatasetError(
        f"the index of the data set in {path} is damaged ({damage}); remove the "
        "directory and build the data set again"
    )
