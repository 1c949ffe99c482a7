"""Prepared data sets: a directory of shards, opened for random access.

Input: a TFDS builder and the folder of its raw files, or the directory of a data set
that was built. Output: a Prepared, whose splits give slices and whole patients.
"""

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow_datasets as tfds

from mtl_jax.core import errors, note_kinds, records, sites
from mtl_jax.datasets import examples, splits

PatientEntry = examples.PatientEntry


class Source(Protocol):
    """Random access to the examples of a split."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> records.Example: ...


class Slices:
    """The examples of a split as they are stored."""

    def __init__(self, data_source: Any, path: Path) -> None:
        self._data_source = data_source
        self._path = path

    def __len__(self) -> int:
        return len(self._data_source)

    def __getitem__(self, index: int) -> records.Example:
        if not 0 <= index < len(self):
            raise IndexError(f"slice {index} of {len(self)}")
        try:
            example = self._data_source[index]
            example["patient"] = example["patient"].decode()
        except (RuntimeError, ValueError, KeyError) as error:
            # A checksum error of ArrayRecord, or TFDS's error for damaged features.
            raise _damaged(self._path, f"slice {index}: {error}") from error
        return example


@dataclasses.dataclass(frozen=True)
class Split:
    """One split: its slices, and the index of its patients."""

    name: str
    source: Source
    patients: tuple[PatientEntry, ...]  # in the order of their slices
    site: sites.Site

    def volume(self, index: int) -> records.Patient:
        """The whole patient at `index` of `patients`."""
        entry = self.patients[index]
        run = range(entry.start, entry.start + entry.slices)
        return examples.decode([self.source[i] for i in run], entry, self.site)

    def slice_indices(
        self, body_only: bool, leave_out: Collection[int] = ()
    ) -> np.ndarray:
        """Indices into `source`, int64: all, or those of slices with a body.

        `leave_out` are positions in `patients` whose slices are excluded.
        """
        selected = [
            (entry.body | (not body_only)) & (index not in leave_out)
            for index, entry in enumerate(self.patients)
        ]
        return np.flatnonzero(np.concatenate(selected)).astype(np.int64)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A data set that was built."""

    site: sites.Site
    splits: dict[str, Split]
    fingerprint: str  # SHA-256 of all that is stored
    origin: splits.Origin  # what it was built from
    path: Path

    def notes(self, kinds: Collection[str] = note_kinds.KINDS) -> list[str]:
        """How its patients were read, a line a kind of note; the heaviest first.

        Only notes of `kinds`.
        """
        patients = [entry for split in self.splits.values() for entry in split.patients]
        counts = note_kinds.counted([k for k, _ in entry.notes] for entry in patients)
        return [
            f"{count} of {len(patients)} patients: {note_kinds.KINDS[kind]}"
            for kind, count in counts.items()
            if kind in kinds
        ]

    def seen_as(self, site: sites.Site) -> "Prepared":
        """The same data with the metrics, colours and names of `site`.

        Raises:
            DatasetError: `site` has other structures, or another CT offset.
        """
        stored = self.site
        if (stored.names, stored.ct_offset_hu) != (site.names, site.ct_offset_hu):
            raise errors.DatasetError(
                f"the data set in {self.path} stores {', '.join(stored.names)} (site "
                f"{stored.name}, CT offset {stored.ct_offset_hu:g} HU); the site "
                f"{site.name} of the configuration has {', '.join(site.names)} "
                f"(offset {site.ct_offset_hu:g} HU): give a site and a data.builder "
                "that belong together, or build the data set again"
            )
        seen = {
            name: dataclasses.replace(split, site=site)
            for name, split in self.splits.items()
        }
        return dataclasses.replace(self, site=site, splits=seen)


def open_directory(path: Path) -> Prepared:
    """The data set built in `path`; a DatasetError if it is missing or damaged."""
    path = Path(path)
    try:
        builder = tfds.builder_from_directory(path)
        metadata = builder.info.metadata
    except Exception as error:
        raise errors.DatasetError(
            f"{path} holds no data set ({type(error).__name__}: {error}); build it "
            "with `python -m tfds_builders.NAME`"
        ) from error
    index = splits.Index.of(metadata, path)
    site = index.site
    opened = {}
    for name, entries in index.patients.items():
        source = _open_shards(builder, name, path)
        opened[name] = Split(name, source, entries, site)
    return Prepared(site, opened, index.fingerprint, index.origin, path)


def _open_shards(builder: tfds.core.DatasetBuilder, name: str, path: Path) -> Slices:
    """The slices of a split; DatasetError if its description or files are damaged."""
    try:
        _check_shards(builder.info, name, path)
        return Slices(builder.as_data_source(name), path)
    except errors.DatasetError:
        raise
    except (RuntimeError, ValueError, KeyError) as error:  # of dataset_info.json
        raise _damaged(path, f"split {name}: {error}") from error


def _check_shards(info: tfds.core.DatasetInfo, name: str, path: Path) -> None:
    """Raise DatasetError if files of a split are missing or cut off, by their sizes."""
    split = info.splits[name]
    missing = [Path(file).name for file in split.filepaths if not Path(file).exists()]
    size = 0 if missing else sum(Path(file).stat().st_size for file in split.filepaths)
    if not missing and size == split.num_bytes:
        return
    damage = (
        f"{', '.join(missing)} is missing"
        if missing
        else f"split {name} has {size} bytes, expected {split.num_bytes}"
    )
    raise _damaged(path, damage)


def _damaged(path: Path, damage: str) -> errors.DatasetError:
    return errors.DatasetError(
        f"the data set in {path} is damaged ({damage}); remove the directory and build "
        "it again"
    )


def prepare(
    builder_class: type[tfds.core.DatasetBuilder],
    *,
    cohort: str,
    data_dir: Path | None,
    manual_dir: Path | None,
    workers: int,
    **settings: Any,
) -> Prepared:
    """The data set of `cohort`, built by `workers` processes if it is not there yet.

    `settings` are further arguments of the builder; a directory of None is TFDS's own.

    Raises:
        ConfigError: the builder has no such cohort.
        SourceError, DatasetError: the raw files cannot be used, or an existing data set
            was built from others.
    """
    if cohort not in builder_class.builder_configs:
        known = tuple(builder_class.builder_configs)
        raise errors.ConfigError(
            f"unknown cohort {cohort!r}{errors.nearest(cohort, known)}; "
            f"cohorts: {', '.join(known)}"
        )
    builder = builder_class(
        config=cohort, data_dir=data_dir, workers=workers, **settings
    )
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=manual_dir)
    )
    return open_directory(builder.data_path)
