"""Small splits in memory, with the interface of a prepared data set."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from mtl_jax.core import geometry, records, sites
from mtl_jax.pipeline import batches, image_channels, preprocess

SITE = sites.OPENKBP
SPACING_MM = (2.5, 4.0, 4.0)  # z, y, x
STRUCTURES = ("Brainstem", "SpinalCord", "LeftParotid", "RightParotid")


@dataclasses.dataclass
class FakeEntry:
    """A patient: slices [start, start + slices)."""

    start: int
    slices: int
    has_mask: bool = True
    has_dose: bool = True

    @property
    def grid(self) -> geometry.Grid:
        """That of `make_example`."""
        return geometry.Grid((self.slices, 16, 16), SPACING_MM)


@dataclasses.dataclass
class FakeSplit:
    """Examples in a list."""

    site = SITE

    source: list[records.Example]
    patients: tuple[FakeEntry, ...]
    name: str = "train"

    def slice_indices(self, body_only: bool, leave_out=()) -> np.ndarray:
        """Slices whose CT is not all air, or all; without the patients `leave_out`."""
        out = {
            i
            for index in leave_out
            for i in range(
                self.patients[index].start,
                self.patients[index].start + self.patients[index].slices,
            )
        }
        kept = [
            i
            for i, e in enumerate(self.source)
            if i not in out and (e["ct"].any() or not body_only)
        ]
        return np.asarray(kept, np.int64)


def make_example(
    rng: np.random.Generator, size: tuple[int, int] = (16, 16), z: int = 0
) -> records.Example:
    """A slice of noise: every bit of the masks is used."""
    return records.Example(
        ct=rng.integers(1, 2000, size).astype(np.int16),
        dose_gy=rng.uniform(0, 75, size).astype(np.float32),
        masks=rng.integers(0, 1 << 11, size).astype(np.uint16),
        present=rng.random(len(SITE.structures)) < 0.7,
        has_dose=True,
        patient="pt_1",
        slice=z,
        spacing_mm=np.array(SPACING_MM),
    )


def make_split(
    rng: np.random.Generator, slices: tuple[int, ...] = (7, 5), empty: int = 0
) -> FakeSplit:
    """Patients of so many slices each; the first `empty` slices of each are air."""
    source = []
    for count in slices:
        for z in range(count):
            example = make_example(rng, z=z)
            if z < empty:
                example["ct"][:] = 0
            source.append(example)
    starts = np.cumsum((0, *slices))
    entries = tuple(FakeEntry(int(s), n) for s, n in zip(starts, slices, strict=False))
    return FakeSplit(source, entries)


def make_preprocess(**changes: object) -> preprocess.Preprocess:
    """The paper's preprocessing, on the examples' 16 x 16 pixels."""
    values: dict[str, object] = dict(
        site=SITE,
        structures=STRUCTURES,
        beside_ct="none",
        ct_values="stored",
        ct_window=(-1024.0, 1500.0),
        ct_mean=85.18,
        ct_std=282.26,
        prescription_gy=70.0,
        image_size=(16, 16),
        image_spacing_mm=0.0,
        further=image_channels.NO_FURTHER,
    )
    return preprocess.Preprocess(**(values | changes))


def make_walk(split, **changes: object) -> batches.Walk:
    """`batches.walk` of one process, in batches of 4, but for what is given."""
    values: dict[str, object] = dict(
        batch_size=4, seed=0, skip_empty_slices=True, process_index=0, process_count=1
    )
    return batches.walk(split, **(values | changes))


def make_training(split, **changes: object) -> batches.Training:
    """`batches.training` of one process, in batches of 4, but for what is given."""
    preprocess = changes.pop("preprocess", None) or make_preprocess()
    augment = changes.pop("augment", None)
    walk = make_walk(split, **changes)
    return batches.training(split, walk, preprocess=preprocess, augment=augment)


@pytest.fixture
def example(rng: np.random.Generator) -> records.Example:
    """One slice."""
    return make_example(rng)


@pytest.fixture
def split(rng: np.random.Generator) -> FakeSplit:
    """Two patients of seven and five slices."""
    return make_split(rng)


@pytest.fixture
def new_split(rng: np.random.Generator) -> Callable[..., FakeSplit]:
    """`make_split`, for other sizes."""
    return lambda **changes: make_split(rng, **changes)


@pytest.fixture
def new_preprocess() -> Callable[..., preprocess.Preprocess]:
    """`make_preprocess`: the paper's, but for what is given."""
    return make_preprocess


@pytest.fixture
def new_training() -> Callable[..., batches.Training]:
    """`make_training`, of a split."""
    return make_training


@pytest.fixture
def new_walk() -> Callable[..., batches.Walk]:
    """`make_walk`, over a split."""
    return make_walk


@pytest.fixture
def to_row() -> Callable[..., dict[str, np.ndarray]]:
    """The row that an example becomes, as a dict without the leading axis."""

    def write(
        pre: preprocess.Preprocess,
        example: records.Example,
        patient: int,
        mask_known: bool = True,
    ) -> dict[str, np.ndarray]:
        batch = records.check_batch(pre.empty(1))
        pre.write(batch, 0, example, patient, mask_known=mask_known)
        return {name: column[0] for name, column in batch.items()}

    return write
