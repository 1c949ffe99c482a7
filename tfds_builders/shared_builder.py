"""The TFDS builder that all data sets share: patients by split, to shards of slices.

A subclass says how a patient is read. This builder reads patients in `workers`
processes, writes the slices of each one after another, and keeps an index of the
patients in the data set's metadata. The data set does not depend on the number of
workers, on the use of Beam, or on how the source is packed.
"""

import abc
import contextlib
import dataclasses
import functools
import hashlib
import itertools
import logging
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from mtl_jax.core import errors, records, sites, workers
from mtl_jax.datasets import examples, splits
from tfds_builders import beam, data_folder

logger = logging.getLogger("mtl_jax")

# Consecutive patients that share a shard; the patients of a shard are held in memory.
PATIENTS_PER_SHARD = 8


class Location(Protocol):
    """The path of a source: cheap to make, opened only to build."""

    @property
    def description(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def is_folder(self) -> bool:
        """Whether other processes can read its patients from their paths."""
        ...

    def open(self) -> "Source": ...


class Source(Protocol):
    """Patients by split, in their order."""

    @property
    def patients(self) -> Mapping[str, tuple[str, ...]]: ...

    @property
    def description(self) -> str: ...

    def contoured(self, split: str, patient_id: str) -> tuple[str, ...]: ...

    def raw(self, split: str, patient_id: str) -> Any: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


def read_or_error(
    read: Callable[[Any], records.Patient], raw: Any, site: sites.Site
) -> examples.Stack | errors.MtlError:
    """The slices of the patient that `read` makes of `raw`, or why it is refused.

    A worker's task: errors are returned, so that one patient does not end the others.
    """
    try:
        return examples.read_stack(read, raw, site)
    except errors.MtlError as error:
        return error


class IndexInProgress:
    """The index entries of the patients that are written so far, shard by shard."""

    def __init__(self, stacks: Iterator[examples.Stack | None]) -> None:
        """`stacks` are those of all patients in order, None for a refused one."""
        self.entries: dict[str, list[examples.PatientEntry]] = {
            split: [] for split in splits.SPLITS
        }
        self._stacks = stacks
        self._digest = hashlib.sha256()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that was written."""
        return self._digest.hexdigest()

    def add(self, split: str, entry: examples.PatientEntry, digest: str) -> int:
        """Add the next patient of `split`; returns the index of its first slice."""
        entries = self.entries[split]
        start = entries[-1].start + entries[-1].slices if entries else 0
        entries.append(dataclasses.replace(entry, start=start))
        self._digest.update(digest.encode())
        return start

    def shard(self, split: str, count: int) -> Iterator[tuple[int, records.Example]]:
        """Keys and examples of the next `count` patients, all of `split`."""
        for stack in itertools.islice(self._stacks, count):
            if stack is None:
                continue
            start = self.add(split, stack.entry, stack.digest)
            yield from enumerate(examples.slices(stack), start=start)


class PatientBuilder(tfds.core.ShardBasedBuilder):
    """Builds a data set of slices from the patients of a source.

    Not a GeneratorBasedBuilder: that one sorts a whole split in memory, and beyond 1 GB
    needs TensorFlow.
    """

    # The site that is stored; None: the caller has to give one.
    SITE: ClassVar[sites.Site | None] = None
    # Reads a clinic's patients: also takes `rules` and `refused` (see `dicom`).
    TAKES_RULES: ClassVar[bool] = False
    # Generated patients are written for it as DICOM.
    READS_DICOM: ClassVar[bool] = False
    # Rows and columns of a slice; None where they differ between patients.
    PLANE: ClassVar[tuple[int | None, int | None]]
    HOMEPAGE: ClassVar[str]
    # Reads the patient of a Source.raw; picklable, for the workers.
    READ: ClassVar[Callable[[Any], records.Patient]]
    logger = logging.getLogger("mtl_jax")

    # Consecutive patients that share a shard; None: PATIENTS_PER_SHARD.
    PER_SHARD: ClassVar[int | None] = None

    def __init__(
        self,
        *,
        site: sites.Site | None = None,
        workers: int = 1,
        file_format: Any = None,
        **kwargs: Any,
    ) -> None:
        chosen = site or self.SITE
        if chosen is None:
            raise errors.ConfigError(
                f"the builder {self.name} has no site, which defines the structures "
                "that it stores: give site=sites.get(NAME), or sites.get(FILE) for a "
                "site file"
            )
        self.site = chosen
        super().__init__(file_format=file_format or "array_record", **kwargs)
        self.workers = workers
        self.downloads = self.manual_dir = Path()
        self._chosen: dict[str, tuple[str, ...]] = {}
        self._index = IndexInProgress(iter(()))

    @abc.abstractmethod
    def locate(self, manual_dir: Path) -> Location | None:
        """The source in `manual_dir`; None if that is empty."""

    @abc.abstractmethod
    def download(self, dl_manager: tfds.download.DownloadManager) -> Location:
        """The public source, if the manual_dir is empty."""

    def refuse(self, patient_id: str, error: errors.MtlError) -> None:
        """Handle a patient that cannot be read; by default the build stops."""
        del patient_id
        raise error

    def _info(self) -> tfds.core.DatasetInfo:
        image = {"shape": self.PLANE, "encoding": "bytes"}
        tensor = tfds.features.Tensor
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "ct": tensor(dtype=np.int16, doc="stored values", **image),
                    "dose_gy": tensor(dtype=np.float32, doc="Gy", **image),
                    "masks": tensor(
                        dtype=np.uint16,
                        doc=f"bits: {', '.join(self.site.names)}, possible-dose mask",
                        **image,
                    ),
                    "present": tensor(
                        shape=(len(self.site.structures),),
                        dtype=np.bool_,
                        encoding="bytes",
                        doc="contoured in this patient, in the order of the bits",
                    ),
                    "has_dose": tfds.features.Scalar(dtype=np.bool_),
                    "patient": tfds.features.Text(),
                    "slice": tfds.features.Scalar(dtype=np.int32, doc="from the feet"),
                    "spacing_mm": tensor(
                        shape=(3,), dtype=np.float64, encoding="bytes", doc="z, y, x"
                    ),
                }
            ),
            homepage=self.HOMEPAGE,
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),
        )

    def download_and_prepare(
        self,
        *,
        download_dir: Any = None,
        download_config: tfds.download.DownloadConfig | None = None,
        **kwargs: Any,
    ) -> None:
        """Build the data set, or keep an existing one of the same source."""
        config = download_config or tfds.download.DownloadConfig()
        self.downloads = Path(download_dir or Path(self._data_dir_root) / "downloads")
        default = self.downloads / "manual"
        self.manual_dir = Path(config.manual_dir or default).expanduser()
        is_given = self.manual_dir.absolute() != default.absolute()
        if is_given and not self.manual_dir.is_dir():
            raise errors.SourceError(
                f"the manual_dir {self.manual_dir} is not a folder; "
                f"{self.MANUAL_DOWNLOAD_INSTRUCTIONS}"
            )
        build = functools.partial(
            super().download_and_prepare,
            download_dir=download_dir,
            download_config=config,
            **kwargs,
        )
        overwrite, data_set = config.download_mode.overwrite_dataset, self.data_path
        if overwrite or not data_set.exists():
            with data_folder.locked(Path(data_set)):
                if not data_set.exists():
                    return self._build(build, is_given=is_given)
                if overwrite:
                    return self._replace(build)
            self.info.read_from_directory(self._data_dir)  # another process was first
        return self._check_same_source(is_given=is_given)

    def _log_download_bytes(self) -> None:
        """In place of TFDS's line on a download: most patients are in files here."""
        logger.info("building the data set %s in %s", self.name, self.data_path)

    def _log_download_done(self) -> None:
        pass  # the commands that build say what they built

    def _build(self, build: Callable[[], None], *, is_given: bool) -> None:
        """Build; if another process was first, keep its data set of the same source."""
        try:
            build()
        except OSError:
            if not self.data_path.exists():
                raise
            self.info.read_from_directory(self._data_dir)
            self._check_same_source(is_given=is_given)

    def _replace(self, build: Callable[[], None]) -> None:
        """Build beside the existing data set, then replace it."""
        path = Path(self.data_path)
        with data_folder.replacing(path) as new:
            self._data_dir = str(new)
            try:
                build()
            finally:
                self._data_dir = str(path)
        self.info.update_data_dir(self._data_dir)

    def _check_same_source(self, *, is_given: bool) -> None:
        """Raise DatasetError if the data set was built from another source.

        `is_given`: the user named the manual_dir, so it must hold a source. TFDS's
        default one may hold the files of other data sets.
        """
        built = splits.Index.of(self.info.metadata, self.data_path).origin
        try:
            location = self.locate(self.manual_dir)
        except errors.SourceError:
            if is_given:
                raise
            return
        present = location.fingerprint if location else built.fingerprint
        if location is not None and present != built.fingerprint:
            raise errors.DatasetError(
                f"the data set in {self.data_path} was built from "
                f"{built.description}, fingerprint {built.fingerprint[:12]}; "
                f"{location.description} has fingerprint {present[:12]}: "
                "the patients, their files or the options differ. Give another "
                f"--data_dir, or remove {self.data_path} to build it again"
            )

    def _download_and_prepare(
        self, dl_manager: Any, download_config: Any = None
    ) -> None:
        location = self._find(dl_manager)
        with location.open() as source, contextlib.ExitStack() as stack:
            self._chosen = {
                split: splits.select(
                    self.builder_config.name,
                    split,
                    {p: source.contoured(split, p) for p in source.patients[split]},
                    self.site,
                )
                for split in splits.SPLITS
            }
            origin = splits.Origin(location.fingerprint, source.description)
            self._index = IndexInProgress(iter(()))
            if download_config is not None and beam.is_requested(download_config):
                self._write_by_beam(location, source, download_config)
            else:
                stacks = self._read(source, self._chosen)
                self._index = IndexInProgress(
                    stack.enter_context(contextlib.closing(stacks))
                )
                super()._download_and_prepare(dl_manager, download_config)
        if empty := [k for k, entries in self._index.entries.items() if not entries]:
            raise errors.DatasetError(
                f"no patient of {', '.join(empty)} can be used, all are refused; a "
                "data set needs patients in each split: see the reasons above"
            )
        index = splits.Index(
            site=self.site,
            cohort=self.builder_config.name,
            origin=origin,
            fingerprint=self._index.fingerprint,
            patients={k: tuple(v) for k, v in self._index.entries.items()},
        )
        self.info.metadata.update(index.to_json())

    def _find(self, dl_manager: tfds.download.DownloadManager) -> Location:
        """The source in the manual_dir; the public one if that is empty."""
        try:
            manual_dir = Path(dl_manager.manual_dir)
        except AssertionError:  # TFDS: the folder is not there, or empty
            return self.download(dl_manager)
        return self.locate(manual_dir) or self.download(dl_manager)

    def _shard_iterators_per_split(
        self, dl_manager: Any
    ) -> dict[str, list[Callable[[], Iterator[tuple[int, records.Example]]]]]:
        del dl_manager
        return {
            split: [
                functools.partial(self._index.shard, split, len(ids)) for ids in shards
            ]
            for split, shards in self._shards().items()
        }

    def _write_by_beam(
        self, location: Location, source: Source, config: tfds.download.DownloadConfig
    ) -> None:
        """As TFDS's `_download_and_prepare`, by the processes of a Beam runner."""
        if not location.is_folder:
            raise errors.SourceError(
                "with Beam each process reads patients' files from a folder, but this "
                f"is {location.description}: unpack it, and give the folder as "
                "manual_dir"
            )
        parts = self._shards()
        names = {split: self._get_filename_template(split) for split in parts}
        files = {
            split: names[split].sharded_filepaths(len(ids))
            for split, ids in parts.items()
        }
        shards = [
            beam.Shard(Path(file).absolute(), {p: source.raw(split, p) for p in ids})
            for split in parts
            for ids, file in zip(parts[split], files[split], strict=True)
        ]
        read = functools.partial(read_or_error, type(self).READ, site=self.site)
        writer = beam.make_writer(self.info.features, self._example_writer())
        results = iter(beam.write(shards, read, writer, config))
        infos = [
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=[
                    self._add_shard(split, next(results)) for _ in files[split]
                ],
                num_bytes=sum(Path(file).stat().st_size for file in files[split]),
                filename_template=names[split],
            )
            for split in parts
        ]
        self.info.set_splits(tfds.core.SplitDict(infos))

    def _add_shard(self, split: str, results: beam.Outcomes) -> int:
        """Add a shard's patients to the index; returns the number of their slices."""
        slices = 0
        for patient, outcome in results.items():
            if isinstance(outcome, errors.MtlError):
                self.refuse(patient, outcome)
            else:
                self._index.add(split, outcome.entry, outcome.digest)
                slices += outcome.entry.slices
        return slices

    def _shards(self) -> dict[str, list[tuple[str, ...]]]:
        """The patients of each shard, by split."""
        size = self.PER_SHARD or PATIENTS_PER_SHARD
        return {
            split: [ids[first : first + size] for first in range(0, len(ids), size)]
            for split, ids in self._chosen.items()
        }

    def _read(
        self, source: Source, chosen: Mapping[str, tuple[str, ...]]
    ) -> Generator[examples.Stack | None]:
        """The stacks of all `chosen` patients in order, with a progress bar.

        None stands for a refused patient.
        """
        read = type(self).READ
        patients = [(split, patient) for split in chosen for patient in chosen[split]]
        tasks = ((read, source.raw(*patient), self.site) for patient in patients)
        done = workers.in_order(read_or_error, tasks, self.workers)
        bar = tqdm.tqdm(total=len(patients), unit="patient", desc=self.info.full_name)
        with contextlib.closing(done), bar:
            for (_, patient), stack in zip(patients, done, strict=True):
                bar.update()
                if isinstance(stack, errors.MtlError):
                    self.refuse(patient, stack)
                    stack = None
                yield stack
