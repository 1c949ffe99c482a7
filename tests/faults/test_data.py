"""Damage to a data set, and to those who build and read it: named, and never a hang."""

import collections
import itertools
import os
import random
import shutil

import numpy as np
import pytest

from mtl_jax.core import errors, workers
from mtl_jax.datasets import examples, prepared
from tests.faults import victims
from tests.pipeline import conftest
from tfds_builders import data_folder
from tfds_builders.openkbp import make_dummy_data, openkbp_dataset_builder

DUMMY = make_dummy_data.FOLDER
FLIPS = 40  # in each file; the same ones each time
JSON = ("metadata.json", "features.json", "dataset_info.json")


def prepare(folder, **changes):
    return prepared.prepare(
        openkbp_dataset_builder.Builder,
        data_dir=folder,
        **{"cohort": "paper", "manual_dir": DUMMY, "workers": 1, **changes},
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("built"))


@pytest.fixture
def copy(built, tmp_path):
    """The data set's folder, to be damaged."""
    return shutil.copytree(built.path, tmp_path / "openkbp" / "paper" / "1.0.0")


def plain(example):
    return {name: np.asarray(value).tobytes() for name, value in example.items()}


def contents(data, names):
    """All that training and evaluation use of a data set."""
    split = {name: data.splits[name] for name in names}
    index = {name: [p.to_json() for p in one.patients] for name, one in split.items()}
    slices = {name: [plain(e) for e in one.source] for name, one in split.items()}
    return data.fingerprint, data.site, index, slices


def outcome(folder, whole, names):
    """What comes of opening and reading a damaged data set."""
    try:
        found = contents(prepared.open_directory(folder), names)
    except errors.DatasetError as error:
        assert str(folder) in str(error)
        return "named"
    return "harmless" if found == whole else "wrong"


def test_a_flipped_bit_anywhere_is_named_or_changes_nothing(built, copy):
    """Shards have ArrayRecord's checksums, the index a digest of its own."""
    chance = random.Random(20240501)
    names = ("test",)
    whole = contents(built, names)
    found = collections.Counter()
    for name in ("openkbp-test.array_record-00000-of-00001", *JSON):
        path = copy / name
        content = path.read_bytes()
        # Of a shard some positions are always its head and its foot.
        ends = [70, len(content) - 66_000] if "array_record" in name else []
        for at in [*ends, *chance.sample(range(len(content)), FLIPS)]:
            changed = bytearray(content)
            changed[at] ^= 1 << chance.randrange(8)
            path.write_bytes(bytes(changed))
            found[outcome(copy, whole, names)] += 1
        path.write_bytes(content)
    assert not found["wrong"]
    assert found["named"] > FLIPS
    assert outcome(copy, whole, names) == "harmless"


@pytest.mark.parametrize("name", [*JSON, "openkbp-test.array_record-00000-of-00001"])
@pytest.mark.parametrize("kept", [0, 0.5])
def test_a_file_that_was_emptied_or_cut_off_is_named(built, copy, name, kept):
    path = copy / name
    os.truncate(path, int(kept * path.stat().st_size))
    assert outcome(copy, None, ("test",)) == "named"


def test_damage_that_comes_while_training_reads_is_named(copy):
    """The threads that read ahead hand the error on."""
    data = prepared.open_directory(copy)
    half_size = conftest.make_preprocess(image_size=(64, 64), image_spacing_mm=7.812)
    training = conftest.make_training(data.splits["train"], preprocess=half_size)
    read = training.iterate(0)
    assert next(read)["mask"].all()
    (shard,) = copy.glob("*train*")
    content = bytearray(shard.read_bytes())
    content[len(content) // 8 :] = bytes(len(content) - len(content) // 8)
    with shard.open("r+b") as file:  # in place: the reader has it open
        file.write(content)
    with pytest.raises(errors.DatasetError, match=r"is damaged .slice \d+"):
        for _ in itertools.islice(read, 50):
            pass


def test_a_worker_killed_while_it_reads_a_patient_ends_the_build(tmp_path, monkeypatch):
    monkeypatch.setattr(
        openkbp_dataset_builder.Builder, "READ", staticmethod(victims.die)
    )
    with pytest.raises(errors.DatasetError, match="a worker process died"):
        prepare(tmp_path, workers=2)
    assert not (tmp_path / "openkbp/paper").exists()
    monkeypatch.undo()
    assert prepare(tmp_path).splits["train"].source


@pytest.mark.parametrize("replaced", [False, True])
def test_what_a_killed_build_leaves_is_tidied_by_the_next(built, tmp_path, replaced):
    home = tmp_path / "openkbp" / "paper"
    half = home / "incomplete.ABCDEF_1.0.0"
    half.mkdir(parents=True)
    (half / "openkbp-train.array_record-00000-of-00001").write_bytes(b"half")
    _, old = data_folder.new_and_old(home / "1.0.0")
    if replaced:  # killed after the data set went, before the new one came
        shutil.copytree(built.path, old)
        inode = old.stat().st_ino
    found = prepare(tmp_path)
    assert found.fingerprint == built.fingerprint
    assert [path.name for path in home.iterdir()] == ["1.0.0"]
    if replaced:
        assert found.path.stat().st_ino == inode  # put back, not built again


def test_a_second_build_waits_and_takes_what_the_first_has_made(tmp_path, monkeypatch):
    """The second has seen that nothing is there, and only then comes to the lock."""
    held, read = data_folder.locked, []
    stack = examples.read_stack

    def late(path):
        monkeypatch.setattr(data_folder, "locked", held)
        prepare(tmp_path)
        return held(path)

    def counted(*arguments):
        read.append(arguments)
        return stack(*arguments)

    monkeypatch.setattr(data_folder, "locked", late)
    monkeypatch.setattr(examples, "read_stack", counted)
    assert len(prepare(tmp_path).splits["train"].source) == 256
    assert len(read) == 4  # each patient once


def test_workers_leave_ctrl_c_to_the_process_that_started_them():
    numbers = ((number,) for number in range(3))
    assert list(workers.in_order(victims.interrupt, numbers, 2)) == [0, 1, 2]
