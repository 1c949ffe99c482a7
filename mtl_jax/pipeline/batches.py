"""Batches of a split, read ahead by Grain's threads.

Input: a Split and its preprocessing. Output: iterables of core/records.Batch.
Training: each epoch has all slices (as often as `times` says) in a new order, epochs
follow each other without a gap, and batch n is a pure function of (seed, n). A batch
may span two epochs, so no slice is left out. Evaluation: all slices in order; the last
batch is padded with rows whose `mask` is 0.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, cast

import grain.python as grain
import numpy as np
from absl import flags

from mtl_jax.core import errors, records
from mtl_jax.datasets import prepared
from mtl_jax.pipeline import augment as augmentation
from mtl_jax.pipeline import image_channels
from mtl_jax.pipeline import preprocess as preprocessing

# Batches to read ahead (1.7 MB each for 8 slices), and the largest number of threads:
# reading, decompression, NumPy and SciPy release Python's lock.
READ_AHEAD, THREADS = 8, 8
# The purpose of a random generator, in its key: (seed, purpose, ...).
ORDER, AUGMENTATION = 0, 1
FOREVER = 1 << 60


@dataclasses.dataclass(frozen=True)
class Loader:
    """Reads the slices of a batch."""

    source: prepared.Source
    patients: Sequence[prepared.PatientEntry]
    patient_of: np.ndarray  # [slices] patient of each slice of the split
    preprocess: preprocessing.Preprocess
    augment: augmentation.Augment | None

    @classmethod
    def of(
        cls,
        split: prepared.Split,
        preprocess: preprocessing.Preprocess,
        augment: augmentation.Augment | None,
    ) -> "Loader":
        """A reader of `split`."""
        owner = patient_of_slice(split)
        return cls(split.source, split.patients, owner, preprocess, augment)

    def __call__(
        self,
        indices: np.ndarray,
        size: int,
        generators: Sequence[np.random.Generator] = (),
    ) -> records.Batch:
        """The batch of `indices`, padded with zeros to `size` rows.

        If the reader augments, each row is changed by its own one of `generators`.
        """
        batch = self.preprocess.empty(size)
        for row, index in enumerate(indices.tolist()):
            patient = int(self.patient_of[index])
            example = self._example(index, patient)
            if self.augment is not None:
                example = self.preprocess.resample(example)
                example = self.augment(example, generators[row])
            known = self.patients[patient].has_mask
            self.preprocess.write(batch, row, example, patient, mask_known=known)
        for column in cast(dict[str, np.ndarray], batch).values():
            column[len(indices) :] = 0
        return records.check_batch(batch)

    def _example(self, index: int, patient: int) -> records.Example:
        """The slice at `index`, with the CT of its neighbours if they are wanted."""
        example = self.source[index]
        around = neighbours(index, self.patients[patient], self.preprocess.further)
        if around:
            example = example.copy()
            example["neighbours"] = np.stack([self.source[i]["ct"] for i in around])
        return example


def neighbours(
    index: int, entry: prepared.PatientEntry, further: image_channels.Further
) -> list[int]:
    """The neighbours of slice `index` of a split, of the patient of `entry`."""
    slice_mm = entry.grid.spacing_mm[0]
    places = further.neighbouring(index - entry.start, entry.slices, slice_mm)
    return [entry.start + place for place in places]


def take_default_flags() -> None:
    """Let Grain read the defaults of its flags, where no command has parsed any."""
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()


def patient_of_slice(split: prepared.Split) -> np.ndarray:
    """[slices] int32: the patient, by position in `split.patients`, of each slice."""
    owner = np.full(len(split.source), -1, np.int32)
    for index, entry in enumerate(split.patients):
        owner[entry.start : entry.start + entry.slices] = index
    if np.any(owner < 0):
        raise errors.DatasetError(
            f"split {split.name}: {np.count_nonzero(owner < 0)} of {len(owner)} slices "
            "belong to no patient; build the data set again"
        )
    return owner


@dataclasses.dataclass(frozen=True)
class Training:
    """Endless batches for one process."""

    steps_per_epoch: int
    batches: grain.MapDataset
    # If the slices stay on the devices: what `train.resident` makes the batches of.
    table: Mapping[str, Any] | None = None

    def batch(self, step: int) -> records.Batch:
        """The batch of `step`, read by this thread."""
        return self.batches[step]

    def iterate(self, start: int) -> Iterator[records.Batch]:
        """Batches from step `start` on, read ahead by threads."""
        return _read_ahead(self.batches[start:])


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """All slices of a split in order, each time it is iterated; len() is in batches.

    One process gets its own rows of each batch.
    """

    batches: grain.MapDataset

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[records.Batch]:
        return _read_ahead(self.batches)


@dataclasses.dataclass(frozen=True)
class Walk:
    """Which slices a process's rows of each training batch are.

    The rows of all processes in order are the batch that a single process would have.
    """

    indices: np.ndarray  # of an epoch, in the split
    seed: int
    batch_size: int  # rows of all processes
    local: int  # rows of this process
    first: int  # the position of the first of them in the batch

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of an epoch."""
        return len(self.indices) // self.batch_size

    def rows(self, step: int) -> np.ndarray:
        """[local] the slices of `step`."""
        start = step * self.batch_size + self.first
        return self._sequence(start, start + self.local)

    def generators(self, step: int) -> list[np.random.Generator]:
        """[local] generators that change the rows of `step`.

        Each is keyed by (seed, step, position in the batch of all processes).
        """
        key = (self.seed, AUGMENTATION, step)
        rows = range(self.first, self.first + self.local)
        return [np.random.default_rng((*key, row)) for row in rows]

    @functools.cached_property
    def _sequence(self) -> Callable[[int, int], np.ndarray]:
        return shuffled(self.indices, self.seed)


def walk(
    split: prepared.Split,
    *,
    batch_size: int,
    seed: int,
    skip_empty_slices: bool,
    leave_out: Collection[int] = (),
    times: np.ndarray | None = None,
    process_index: int,
    process_count: int,
) -> Walk:
    """A shuffled walk over `split`; `batch_size` counts the rows of all processes.

    `leave_out` has the positions of patients to leave out, `times` [slices] how often
    an epoch has each slice (pipeline/draws); None: once.

    Raises:
        ConfigError: `batch_size` does not fit the processes or the split.
    """
    indices = split.slice_indices(skip_empty_slices, leave_out)
    if times is not None:
        indices = np.repeat(indices, times[indices])
    local = _share("train.batch_size", batch_size, process_count)
    if len(indices) < batch_size:
        raise errors.ConfigError(
            f"split {split.name} has {len(indices)} slices to train on, fewer than "
            f"train.batch_size {batch_size}; choose a smaller batch"
        )
    return Walk(indices, seed, batch_size, local, process_index * local)


def training(
    split: prepared.Split,
    walk: Walk,
    *,
    preprocess: preprocessing.Preprocess,
    augment: augmentation.Augment | None,
) -> Training:
    """The batches of `walk` over `split`."""
    load = Loader.of(split, preprocess, augment)

    def read(step: int) -> records.Batch:
        generators = walk.generators(step) if augment is not None else ()
        return load(walk.rows(step), walk.local, generators)

    return endless(walk, read)


def endless(
    walk: Walk, read: Callable[[int], Any], table: Mapping[str, Any] | None = None
) -> Training:
    """The batches of `walk`, of which `read` makes that of a step."""
    batches = grain.MapDataset.range(FOREVER).map(read)
    return Training(walk.steps_per_epoch, batches, table)


def shuffled(indices: np.ndarray, seed: int) -> Callable[[int, int], np.ndarray]:
    """A function that gives part [start, stop) of an endless sequence of `indices`.

    Each epoch of the sequence has every index once, in its own order.
    """

    @functools.lru_cache(maxsize=4)  # threads read around the end of an epoch
    def epoch(number: int) -> np.ndarray:
        return np.random.default_rng((seed, ORDER, number)).permutation(indices)

    def part(start: int, stop: int) -> np.ndarray:
        numbers, positions = np.divmod(np.arange(start, stop), len(indices))
        return np.array(
            [epoch(n)[p] for n, p in zip(numbers.tolist(), positions, strict=True)]
        )

    return part


def evaluation(
    split: prepared.Split,
    *,
    preprocess: preprocessing.Preprocess,
    batch_size: int,
    leave_out: Collection[int] = (),
    process_index: int = 0,
    process_count: int = 1,
) -> Evaluation:
    """All slices of `split` in order, including empty ones.

    `leave_out` has the positions of patients to leave out. `batch_size` counts the rows
    of all processes, as for `training`.

    Raises:
        ConfigError: `batch_size` does not fit the processes.
    """
    local = _share("evaluate.batch_size", batch_size, process_count)
    first = process_index * local
    load = Loader.of(split, preprocess, None)
    indices = split.slice_indices(False, leave_out)

    def read(positions: np.ndarray) -> records.Batch:
        return load(indices[positions[first : first + local]], local)

    order = grain.MapDataset.range(len(indices))
    return Evaluation(order.batch(batch_size).map(read))


def _share(key: str, batch_size: int, process_count: int) -> int:
    """The number of rows of each process; ConfigError if it is not a whole number."""
    if batch_size % process_count:
        raise errors.ConfigError(
            f"{key} is {batch_size}, which {process_count} processes cannot share: "
            f"give {errors.nearest_multiples(batch_size, process_count)}"
        )
    return batch_size // process_count


def _read_ahead(batches: grain.MapDataset) -> Iterator[records.Batch]:
    """Yield `batches`; the reading threads end with the iteration."""
    threads = min(THREADS, max(2, os.cpu_count() or 2))
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=READ_AHEAD)
    iterator = iter(batches.to_iter_dataset(options))
    try:
        yield from iterator
    finally:
        iterator.close()
