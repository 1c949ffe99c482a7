"""The builder of DICOM cohorts: the same features as openkbp's, and no identifiers."""

import json
import logging
import pathlib
import shutil
import stat

import numpy as np
import pytest
import tensorflow_datasets as tfds

from mtl_jax.configs import prostate, prostate_demo
from mtl_jax.core import config as configs
from mtl_jax.core import errors, sites
from mtl_jax.datasets import prepared
from mtl_jax.run import command as study_command
from mtl_jax.sources.clinical import patient_folders, pseudonyms
from mtl_jax.sources.dicom import reader
from tests.sources import planted
from tfds_builders.openkbp import openkbp_dataset_builder
from tfds_builders.prostate import __main__ as command
from tfds_builders.prostate import make_dummy_data, prostate_dataset_builder

DUMMY = make_dummy_data.FOLDER
SITE = sites.PROSTATE


def prepare(data_dir, manual_dir, **settings):
    return prepared.prepare(
        prostate_dataset_builder.Builder,
        cohort="own",
        data_dir=data_dir,
        manual_dir=manual_dir,
        **{"workers": 1, **settings},
    )


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def folder_of(manual_dir: pathlib.Path) -> dict[str, str]:
    return json.loads(pseudonyms.key_file(manual_dir).read_text())["patients"]


@pytest.fixture
def dummy(tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of the dummy cohort: its key file is written beside it."""
    return pathlib.Path(shutil.copytree(DUMMY, tmp_path / "clinic" / "manual"))


@pytest.fixture(scope="module")
def secret(tmp_path_factory) -> pathlib.Path:
    """A cohort full of names; not to be changed."""
    return planted.write(tmp_path_factory.mktemp("clinic") / "manual")


def test_the_dummy_data_are_what_the_script_writes(tmp_path: pathlib.Path):
    make_dummy_data.write(tmp_path)
    assert contents(tmp_path) == contents(DUMMY)


def test_the_builder_says_what_it_is():
    builder = prostate_dataset_builder.Builder
    assert builder.name == "prostate"
    assert list(builder.builder_configs) == ["own", "phantom"]
    metadata = builder.get_metadata()
    assert "DICOM" in metadata.description
    assert "kim2025multitask" in metadata.citation
    assert set(metadata.tags) <= set(tfds.core.dataset_metadata.valid_tags())


def test_features_are_openkbps(dummy: pathlib.Path, tmp_path: pathlib.Path):
    own = prostate_dataset_builder.Builder(data_dir=tmp_path).info.features
    theirs = openkbp_dataset_builder.Builder(data_dir=tmp_path).info.features
    assert own.keys() == theirs.keys()
    assert {k: f.np_dtype for k, f in own.items()} == {
        k: f.np_dtype for k, f in theirs.items()
    }
    data = prepare(tmp_path, dummy)
    for example in data.splits["train"].source:
        assert example.keys() == own.keys()
        assert example["ct"].shape == (16, 20)


def test_the_patients_are_stored_on_their_cts_own_grid(dummy, tmp_path, caplog):
    data = prepare(tmp_path, dummy)
    assert data.site == SITE
    names = folder_of(dummy)
    split_of = {
        names[entry.patient_id]: name
        for name, split in data.splits.items()
        for entry in split.patients
    }
    assert split_of == {"one": "train", "two": "validation", "three": "test"}
    patient = data.splits["validation"].volume(0)
    made = make_dummy_data.pelvis(1)
    assert patient.grid == make_dummy_data.GRID
    np.testing.assert_array_equal(patient.ct, made.ct_hu)
    for name in SITE.names:
        np.testing.assert_array_equal(patient.structures[name], made.structures[name])
    # Dose: z -9 to 9 mm, so CT slices 1 to 3 (-5, 0, 5) and not -10, 10; y -22 to 33,
    # x -32 to 23 mm, so columns up to 17 (21 mm) of the 20; the body is rows 1 to 14
    # and columns 1 to 18 of slices 1 to 3.
    expected = np.zeros(patient.grid.shape, bool)
    expected[1:4, 1:14, 1:18] = True
    np.testing.assert_array_equal(patient.possible_dose_mask, expected)
    assert patient.dose_gy is not None
    assert patient.dose_gy[2, 5, 5] > 0
    # The fourth has no structure set: left out, told of, and nothing else stops.
    (refused,) = [p for p, folder in names.items() if folder == "four"]
    assert f"patient {refused} is left out: no RTSTRUCT here" in caplog.text


def test_a_refused_patient_is_an_error_where_that_is_asked_for(dummy, tmp_path):
    with pytest.raises(errors.SourceError, match=r"patient p\w{12}: no RTSTRUCT"):
        prepare(tmp_path / "data", dummy, refused="error")
    assert not list((tmp_path / "data").rglob("*array_record*"))


def test_a_split_without_a_patient_is_an_error(dummy, tmp_path):
    next((dummy / "three").glob("RS.*")).unlink()
    with pytest.raises(errors.DatasetError, match="no patient of test can be used"):
        prepare(tmp_path / "data", dummy)
    assert not list((tmp_path / "data").rglob("*array_record*"))


def test_workers_change_nothing(dummy, tmp_path):
    one = prepare(tmp_path / "one", dummy)
    assert prepare(tmp_path / "two", dummy, workers=2).fingerprint == one.fingerprint


def test_what_is_read_otherwise_is_another_source(dummy, tmp_path):
    first = prepare(tmp_path, dummy)
    (dummy / "one" / ".DS_Store").write_text("what a file browser leaves behind")
    assert prepare(tmp_path, dummy).fingerprint == first.fingerprint
    filled = patient_folders.Rules(reader.Options(fill_gaps=2))
    with pytest.raises(errors.DatasetError, match="was built from DICOM of 4 patients"):
        prepare(tmp_path, dummy, rules=filled)
    (dummy / "splits.csv").write_text("patient,split\none,train\ntwo,test\n")
    with pytest.raises(errors.DatasetError, match="was built from DICOM"):
        prepare(tmp_path, dummy)


def test_a_site_of_ones_own_is_a_file(dummy, tmp_path):
    path = tmp_path / "bowel.yaml"
    path.write_text(
        "name: bowel\nprescription_gy: 45\ncontoured: [Wall, Bladder]\nstructures:\n"
        "  Wall: {tg263: Rectal_Wall, aliases: [RectumWall, Rectal wall]}\n"
        "  Bladder: {}\n"
    )
    (dummy / "mapping.yaml").unlink()
    data = prepare(tmp_path / "data", dummy, site=sites.get(str(path)))
    assert data.site.names == ("Wall", "Bladder")
    patient = data.splits["train"].volume(0)
    wall = make_dummy_data.pelvis(0).structures["Rectal_Wall"]
    np.testing.assert_array_equal(patient.structures["Wall"], wall)


def test_the_key_file_lies_apart_and_is_its_owners(dummy, tmp_path, monkeypatch):
    prepare(tmp_path / "data", dummy)
    path = dummy.with_name("manual.keys.json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(folder_of(dummy).values()) == ["four", "one", "three", "two"]
    elsewhere = tmp_path / "safe" / "keys.json"
    monkeypatch.setenv(pseudonyms.VARIABLE, str(elsewhere))
    prepare(tmp_path / "other", dummy)
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o600
    # Another salt: other ids.
    assert not folder_of(dummy).keys() & json.loads(path.read_text())["patients"].keys()


def test_no_identifier_is_in_data_set_log_or_output(secret, tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    flags = [f"--manual_dir={secret}", f"--data_dir={tmp_path / 'data'}", "--workers=1"]
    assert command.main(flags) == 0
    data = prepared.open_directory(next((tmp_path / "data").rglob("1.0.0")))
    printed = capfd.readouterr()
    stored = [
        f"{example['patient']} {bytes(example['masks'].tobytes())!r}"
        for split in data.splits.values()
        for example in split.source
    ]
    assert sum(len(split.patients) for split in data.splits.values()) == 4
    assert caplog.text.count("is left out") == planted.REFUSED
    found = planted.leaks(
        tmp_path / "data", caplog.text, printed.out, printed.err, *stored
    )
    assert not found
    # The search does find them where they are.
    assert planted.leaks(secret.with_name("manual.keys.json"))


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("splits.csv", "patient,split\nDeepthoughter,tset\n", "line 2 is not a folder"),
        ("splits.csv", "patient,split\nMarvin,test\n", "line 2 names a folder that is"),
        ("splits.csv", "Deepthoughter,test\n", "line 1 is not the header"),
        (
            "mapping.yaml",
            "Marvin: Prostrate\n",
            "mapping file mapping.yaml: .*Prostate",
        ),
    ],
)
def test_no_identifier_is_in_an_exception(secret, tmp_path, name, content, match):
    copy = shutil.copytree(secret, tmp_path / "manual")
    (copy / name).write_text(content)
    with pytest.raises(errors.MtlError, match=match) as raised:
        prepare(tmp_path / "data", copy)
    # Of a mapping file the user's own words are quoted.
    assert name == "mapping.yaml" or not planted.leaks(str(raised.value))


def test_an_exception_nobody_thought_of_tells_no_path(secret, tmp_path, monkeypatch):
    def fail(folder, **_):
        raise ValueError(f"{folder} is odd")

    monkeypatch.setattr(reader, "read", fail)
    with pytest.raises(errors.SourceError, match=r"ValueError in .* line") as raised:
        prepare(tmp_path / "data", secret, refused="error")
    assert not planted.leaks(str(raised.value))


def test_nothing_there_says_what_to_put(tmp_path):
    (tmp_path / "manual").mkdir()
    with pytest.raises(errors.DatasetError, match="put a folder for each patient"):
        prepare(tmp_path / "data", tmp_path / "manual")
    (tmp_path / "manual" / "patient").mkdir()
    (tmp_path / "manual" / "patient" / "a.txt").write_text("hello")
    with pytest.raises(errors.SourceError, match="1 folders, and no DICOM file"):
        prepare(tmp_path / "data", tmp_path / "manual")


def test_the_commands_status_says_how_it_went(dummy, tmp_path, capsys):
    flags = [f"--manual_dir={dummy}", f"--data_dir={tmp_path / 'data'}", "--workers=1"]
    assert command.main(flags) == 0
    out = capsys.readouterr().out
    assert "left out: 1 patients" in out
    assert "train: 1 patients, 5 slices" in out
    assert command.main([*flags, "--fill_gaps=1"]) == 1
    assert capsys.readouterr().err.startswith("error: the data set in ")
    assert command.main([*flags, "--fill_gaps=1", "--overwrite"]) == 0
    for wrong in ("--workers=0", "--refused=perhaps", "--nonsense"):
        with pytest.raises(SystemExit) as ended:
            command.main([wrong])
        assert ended.value.code == 2


def test_a_configuration_says_how_the_cohort_is_read(dummy, tmp_path):
    config = prostate.get_config()
    config.data.workers = 1
    config.data.splits_csv = str(tmp_path / "mine.csv")
    (tmp_path / "mine.csv").write_text(
        "\ufeffpatient;split\none;test\ntwo;train\nthree;validation\n"
    )
    config.data.refused_patients = "error"  # the fourth is not named: nobody is refused
    data = study_command.prepare_in(
        configs.check(config), data_dir=tmp_path / "data", manual_dir=dummy
    )
    names = folder_of(dummy)
    (entry,) = data.splits["test"].patients
    assert names[entry.patient_id] == "one"


def test_the_demo_writes_its_patients_as_dicom(tmp_path, monkeypatch):
    """With small ones in their place, which it divides as it says."""
    config = prostate_demo.get_config()
    config.data.phantom_patients = (2, 1, 1)
    config.data.workers = 1

    def write(folder, *, patients, **_):
        for number in range(patients):
            who = f"PHANTOM-{number}"
            study_command.dicom_cohort.write_patient(
                folder / who, make_dummy_data.pelvis(number), patient_id=who
            )

    monkeypatch.setattr(study_command.dicom_cohort, "write_cohort", write)
    built = [
        study_command.prepare_in(
            configs.check(config), data_dir=tmp_path / name, manual_dir=None
        )
        for name in ("one", "two")
    ]
    sizes = {name: len(split.patients) for name, split in built[0].splits.items()}
    assert sizes == {"train": 2, "validation": 1, "test": 1}
    assert built[0].fingerprint == built[1].fingerprint  # ids by a salt that is known
