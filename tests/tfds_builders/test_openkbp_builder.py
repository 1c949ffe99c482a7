"""The builder: the same data set however it is built, and never from another source."""

import errno
import fcntl
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

import tfds_builders.openkbp  # noqa: F401
from mtl_jax.core import errors, workers
from mtl_jax.datasets import prepared
from tfds_builders import flags
from tfds_builders.openkbp import __main__ as command
from tfds_builders.openkbp import make_dummy_data, openkbp_dataset_builder

DUMMY = make_dummy_data.FOLDER
ROOT = pathlib.Path(__file__).resolve().parents[2]


def prepare(data_dir: pathlib.Path, manual_dir: pathlib.Path | None, **changes):
    arguments = {"cohort": "paper", "workers": 1, **changes}
    return prepared.prepare(
        openkbp_dataset_builder.Builder,
        data_dir=data_dir,
        manual_dir=manual_dir,
        **arguments,
    )


def other_source(folder: pathlib.Path) -> pathlib.Path:
    """The dummy patients with one CT value changed."""
    shutil.copytree(DUMMY, folder)
    ct = folder / "provided-data/train-pats/pt_2/ct.csv"
    header, first, *rest = ct.read_text().splitlines(keepends=True)
    ct.write_text("".join([header, first.split(",")[0] + ",999.0\n", *rest]))
    return folder


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_dummy_data_are_what_the_script_writes(tmp_path: pathlib.Path):
    make_dummy_data.write(tmp_path)
    assert contents(tmp_path) == contents(DUMMY)


def test_tfds_builds_and_reads_it_by_name(tmp_path: pathlib.Path):
    """What tfds.testing.DatasetBuilderTestCase asks, which needs TensorFlow."""
    config = tfds.download.DownloadConfig(manual_dir=DUMMY)
    sources = {
        split: tfds.data_source(
            "openkbp/official",
            split=split,
            data_dir=tmp_path,
            download_and_prepare_kwargs={"download_config": config},
        )
        for split in ("train", "validation", "test")
    }
    assert {split: len(source) for split, source in sources.items()} == {
        "train": 256,
        "validation": 128,
        "test": 256,
    }
    features = openkbp_dataset_builder.Builder(data_dir=tmp_path).info.features
    keys = []
    for source in sources.values():
        for example in source:
            assert example.keys() == features.keys()
            for name, feature in features.items():
                assert np.shape(example[name]) == feature.shape
            keys.append((example["patient"], example["slice"]))
    assert len(set(keys)) == len(keys) == 640  # no slice twice, in no two splits


def test_the_builder_says_what_it_is():
    builder = openkbp_dataset_builder.Builder
    assert builder.name == "openkbp"
    assert list(builder.builder_configs) == ["paper", "official", "phantom"]
    metadata = builder.get_metadata()
    assert "OpenKBP" in metadata.description
    assert "babier2021openkbp" in metadata.citation
    assert set(metadata.tags) <= set(tfds.core.dataset_metadata.valid_tags())


def test_the_command_has_every_cohort():
    for name in openkbp_dataset_builder.Builder.builder_configs:
        assert flags.openkbp([f"--cohort={name}"]).cohort == name


def test_workers_and_packing_change_nothing(tmp_path: pathlib.Path):
    one = prepare(tmp_path / "one", DUMMY)
    archive = shutil.make_archive(str(tmp_path / "manual/data"), "xztar", DUMMY)
    two = prepare(tmp_path / "two", pathlib.Path(archive).parent, workers=2)
    assert one.fingerprint == two.fingerprint
    for name, split in one.splits.items():
        for a, b in zip(split.source, two.splits[name].source, strict=True):
            assert (a["patient"], a["slice"]) == (b["patient"], b["slice"])
            np.testing.assert_array_equal(a["masks"], b["masks"])


def test_shards_hold_whole_patients_in_order(tmp_path: pathlib.Path, monkeypatch):
    monkeypatch.setattr("tfds_builders.shared_builder.PATIENTS_PER_SHARD", 1)
    built = prepare(tmp_path, DUMMY)
    shards = sorted(path.name for path in built.path.glob("*train*"))
    assert shards == [f"openkbp-train.array_record-0000{i}-of-00002" for i in (0, 1)]
    assert built.splits["train"].volume(1).patient_id == "pt_10"
    monkeypatch.undo()
    assert built.fingerprint == prepare(tmp_path / "whole", DUMMY).fingerprint


def test_a_second_source_is_never_served_from_the_firsts_shards(tmp_path):
    first = prepare(tmp_path / "data", DUMMY)
    other = other_source(tmp_path / "other")
    before = contents(first.path)
    message = (
        rf"data/openkbp/paper/1\.0\.0 was built from the folder {DUMMY}/provided-data "
        rf".*the folder {other}/provided-data has fingerprint .*--data_dir, or remove"
    )
    with pytest.raises(errors.DatasetError, match=message):
        prepare(tmp_path / "data", other)
    assert contents(first.path) == before
    # Elsewhere it is built, and is another data set.
    assert prepare(tmp_path / "data2", other).fingerprint != first.fingerprint
    # The first one is still served: with its source, with nothing in TFDS's own
    # manual_dir, or with the files of other data sets there.
    assert prepare(tmp_path / "data", DUMMY).fingerprint == first.fingerprint
    assert prepare(tmp_path / "data", None).fingerprint == first.fingerprint
    (tmp_path / "data/downloads/manual").mkdir(parents=True)
    (tmp_path / "data/downloads/manual/imagenet.txt").write_text("")
    assert prepare(tmp_path / "data", None).fingerprint == first.fingerprint
    # But a folder that was named and holds no patients, or is not there, is an error.
    with pytest.raises(errors.SourceError, match="holds no patients"):
        prepare(tmp_path / "data", tmp_path / "data/downloads")
    with pytest.raises(errors.SourceError, match="is not a folder; put"):
        prepare(tmp_path / "data", tmp_path / "nowhere")


def test_a_source_in_tfdss_own_manual_dir_counts_too(tmp_path: pathlib.Path):
    prepare(tmp_path, DUMMY)
    other_source(tmp_path / "downloads/manual")
    with pytest.raises(errors.DatasetError, match="was built from"):
        prepare(tmp_path, None)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failed_build_leaves_nothing_behind(tmp_path: pathlib.Path, workers: int):
    other = other_source(tmp_path / "other")
    dose = other / "provided-data/test-pats/pt_241/dose.csv"
    dose.write_text(dose.read_text()[:-2])
    with pytest.raises(errors.SourceError, match=r"pt_241/dose\.csv is cut off"):
        prepare(tmp_path / "data", other, workers=workers)
    assert not list((tmp_path / "data").rglob("*array_record*"))
    assert not list((tmp_path / "data").rglob("1.0.0*"))


def without_locks(*_):
    raise OSError(errno.ENOLCK, "No locks available")


@pytest.mark.parametrize("same", [True, False])
def test_of_two_builds_at_a_time_the_first_to_end_stays(tmp_path, monkeypatch, same):
    """Where the file system has no locks: else the second waits (tests/faults)."""
    monkeypatch.setattr(fcntl, "flock", without_locks)
    other = DUMMY if same else other_source(tmp_path / "other")
    in_order = workers.in_order

    def overtaken(*arguments):
        monkeypatch.setattr(workers, "in_order", in_order)
        prepare(tmp_path / "data", other)
        yield from in_order(*arguments)

    monkeypatch.setattr(workers, "in_order", overtaken)
    if same:
        assert prepare(tmp_path / "data", DUMMY).splits["train"].source[0]
    else:
        with pytest.raises(errors.DatasetError, match=f"was built from .*{other}"):
            prepare(tmp_path / "data", DUMMY)
    place = tmp_path / "data/openkbp/paper"
    assert [path.name for path in place.iterdir()] == ["1.0.0"]


def overwrite(data_dir: pathlib.Path, manual_dir: pathlib.Path) -> None:
    openkbp_dataset_builder.Builder(data_dir=data_dir).download_and_prepare(
        download_config=tfds.download.DownloadConfig(
            manual_dir=manual_dir,
            download_mode=tfds.download.GenerateMode.REUSE_CACHE_IF_EXISTS,
        )
    )


def test_a_data_set_is_replaced_only_by_a_whole_one(tmp_path: pathlib.Path):
    first = prepare(tmp_path / "data", DUMMY)
    other = other_source(tmp_path / "other")
    dose = other / "provided-data/train-pats/pt_10/dose.csv"
    whole = dose.read_text()
    dose.write_text(whole[:-2])
    before = contents(tmp_path / "data")
    with pytest.raises(errors.SourceError, match="is cut off"):
        overwrite(tmp_path / "data", other)
    assert contents(tmp_path / "data") == before
    dose.write_text(whole)
    overwrite(tmp_path / "data", other)
    assert [path.name for path in first.path.parent.iterdir()] == ["1.0.0"]
    second = prepared.open_directory(first.path)
    assert second.fingerprint != first.fingerprint
    assert second.splits["train"].volume(0).patient_id == "pt_2"


def test_a_source_without_a_split_is_refused(tmp_path: pathlib.Path):
    shutil.copytree(DUMMY / "provided-data/train-pats", tmp_path / "m/train-pats")
    with pytest.raises(errors.DatasetError, match="no validation patients"):
        prepare(tmp_path, tmp_path / "m")


def test_the_command_builds(tmp_path: pathlib.Path):
    flags = [f"--manual_dir={DUMMY}", f"--data_dir={tmp_path}"]
    built = subprocess.run(
        [sys.executable, "-m", "tfds_builders.openkbp", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    assert "train: 2 patients, 256 slices" in built.stdout
    assert built.stdout.endswith(f"{tmp_path}/openkbp/paper/1.0.0\n")


def test_the_commands_status_says_how_it_went(tmp_path: pathlib.Path, capsys):
    flags = [f"--data_dir={tmp_path / 'data'}", "--workers=1"]
    assert command.main([f"--manual_dir={DUMMY}", *flags]) == 0
    other = other_source(tmp_path / "other")
    capsys.readouterr()
    assert command.main([f"--manual_dir={other}", *flags]) == 1
    assert capsys.readouterr().err.startswith("error: the data set in ")
    assert command.main([f"--manual_dir={other}", "--overwrite", *flags]) == 0
    for wrong in ("--workers=0", "--cohort=papers", "--nonsense"):
        with pytest.raises(SystemExit) as ended:
            command.main([wrong])
        assert ended.value.code == 2


def test_without_beam_the_command_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    flags = [f"--manual_dir={DUMMY}", f"--data_dir={tmp_path}"]
    assert command.main([*flags, "--beam_pipeline_options=runner=DirectRunner"]) == 1
    assert "install the extra `beam`" in capsys.readouterr().err
