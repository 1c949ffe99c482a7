"""Batches as a function of seed and step, for any number of processes."""

import dataclasses
import itertools
import threading

import numpy as np
import pytest

from mtl_jax.core import errors, records, sites
from mtl_jax.pipeline import augment, batches

CHANGES = augment.Augment(
    site=sites.OPENKBP,
    flip=0.5,
    rotation_deg=10.0,
    rotation_step_deg=0.0,
    translation_px=2.0,
    scale=0.1,
    ct_noise=0.1,
    ct_std=282.26,
)


@pytest.fixture
def training(split, new_training):
    """`batches.training` of a split of 12 slices, batches of 4."""

    def make(**changes) -> batches.Training:
        return new_training(changes.pop("split", split), **({"seed": 7} | changes))

    return make


def equal(one: records.Batch, other: records.Batch) -> bool:
    assert one.keys() == other.keys()
    return all(np.array_equal(one[name], other[name]) for name in one)


def slices(batch: records.Batch) -> list[tuple[int, int]]:
    return list(zip(batch["patient"].tolist(), batch["slice"].tolist(), strict=True))


@pytest.mark.parametrize("changes", [None, CHANGES], ids=["plain", "augmented"])
def test_a_batch_depends_on_seed_and_step_alone(training, changes):
    one, other = training(augment=changes), training(augment=changes)
    other.batch(11)  # what was read before does not matter
    for step in (0, 2, 5, 1000):
        assert equal(one.batch(step), other.batch(step))
    assert not equal(one.batch(0), one.batch(1))
    assert not equal(one.batch(0), training(augment=changes, seed=8).batch(0))


@pytest.mark.parametrize("start", [0, 5])
def test_reading_ahead_starts_anywhere(training, start):
    source = training(augment=CHANGES)
    for step, batch in enumerate(itertools.islice(source.iterate(start), 7), start):
        assert equal(batch, source.batch(step))


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_share_one_batch(training, processes):
    whole = training(augment=CHANGES)
    parts = [
        training(augment=CHANGES, process_index=i, process_count=processes)
        for i in range(processes)
    ]
    for step in (0, 4, 9):
        joined = [part.batch(step) for part in parts]
        assert all(len(part["mask"]) == 4 // processes for part in joined)
        together = {n: np.concatenate([p[n] for p in joined]) for n in joined[0]}
        assert equal(together, whole.batch(step))


def test_each_epoch_has_every_slice_once_in_a_new_order(training):
    source = training()
    assert source.steps_per_epoch == 3
    epochs = [
        [s for step in range(3 * e, 3 * e + 3) for s in slices(source.batch(step))]
        for e in range(3)
    ]
    everything = [(0, z) for z in range(7)] + [(1, z) for z in range(5)]
    for epoch in epochs:
        assert sorted(epoch) == everything
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_epochs_follow_each_other_without_a_gap(training):
    source = training(batch_size=5)
    assert source.steps_per_epoch == 2
    seen = [s for step in range(12) for s in slices(source.batch(step))]
    assert len(set(seen[:12])) == 12  # 60 slices are five epochs of 12
    assert all(seen.count(s) == 5 for s in seen)


def test_slices_without_a_body_are_left_out_when_asked(training, new_split):
    split = new_split(slices=(8, 6), empty=2)
    whole = training(split=split, batch_size=2, skip_empty_slices=False)
    body = training(split=split, batch_size=2, skip_empty_slices=True)
    assert (whole.steps_per_epoch, body.steps_per_epoch) == (7, 5)
    seen = {s for step in range(5) for s in slices(body.batch(step))}
    assert seen == {(0, z) for z in range(2, 8)} | {(1, z) for z in range(2, 6)}


def test_the_rows_of_a_batch_are_those_of_the_split(
    training, split, new_preprocess, to_row
):
    batch = training().batch(3)
    assert batch["image"].flags["C_CONTIGUOUS"]
    for row, (patient, z) in enumerate(slices(batch)):
        example = split.source[split.patients[patient].start + z]
        expected = to_row(new_preprocess(), example, patient)
        for name, value in expected.items():
            np.testing.assert_array_equal(batch[name][row], value)


def test_a_patient_s_mask_of_possible_dose_may_not_be_known(split, new_preprocess):
    split.patients[1].has_mask = False
    (batch,) = batches.evaluation(split, preprocess=new_preprocess(), batch_size=16)
    stored = np.stack([example["masks"] for example in split.source]) >> 10 & 1
    np.testing.assert_array_equal(batch["possible_dose"][:7, ..., 0], stored[:7])
    assert batch["possible_dose"][7:12].all()
    assert not batch["possible_dose"][12:].any()  # padding


def test_the_possible_dose_moves_with_the_dose(split, training):
    for example in split.source:
        example["dose_gy"] = (example["masks"] >> 10 & 1).astype(np.float32) * 70
    flips = dataclasses.replace(
        CHANGES, rotation_deg=0.0, translation_px=0.0, scale=0.0, ct_noise=0.0
    )
    source = training(split=split, augment=flips)
    for step in range(3):
        batch = source.batch(step)
        np.testing.assert_array_equal(batch["possible_dose"], batch["dose"])


def test_evaluation_is_in_order_and_padded(split, new_preprocess):
    source = batches.evaluation(split, preprocess=new_preprocess(), batch_size=5)
    assert len(source) == 3
    for _ in range(2):  # as often as wanted
        read = list(source)
        assert [len(batch["mask"]) for batch in read] == [5, 5, 5]
        mask = np.concatenate([batch["mask"] for batch in read])
        np.testing.assert_array_equal(mask, [1] * 12 + [0] * 3)
        order = [s for batch in read for s in slices(batch)][:12]
        assert order == [(0, z) for z in range(7)] + [(1, z) for z in range(5)]
        for name in read[-1]:
            assert not read[-1][name][2:].any()


@pytest.mark.parametrize("processes", [2, 4, 8])
def test_processes_count_every_slice_of_an_evaluation_once(
    split, new_preprocess, processes
):
    def part(index: int, count: int) -> list[records.Batch]:
        return list(
            batches.evaluation(
                split,
                preprocess=new_preprocess(),
                batch_size=8,
                process_index=index,
                process_count=count,
            )
        )

    whole = part(0, 1)  # 12 slices: the second batch is half full
    parts = [part(index, processes) for index in range(processes)]
    for number, batch in enumerate(whole):
        rows = [each[number] for each in parts]
        assert {len(each["mask"]) for each in rows} == {8 // processes}
        together = {n: np.concatenate([each[n] for each in rows]) for n in batch}
        assert equal(together, batch)
    assert sum(batch["mask"].sum() for each in parts for batch in each) == 12
    with pytest.raises(errors.ConfigError, match=r"evaluate.*3 processes.*6 or 9"):
        part(0, 3)


def test_evaluation_keeps_slices_without_a_body(new_split, new_preprocess):
    split = new_split(slices=(4,), empty=2)
    (batch,) = batches.evaluation(split, preprocess=new_preprocess(), batch_size=4)
    assert slices(batch) == [(0, 0), (0, 1), (0, 2), (0, 3)]


class Broken(list):
    """A source with one damaged record."""

    def __getitem__(self, index):
        if index == 6:
            raise errors.DatasetError("record 6 is damaged: build the data set again")
        return super().__getitem__(index)


def test_an_error_of_the_source_is_passed_on(training, split, new_preprocess):
    split.source = Broken(split.source)
    with pytest.raises(errors.DatasetError, match="record 6 is damaged"):
        list(itertools.islice(training().iterate(0), 3))
    read = []
    with pytest.raises(errors.DatasetError, match="record 6 is damaged"):
        for batch in batches.evaluation(
            split, preprocess=new_preprocess(), batch_size=3
        ):
            read.append(batch)
    assert len(read) == 2  # slices 0 to 5 came before


def test_reading_threads_end_with_the_iteration(training):
    before = set(threading.enumerate())
    iterator = training().iterate(0)
    next(iterator)
    readers = set(threading.enumerate()) - before
    assert readers
    iterator.close()
    for thread in readers:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in readers)


def test_mistakes_in_the_settings(training, split):
    with pytest.raises(errors.ConfigError, match="12 slices to train on, fewer than"):
        training(batch_size=13)
    with pytest.raises(errors.ConfigError, match="3 processes cannot share: give 3 or"):
        training(process_count=3)
    one_patient = dataclasses.replace(split, patients=split.patients[:1])
    with pytest.raises(errors.DatasetError, match="belong to no patient"):
        training(split=one_patient)
