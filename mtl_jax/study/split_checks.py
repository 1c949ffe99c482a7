"""Counts the patients of a data set, and checks that its splits are disjoint.

Input: a prepared data set. Output: counts and checks for the report. No patient may be
in two splits, under the same or another name.
"""

import dataclasses
import itertools

from tqdm import tqdm

from mtl_jax.core import command_line, errors
from mtl_jax.datasets import examples, prepared
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
    """The SHA-256 of each patient's CT: from the index, or from the slices without."""
    known = {entry.ct_sha256 for entry in split.patients if entry.ct_sha256}
    unknown = [entry for entry in split.patients if not entry.ct_sha256]
    hidden = not unknown or command_line.is_quiet()
    bar = tqdm(unknown, desc=f"checking {split.name}", unit="pt", disable=hidden)
    return known | {
        examples.hash_ct(
            split.source[index]["ct"]
            for index in range(entry.start, entry.start + entry.slices)
        )
        for entry in bar
    }


def _check_disjoint(name: str, ids_by_split: dict[str, set[str]]) -> content.Check:
    shared = {
        f"{first} and {second}": len(ids_by_split[first] & ids_by_split[second])
        for first, second in itertools.combinations(ids_by_split, 2)
    }
    overlaps = [f"{count} in {pair}" for pair, count in shared.items() if count]
    sizes = ", ".join(f"{split} {len(ids)}" for split, ids in ids_by_split.items())
    return content.Check(name, not overlaps, "; ".join(overlaps) or sizes)
