"""A data set that was built: by slice, by patient, and refused when damaged."""

import dataclasses
import multiprocessing.reduction
import pathlib
import shutil

import numpy as np
import pytest

from mtl_jax.core import errors, sites
from mtl_jax.datasets import prepared
from tfds_builders.openkbp import make_dummy_data, openkbp_dataset_builder


def prepare(data_dir: pathlib.Path, manual_dir: pathlib.Path, **changes):
    arguments = {"cohort": "paper", "workers": 1, **changes}
    return prepared.prepare(
        openkbp_dataset_builder.Builder,
        data_dir=data_dir,
        manual_dir=manual_dir,
        **arguments,
    )


def test_splits_and_patients_are_in_natural_order(dummy: prepared.Prepared):
    assert dummy.site is sites.OPENKBP
    ids = {
        name: tuple(entry.patient_id for entry in split.patients)
        for name, split in dummy.splits.items()
    }
    # pt_242 lacks a parotid, so cohort `paper` does without it.
    assert ids == {**make_dummy_data.PATIENTS, "test": ("pt_241",)}
    assert [entry.start for entry in dummy.splits["train"].patients] == [0, 128]


def test_a_slice_is_an_example(dummy: prepared.Prepared):
    split = dummy.splits["train"]
    assert len(split.source) == 256
    example = split.source[128 + 61]
    made = make_dummy_data.patient("pt_10", seed=len("train") + 1, without=())
    assert (example["patient"], example["slice"]) == ("pt_10", 61)
    assert example["has_dose"] is True or example["has_dose"] == np.True_
    np.testing.assert_array_equal(example["ct"], made.ct[61])
    assert made.dose_gy is not None
    np.testing.assert_array_equal(example["dose_gy"], made.dose_gy[61])
    np.testing.assert_array_equal(
        (example["masks"] & 1) == 1, made.structures["Brainstem"][61]
    )
    types = {key: example[key].dtype for key in ("ct", "dose_gy", "masks", "present")}
    assert types == {
        "ct": np.int16,
        "dose_gy": np.float32,
        "masks": np.uint16,
        "present": np.bool_,
    }
    with pytest.raises(IndexError):
        split.source[256]


def test_a_volume_is_the_patient(dummy: prepared.Prepared):
    made = make_dummy_data.patient("pt_10", seed=len("train") + 1, without=())
    found = dummy.splits["train"].volume(1)
    assert (found.patient_id, found.grid) == ("pt_10", made.grid)
    np.testing.assert_array_equal(found.ct, made.ct)
    np.testing.assert_array_equal(found.dose_gy, made.dose_gy)
    np.testing.assert_array_equal(found.possible_dose_mask, made.possible_dose_mask)
    assert set(found.structures) == set(made.structures)
    for name, mask in made.structures.items():
        np.testing.assert_array_equal(found.structures[name], mask)


def test_slices_with_a_body_are_known_without_reading(dummy: prepared.Prepared):
    split = dummy.splits["train"]
    body = split.slice_indices(body_only=True)
    assert body.dtype == np.int64
    assert body.tolist() == [60, 61, 62, 63, 188, 189, 190, 191]
    assert split.slice_indices(body_only=False).tolist() == list(range(256))


def test_a_data_set_that_is_there_is_opened(dummy: prepared.Prepared):
    data_dir = dummy.path.parents[2]
    again = prepare(data_dir, make_dummy_data.FOLDER)
    assert again.fingerprint == dummy.fingerprint
    assert again.path == dummy.path == data_dir / "openkbp/paper/1.0.0"
    assert prepared.open_directory(dummy.path).fingerprint == dummy.fingerprint


def test_an_unknown_cohort_names_the_nearest(tmp_path: pathlib.Path):
    with pytest.raises(errors.ConfigError, match="'papers'; did you mean 'paper'"):
        prepare(tmp_path, make_dummy_data.FOLDER, cohort="papers")


def test_a_directory_without_a_data_set_is_refused(tmp_path: pathlib.Path):
    with pytest.raises(errors.DatasetError, match="holds no data set"):
        prepared.open_directory(tmp_path)
    with pytest.raises(errors.DatasetError, match="holds no data set"):
        prepared.open_directory(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("openkbp-train.array_record-00000-of-00001", "is damaged .*is missing"),
        ("metadata.json", "holds no data set of mtl_jax"),
        ("dataset_info.json", "holds no data set"),
    ],
)
def test_a_data_set_that_lacks_a_file_is_refused(dummy, tmp_path, name, message):
    copy = tmp_path / "openkbp" / "paper" / "1.0.0"
    shutil.copytree(dummy.path, copy)
    (copy / name).unlink()
    with pytest.raises(errors.DatasetError, match=message):
        prepared.open_directory(copy)


def test_a_shard_that_was_cut_off_is_refused(dummy, tmp_path: pathlib.Path):
    copy = tmp_path / "openkbp" / "paper" / "1.0.0"
    shutil.copytree(dummy.path, copy)
    shard = copy / "openkbp-test.array_record-00000-of-00001"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(
        errors.DatasetError, match=r"is damaged .split test has .* bytes"
    ):
        prepared.open_directory(copy)


def test_a_flipped_bit_in_a_shard_is_noticed(dummy, tmp_path: pathlib.Path):
    copy = tmp_path / "openkbp" / "paper" / "1.0.0"
    shutil.copytree(dummy.path, copy)
    shard = copy / "openkbp-test.array_record-00000-of-00001"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 16
    shard.write_bytes(bytes(content))
    with pytest.raises(errors.DatasetError, match=r"is damaged .slice \d+: .*hash"):
        list(prepared.open_directory(copy).splits["test"].source)


def test_a_split_can_be_pickled_for_a_process_that_reads(dummy: prepared.Prepared):
    split = multiprocessing.reduction.ForkingPickler.dumps(dummy.splits["test"])
    found = multiprocessing.reduction.ForkingPickler.loads(split)
    np.testing.assert_array_equal(
        found.source[61]["ct"], dummy.splits["test"].source[61]["ct"]
    )


def test_a_data_set_is_seen_as_the_configurations_site(dummy: prepared.Prepared):
    other = dataclasses.replace(sites.OPENKBP, contour_metrics=("dice",))
    seen = dummy.seen_as(other)
    assert {seen.site, *(split.site for split in seen.splits.values())} == {other}
    assert seen.fingerprint == dummy.fingerprint
    with pytest.raises(errors.DatasetError, match=r"stores Brainstem.*data\.builder"):
        dummy.seen_as(sites.PROSTATE)
    with pytest.raises(errors.DatasetError, match=r"CT offset 1024 HU.*offset 0 HU"):
        dummy.seen_as(dataclasses.replace(sites.OPENKBP, ct_offset_hu=0.0))
