"""By Apache Beam: the same data set, and the same refusals."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds

from mtl_jax.core import errors, sites
from mtl_jax.datasets import prepared
from mtl_jax.sources.clinical import patient_folders
from mtl_jax.sources.phantom import dicom_cohort
from tfds_builders import beam
from tfds_builders.openkbp import __main__ as command
from tfds_builders.openkbp import make_dummy_data, openkbp_dataset_builder
from tfds_builders.prostate import make_dummy_data as dummy_pelvises
from tfds_builders.prostate import prostate_dataset_builder

pytest.importorskip("apache_beam", reason="no Apache Beam: see .ci/run for how to run")

LOCAL = "runner=DirectRunner"
DUMMY = make_dummy_data.FOLDER


def build(builder, manual_dir: pathlib.Path, beam_options: str | None):
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(
            manual_dir=manual_dir, beam_options=beam.options(beam_options)
        )
    )
    return prepared.open_directory(builder.data_path)


def openkbp(data_dir: pathlib.Path, manual_dir=DUMMY, beam_options=LOCAL):
    builder = openkbp_dataset_builder.Builder(config="official", data_dir=data_dir)
    return build(builder, manual_dir, beam_options)


def assert_same(one: prepared.Prepared, two: prepared.Prepared) -> None:
    """The index, the sizes of the shards, and all examples in order, bit for bit."""
    assert (one.path / "metadata.json").read_text() == (
        two.path / "metadata.json"
    ).read_text()
    lengths = [
        [split["shardLengths"] for split in json.loads(info.read_text())["splits"]]
        for info in (data.path / "dataset_info.json" for data in (one, two))
    ]
    assert lengths[0] == lengths[1]
    names = [sorted(path.name for path in data.path.iterdir()) for data in (one, two)]
    assert names[0] == names[1]
    for name, split in one.splits.items():
        assert len(split.source) == len(two.splits[name].source) > 0
        for a, b in zip(split.source, two.splits[name].source, strict=True):
            assert a.keys() == b.keys()
            for feature, value in a.items():
                np.testing.assert_array_equal(value, b[feature], strict=True)


@pytest.mark.parametrize(
    "options",
    [
        LOCAL,
        f"{LOCAL},direct_running_mode=multi_processing,direct_num_workers=2",
    ],
)
def test_the_shards_hold_the_same_examples(tmp_path, monkeypatch, options):
    monkeypatch.setattr("tfds_builders.shared_builder.PATIENTS_PER_SHARD", 1)
    here = openkbp(tmp_path / "here", beam_options=None)
    assert len(list(here.path.glob("*train*"))) == 2
    assert_same(here, openkbp(tmp_path / "beam", beam_options=options))


@pytest.fixture(scope="module")
def clinic(tmp_path_factory) -> pathlib.Path:
    """12 patients to train with, one of whom lacks his structure set; 1 and 1 else."""
    folder = tmp_path_factory.mktemp("clinic") / "manual"
    rows = ["patient,split"]
    for number in range(14):
        made = dummy_pelvises.pelvis(number)
        dicom_cohort.write_patient(folder / f"n{number}", made, patient_id=f"{number}")
        split = {12: "validation", 13: "test"}.get(number, "train")
        rows.append(f"n{number},{split}")
    next((folder / "n5").glob("RS.*")).unlink()
    (folder / "splits.csv").write_text("\n".join(rows))
    return folder


def prostate(data_dir: pathlib.Path, manual_dir, beam_options, **settings):
    rules = patient_folders.Rules(salt="a salt that is known")
    builder = prostate_dataset_builder.Builder(
        data_dir=data_dir, rules=rules, site=sites.PROSTATE, **settings
    )
    return build(builder, manual_dir, beam_options), builder.refusals


def test_a_refused_patient_leaves_the_same_gap_among_many_shards(tmp_path, clinic):
    """Twelve shards, one of them empty: TFDS alone would mix up their sizes."""
    here, refused = prostate(tmp_path / "here", clinic, None)
    there, refused_there = prostate(tmp_path / "beam", clinic, LOCAL)
    assert refused == refused_there and len(refused) == 1
    info = json.loads((there.path / "dataset_info.json").read_text())
    train = next(split for split in info["splits"] if split["name"] == "train")
    assert sorted(train["shardLengths"]) == ["0"] + 11 * ["5"]
    assert_same(here, there)


def test_a_refused_patient_is_an_error_where_that_is_asked_for(tmp_path, clinic):
    with pytest.raises(errors.SourceError, match=r"patient p\w{12}: no RTSTRUCT here"):
        prostate(tmp_path / "data", clinic, LOCAL, refused="error")
    assert not list((tmp_path / "data").rglob("*array_record*"))


def test_a_broken_patient_is_the_same_error(tmp_path):
    other = pathlib.Path(shutil.copytree(DUMMY, tmp_path / "other"))
    dose = other / "provided-data/test-pats/pt_241/dose.csv"
    dose.write_text(dose.read_text()[:-2])
    with pytest.raises(errors.SourceError) as here:
        openkbp(tmp_path / "data", other, None)
    with pytest.raises(errors.SourceError, match=r"pt_241/dose\.csv is cut") as there:
        openkbp(tmp_path / "data", other)
    assert str(there.value) == str(here.value)
    assert not list((tmp_path / "data").rglob("*array_record*"))
    assert not list((tmp_path / "data").rglob("1.0.0*"))


def test_archives_are_refused(tmp_path):
    archive = shutil.make_archive(str(tmp_path / "manual/data"), "zip", DUMMY)
    with pytest.raises(errors.SourceError, match=r"is data\.zip in .*: unpack it"):
        openkbp(tmp_path / "data", pathlib.Path(archive).parent)


def test_the_command_takes_beams_options(tmp_path, capsys):
    flags = [f"--manual_dir={DUMMY}", f"--data_dir={tmp_path}", "--cohort=official"]
    assert command.main([*flags, f"--beam_pipeline_options={LOCAL}"]) == 0
    assert "train: 2 patients, 256 slices" in capsys.readouterr().out
