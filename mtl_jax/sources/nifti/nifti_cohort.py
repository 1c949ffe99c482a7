"""A NIfTI data set as patients by split.

Input: the manual_dir with `dataset.json` (see `layouts`), and beside it the optional
`mapping.yaml` and `splits.csv` of any cohort (see sources/clinical). Output: a
Location, which opens as a Cohort. Names of cases take the place of names of patients'
folders there, and leave it as pseudonyms only.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from mtl_jax.core import errors, records, sites
from mtl_jax.sources.clinical import patient_folders, split_assignment
from mtl_jax.sources.nifti import layouts, nifti_patient

INSTRUCTIONS = layouts.INSTRUCTIONS


@dataclasses.dataclass(frozen=True)
class Location(patient_folders.Location):
    """The path of a NIfTI data set; its images are not read yet."""

    @functools.cached_property
    def layout(self) -> layouts.Layout:
        """The cases and labels; a SourceError if dataset.json cannot be used."""
        return layouts.read(self.folder)

    @property
    def folders(self) -> tuple[str, ...]:
        """Names of the cases that have references: foreign text, not for messages."""
        names = (
            self.layout.cases if self.splits_file else layouts.splits_of(self.layout)
        )
        return tuple(sorted(names))

    @property
    def description(self) -> str:
        """For messages; without names."""
        return f"NIfTI of {len(self.folders)} patients, read for site {self.site.name}"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of that of the files and options, and of dataset.json."""
        described = (self.folder / layouts.FILE).read_bytes()
        parts = [super().fingerprint, hashlib.sha256(described).hexdigest()]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()

    def files(self, name: str) -> Iterator[Path]:
        """The files of the case `name`."""
        yield from self.layout.cases[name].files

    def raw(self, name: str, patient_id: str) -> nifti_patient.Raw:
        """The input of `nifti_patient.read_patient`."""
        return nifti_patient.Raw(
            self.layout.cases[name],
            patient_id,
            self.site,
            self.layout.labels,
            self.mapping,
            self.rules.options,
        )

    def draw(self, folders: Mapping[str, str]) -> dict[str, str]:
        """The layout's own splits; what they lack is drawn from the training cases.

        `folders` has the name of each id's case.
        """
        stated = layouts.splits_of(self.layout)
        by_id = {i: stated[name] for i, name in folders.items()}
        there = set(by_id.values())
        ratio = [
            share if split == "train" or split not in there else 0
            for split, share in zip(records.SPLITS, self.rules.split_ratio, strict=True)
        ]
        training = [i for i, split in by_id.items() if split == "train"]
        return by_id | split_assignment.draw(training, ratio, self.rules.split_seed)


def locate(
    folder: Path,
    site: sites.Site,
    rules: patient_folders.Rules = patient_folders.DEFAULT_RULES,
) -> Location | None:
    """The data set in `folder`; None if that is missing or empty.

    Raises:
        SourceError: its dataset.json is missing, or cannot be used.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        return None
    location = Location(folder.absolute(), site, rules)
    if not location.folders:
        raise errors.SourceError(f"no case has a label map; {INSTRUCTIONS}")
    return location
