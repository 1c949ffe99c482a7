"""No patient is in two splits: checked on phantoms and on planted mistakes.

On the real patients: tests/datasets/test_real_patients.py.
"""

import dataclasses

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
