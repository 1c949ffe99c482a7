"""Shuffling gives each patient the CT of another one and keeps the rest."""

import dataclasses

import numpy as np

from benchmarks import phantom_difficulty


@dataclasses.dataclass(frozen=True)
class Entry:
    start: int
    slices: int = 2


class Split:
    def __init__(self, patients):
        self.patients = tuple(Entry(2 * index) for index in range(patients))
        self.source = [
            {"ct": np.full((2, 2), i, np.int16), "slice": i % 2, "patient": str(i // 2)}
            for i in range(2 * patients)
        ]


class Fresh(list):
    """A source that returns new dictionaries, as a data set does."""

    def __getitem__(self, index):
        return dict(super().__getitem__(index))


def test_every_patient_gets_the_ct_of_another_slice_by_slice():
    split = Split(5)
    split.source = Fresh(split.source)
    shuffled = phantom_difficulty.ShuffledCt(split, seed=0)
    assert len(shuffled) == 10
    donors = []
    for index in range(10):
        example = shuffled[index]
        donor = int(example["ct"][0, 0])
        assert donor % 2 == index % 2  # the same slice
        assert donor // 2 != index // 2  # of another patient
        assert example["patient"] == str(index // 2)
        donors.append(donor)
    assert sorted(donors) == list(range(10))  # each CT is used once
