"""No patient is in two splits: checked on phantoms and on planted mistakes.

On the real patients: tests/datasets/test_real_patients.py.
"""

import dataclasses
import hashlib

import numpy as np
import pytest

from mtl_jax.core import errors
from mtl_jax.datasets import prepared
from mtl_jax.pipeline import preprocess
from mtl_jax.study import split_checks
from tfds_builders.openkbp import openkbp_dataset_builder

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def phantoms(command, tmp_path_factory):
    """The phantoms of the tiny runs, built."""
    return prepared.prepare(
        openkbp_dataset_builder.Builder,
        cohort="phantom",
        data_dir=command.data_dir,
        manual_dir=command.data_dir / "phantom",
        workers=1,
    )


def renamed(split: prepared.Split, name: str, ids=()) -> prepared.Split:
    patients = tuple(
        dataclasses.replace(entry, patient_id=new)
        for entry, new in zip(split.patients, ids, strict=False)
    )
    return dataclasses.replace(split, name=name, patients=patients or split.patients)


def test_the_phantoms_are_apart(phantoms):
    found = split_checks.inspect(phantoms).require()
    assert [found.counts[name]["patients"] for name in SPLITS] == [2, 1, 1]
    assert found.counts["train"]["with a dose"] == 2
    assert found.counts["train"]["slices"] == 2 * 128


def test_the_same_name_in_two_splits_is_refused(phantoms):
    ids = [entry.patient_id for entry in phantoms.splits["train"].patients]
    test = renamed(phantoms.splits["test"], "test", ids)
    data = dataclasses.replace(phantoms, splits=phantoms.splits | {"test": test})
    with pytest.raises(errors.DatasetError, match="1 in train and test"):
        split_checks.inspect(data).require()


def test_the_same_ct_under_another_name_is_refused(phantoms):
    train = phantoms.splits["train"]
    test = renamed(train, "test", ["pt_98", "pt_99"])
    data = dataclasses.replace(phantoms, splits=phantoms.splits | {"test": test})
    with pytest.raises(errors.DatasetError, match="no CT is in two splits: 2 in train"):
        split_checks.inspect(data).require()


def test_the_index_has_the_digest_of_each_stored_ct(phantoms):
    for split in phantoms.splits.values():
        for index, entry in enumerate(split.patients):
            ct = split.volume(index).ct.astype("<i2")
            assert entry.ct_sha256 == hashlib.sha256(ct.tobytes()).hexdigest()


class Unread:
    """Slices that nobody may read."""

    def __init__(self, source):
        self.source = source

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        raise AssertionError(f"slice {index} was read")


def test_cts_are_read_only_where_the_index_lacks_their_digests(phantoms):
    unread = {
        name: dataclasses.replace(split, source=Unread(split.source))
        for name, split in phantoms.splits.items()
    }
    with_index = split_checks.inspect(dataclasses.replace(phantoms, splits=unread))
    without = {  # as data sets of earlier versions are
        name: dataclasses.replace(
            split,
            patients=tuple(
                dataclasses.replace(e, ct_sha256=None) for e in split.patients
            ),
        )
        for name, split in phantoms.splits.items()
    }
    old = dataclasses.replace(phantoms, splits=without)
    assert split_checks.inspect(old) == with_index
    # A CT that is known by its index is found among those that are not.
    test = renamed(phantoms.splits["train"], "test", ["pt_98", "pt_99"])
    mixed = dataclasses.replace(old, splits=without | {"test": test})
    with pytest.raises(errors.DatasetError, match="no CT is in two splits: 2 in train"):
        split_checks.inspect(mixed).require()


def test_fitted_statistics_are_those_of_the_training_patients_alone(phantoms):
    split = phantoms.splits["train"]
    window = (-160.0, 240.0)
    found = preprocess.fit_statistics(
        split, site=split.site, ct_values="hu", ct_window=window
    )
    values = np.stack(
        [np.clip(split.volume(i).ct.astype(np.float64) - 1024, *window) for i in (0, 1)]
    )
    assert found == pytest.approx((values.mean(), values.std()), rel=1e-9)
