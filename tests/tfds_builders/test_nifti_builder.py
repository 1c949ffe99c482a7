"""The builder of NIfTI patients: the examples of the same patients as DICOM."""

import pathlib
import shutil

import numpy as np
import pytest

from mtl_jax.configs import prostate
from mtl_jax.core import config as configs
from mtl_jax.core import errors, sites
from mtl_jax.datasets import prepared
from mtl_jax.run import command as run_command
from tests.sources.nifti import writing
from tfds_builders.nifti import __main__ as command
from tfds_builders.nifti import nifti_dataset_builder
from tfds_builders.prostate import make_dummy_data, prostate_dataset_builder

NAMES = make_dummy_data.SPLITS  # in the order of their seeds; the last is refused


@pytest.fixture
def pelvises(tmp_path, monkeypatch):
    """The dummy cohort as NIfTI, each patient in another orientation."""
    monkeypatch.delenv("MTL_JAX_KEY_FILE", raising=False)
    folder = writing.nnunet(tmp_path / "clinic" / "manual")
    for seed, (name, codes) in enumerate(
        zip(NAMES, ("LPS", "RAS", "PIR", "LPS"), strict=True)
    ):
        writing.write_case(folder, name, seed, codes)
    (folder / "labelsTr" / "four.nii.gz").unlink()
    shutil.copy(make_dummy_data.FOLDER / "splits.csv", folder)
    return folder


def test_the_data_set_is_that_of_the_same_patients_as_dicom(
    pelvises, tmp_path, capsys, caplog
):
    flags = [f"--manual_dir={pelvises}", f"--data_dir={tmp_path / 'data'}"]
    assert command.main(["--site=prostate", *flags]) == 0
    printed = capsys.readouterr().out
    assert "built from NIfTI of 4 patients, read for site prostate" in printed
    assert "left out: 1 patients" in printed
    assert "is left out: no label map here" in caplog.text
    data = prepared.open_directory(tmp_path / "data" / "nifti" / "own" / "1.0.0")
    clinic = shutil.copytree(make_dummy_data.FOLDER, tmp_path / "dicom" / "manual")
    expected = prepared.prepare(
        prostate_dataset_builder.Builder,
        cohort="own",
        data_dir=tmp_path / "data",
        manual_dir=pathlib.Path(clinic),
        workers=1,
    )
    for split, of_dicom in expected.splits.items():
        (ours,), (theirs,) = data.splits[split].patients, of_dicom.patients
        assert ours.grid == theirs.grid
        assert ours.ct_sha256 == theirs.ct_sha256
        assert ours.structures == theirs.structures
        for z in range(ours.slices):
            example, other = data.splits[split].source[z], of_dicom.source[z]
            np.testing.assert_array_equal(example["ct"], other["ct"])
            np.testing.assert_array_equal(example["masks"], other["masks"])
            np.testing.assert_allclose(example["dose_gy"], other["dose_gy"], atol=1e-3)
    # Nothing of the names is stored.
    texts = [path.read_text("utf-8") for path in data.path.glob("*.json")]
    assert texts and not any(f'"{name}"' in text for text in texts for name in NAMES)
    # A second build finds it; after a change of an image it does not fit.
    assert command.main(["--site=prostate", *flags]) == 0
    writing.write_case(pelvises, "two", 7)
    assert command.main(["--site=prostate", *flags]) == 1
    assert "the patients, their files or the options differ" in capsys.readouterr().err


def test_a_configuration_names_the_builder(pelvises, tmp_path):
    config = prostate.get_config()
    config.data.builder = "nifti"
    config.data.workers = 1
    data = run_command.prepare_in(
        configs.check(config), data_dir=tmp_path / "data", manual_dir=pelvises
    )
    assert data.path.parts[-3:] == ("nifti", "own", "1.0.0")
    config.data.refused_patients = "error"
    with pytest.raises(errors.SourceError, match=r"patient p\w{12}: no label map"):
        run_command.prepare_in(
            configs.check(config), data_dir=tmp_path / "new", manual_dir=pelvises
        )
    config.data.source = "phantom"
    with pytest.raises(errors.ConfigError, match="nifti reads no generated patients"):
        run_command.prepare_in(
            configs.check(config), data_dir=tmp_path / "new", manual_dir=None
        )


def test_a_folder_without_a_description_is_refused(tmp_path, capsys):
    folder = tmp_path / "manual"
    folder.mkdir()
    flags = [f"--manual_dir={folder}", f"--data_dir={tmp_path / 'data'}"]
    assert command.main(["--site=prostate", *flags]) == 1
    assert "the manual_dir is empty" in capsys.readouterr().err
    (folder / "a.nii.gz").touch()
    assert command.main(["--site=prostate", *flags]) == 1
    assert "the manual_dir has no dataset.json; put a" in capsys.readouterr().err
    with pytest.raises(errors.ConfigError, match="nifti has no site"):
        nifti_dataset_builder.Builder(data_dir=tmp_path)
    inside = nifti_dataset_builder.Builder(site=sites.PROSTATE, data_dir=folder)
    with pytest.raises(errors.SourceError, match="lies in the manual_dir"):
        inside.locate(folder)
