"""Counts the patients of a data set, and checks that its splits are disjoint.

Input: a prepared data set. Output: counts and checks for the report. No patient may be
in two splits, under the same or another name.
"""

import dataclasses
import hashlib
import itertools
from collections import defaultdict

from tqdm import tqdm

from mtl_jax.core import errors
from mtl_jax.datasets import prepared
from mtl_jax.report import content


@dataclasses.dataclass(frozen=True)
class DatasetSummary:
    """The counts of a data set, and the results of its checks."""

    counts: dict[str, dict[str, int]]  # by split: patients, slices, each structure, ...
    checks: tuple[content.Check, ...]

    def require(self) -> "DatasetSummary":
        """Return this summary; DatasetError if a check failed."""
        if failed := [check for check in self.checks if check.passed is False]:
            raise errors.DatasetError(
                "the data set is not fit for a study: "
                + "; ".join(f"{check.name}: {check.detail}" for check in failed)
            )
        return self


def inspect(data: prepared.Prepared) -> DatasetSummary:
    """Count patients and structures, and compare the splits by name and by CT."""
    names = {
        name: {entry.patient_id for entry in split.patients}
        for name, split in data.splits.items()
    }
    images = {name: _digests(split) for name, split in data.splits.items()}
    return DatasetSummary(
        {name: _counts(split) for name, split in data.splits.items()},
        (
            _check_disjoint("no patient is in two splits", names),
            _check_disjoint("no CT is in two splits", images),
        ),
    )


def _counts(split: prepared.Split) -> dict[str, int]:
    counts = {
        "patients": len(split.patients),
        "slices": sum(entry.slices for entry in split.patients),
        "slices with a body": sum(int(entry.body.sum()) for entry in split.patients),
        "with a dose": sum(entry.has_dose for entry in split.patients),
        "with a possible-dose mask": sum(entry.has_mask for entry in split.patients),
    }
    for structure in split.site.names:
        counts[structure] = sum(structure in e.structures for e in split.patients)
    return counts


def _digests(split: prepared.Split) -> set[str]:
    """A digest of each patient's CT."""
    digests = set()
    for entry in tqdm(split.patients, desc=f"checking {split.name}", unit="pt"):
        digest = hashlib.sha256()
        for index in range(entry.start, entry.start + entry.slices):
            digest.update(split.source[index]["ct"].tobytes())
        digests.add(digest.hexdigest())
    return digests


def _check_disjoint(name: str, ids_by_split: dict[str, set[str]]) -> content.Check:
    shared: dict[str, int] = defaultdict(int)
    for first, second in itertools.combinations(ids_by_split, 2):
        count = len(ids_by_split[first] & ids_by_split[second])
        shared[f"{first} and {second}"] += count
    overlaps = [f"{count} in {pair}" for pair, count in shared.items() if count]
    sizes = ", ".join(f"{split} {len(ids)}" for split, ids in ids_by_split.items())
    return content.Check(name, not overlaps, "; ".join(overlaps) or sizes)
