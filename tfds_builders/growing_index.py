"""What is kept of patients while they are written: a data set's index in the making."""

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from mtl_jax.core import errors, records, sites
from mtl_jax.datasets import examples, splits


def attempt(
    read: Callable[[Any], records.Patient], raw: Any, site: sites.Site
) -> examples.Stack | errors.MtlError:
    """A worker's task: the stack of what `raw` holds, or why there is none."""
    try:
        return examples.read_stack(read, raw, site)
    except errors.MtlError as error:
        return error


class Written:
    """What is kept of the patients while their slices are written, shard by shard."""

    def __init__(self, stacks: Iterator[examples.Stack | None]) -> None:
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
        """Take up the next patient of `split`; where its slices start."""
        entries = self.entries[split]
        start = entries[-1].start + entries[-1].slices if entries else 0
        entries.append(dataclasses.replace(entry, start=start))
        self._digest.update(digest.encode())
        return start

    def shard(self, split: str, count: int) -> Iterator[tuple[int, records.Example]]:
        """Keys and examples of the next `count` patients, who are of `split`."""
        for stack in itertools.islice(self._stacks, count):
            if stack is None:
                continue
            start = self.add(split, stack.entry, stack.digest)
            yield from enumerate(examples.slices(stack), start=start)
