"""A data set from Python: that of the command, its patients one at a time."""

import numpy as np
import pytest

import mtl_jax
from mtl_jax.datasets import prepared
from mtl_jax.run import command as commands_of_runs
from mtl_jax.sources.phantom import head_and_neck
from tests import commands


@pytest.fixture(scope="session")
def dataset(command):
    return mtl_jax.open_dataset(commands.configure(), data_dir=command.data_dir)


def test_its_patients_are_those_that_were_generated(dataset):
    assert {name: len(patients) for name, patients in dataset.items()} == {
        "train": 2, "validation": 1, "test": 1
    }  # fmt: skip
    assert dataset.site == "openkbp"
    (patient,) = dataset["test"]
    made = head_and_neck.make_patient(seed=0, index=4)
    assert patient.patient_id == "pt_4"
    np.testing.assert_array_equal(patient.ct_hu, made.ct - 1024)
    np.testing.assert_allclose(patient.dose_gy, made.dose_gy, atol=1e-3)
    assert patient.structures.keys() == made.structures.keys()
    assert patient.grid.shape == made.grid.shape


def test_a_patient_is_read_when_it_is_asked_for(dataset, monkeypatch):
    read, volume = [], prepared.Split.volume

    def counted(split, position):
        read.append((split.name, position))
        return volume(split, position)

    monkeypatch.setattr(prepared.Split, "volume", counted)
    train = dataset["train"]
    first, second = train.ids
    assert "2 of train" in repr(train) and "1 test" in repr(dataset)
    assert train[1:].ids == (second,)
    assert not read
    assert train[-1].patient_id == train[1:][0].patient_id == second
    assert train[0].patient_id == first
    assert read == [("train", 1), ("train", 1), ("train", 0)]
    with pytest.raises(IndexError):
        train[2]


def test_a_folder_is_opened_as_it_is(dataset):
    again = mtl_jax.open_dataset(dataset.path)
    assert again["validation"].ids == dataset["validation"].ids
    assert again.path == dataset.path


def test_a_name_and_folders_are_those_of_the_command(tmp_path, monkeypatch):
    asked = []

    def prepare_in(config, **folders):
        asked.append((config.site, folders))

    monkeypatch.setattr(commands_of_runs, "prepare_in", prepare_in)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "openkbp").mkdir()  # the name of the package stays what it is
    mtl_jax.open_dataset("openkbp", data_dir="data")
    mtl_jax.open_dataset("prostate:contour", data_dir="data", manual_dir=tmp_path)
    openkbp, prostate = asked
    raw = tmp_path.joinpath("data", "downloads", "manual").relative_to(tmp_path)
    assert openkbp == ("openkbp", {"data_dir": raw.parents[1], "manual_dir": raw})
    assert prostate[0] == "prostate" and prostate[1]["manual_dir"] == tmp_path


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("opnkbp", "did you mean 'openkbp'"),
        ("no/folder", "no/folder holds no data set"),
        ("no/file.py:multi", "there is no file"),
    ],
)
def test_a_wrong_name_is_an_error(source, message):
    with pytest.raises(mtl_jax.MtlError, match=message):
        mtl_jax.open_dataset(source)


def test_a_folder_without_a_data_set(tmp_path):
    with pytest.raises(mtl_jax.MtlError, match="holds no data set"):
        mtl_jax.open_dataset(tmp_path)
