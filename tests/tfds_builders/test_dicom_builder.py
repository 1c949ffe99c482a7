"""The builder of DICOM patients of any site, and what `prostate` keeps of it."""

import json
import pathlib
import shutil

import numpy as np
import pytest

import tfds_builders
from mtl_jax.configs import prostate
from mtl_jax.core import config as configs
from mtl_jax.core import errors, sites
from mtl_jax.datasets import prepared
from mtl_jax.run import command as run_command
from mtl_jax.sources.clinical import patient_folders
from tfds_builders.dicom import __main__ as command
from tfds_builders.dicom import dicom_dataset_builder
from tfds_builders.prostate import __main__ as prostate_command
from tfds_builders.prostate import make_dummy_data, prostate_dataset_builder

LUNG = pathlib.Path(prostate.__file__).parent / "sites" / "lung.yaml"
# Structures of the dummy patients as if they were a lung patient's.
AS_LUNG = {
    "Femur_L": "Lung_L",
    "Femur_R": "Lung_R",
    "Bladder": "Heart",
    "Rectum": "Esophagus",
    "Prostate": "SpinalCord",
}


@pytest.fixture
def pelvises(tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of the dummy cohort: its key file is written beside it."""
    folder = tmp_path / "clinic" / "manual"
    return pathlib.Path(shutil.copytree(make_dummy_data.FOLDER, folder))


@pytest.fixture
def lungs(pelvises: pathlib.Path) -> pathlib.Path:
    """The dummy cohort under names of a lung's structures."""
    namings = make_dummy_data.dicom_cohort.NAMINGS.values()
    mapping = {
        name: AS_LUNG.get(structure)
        for naming in namings
        for structure, names in naming.items()
        for name in names
        if not structure.startswith("PTV")
    }
    (pelvises / "mapping.yaml").write_text(json.dumps(mapping))
    return pelvises


def test_a_lung_cohort_needs_the_site_alone(lungs, tmp_path, capsys):
    flags = [f"--manual_dir={lungs}", f"--data_dir={tmp_path / 'data'}", "--workers=1"]
    assert command.main([f"--site={LUNG}", *flags]) == 0
    assert "read for site lung" in capsys.readouterr().out
    data = prepared.open_directory(tmp_path / "data" / "dicom" / "own" / "1.0.0")
    assert data.site == sites.get(str(LUNG))
    patient = data.splits["train"].volume(0)
    made = make_dummy_data.pelvis(0)
    np.testing.assert_array_equal(patient.ct, made.ct_hu)
    assert patient.structures.keys() == {*AS_LUNG.values(), "PTV_6000"}
    for pelvic, name in AS_LUNG.items():
        np.testing.assert_array_equal(
            patient.structures[name], made.structures[pelvic], err_msg=name
        )


def test_its_examples_are_those_of_the_builder_prostate(pelvises, tmp_path):
    built = [
        prepared.prepare(
            builder,
            cohort="own",
            data_dir=tmp_path / "data",
            manual_dir=pelvises,
            workers=1,
            site=sites.PROSTATE,
        )
        for builder in (dicom_dataset_builder.Builder, prostate_dataset_builder.Builder)
    ]
    assert [data.path.parts[-3] for data in built] == ["dicom", "prostate"]
    assert built[0].fingerprint == built[1].fingerprint
    assert built[0].origin == built[1].origin
    for split, of_dicom in built[0].splits.items():
        of_prostate = built[1].splits[split]
        assert len(of_dicom.source) == len(of_prostate.source)
        for z in range(len(of_dicom.source)):
            other = of_prostate.source[z]
            for key, value in of_dicom.source[z].items():
                np.testing.assert_array_equal(value, other[key], err_msg=key)


def test_data_sets_of_the_builder_prostate_are_as_before(pelvises, tmp_path):
    """Both digests are those of the version that had no builder `dicom`."""
    rules = patient_folders.Rules(salt="phantom")  # ids that can be known here
    data = prepared.prepare(
        prostate_dataset_builder.Builder,
        cohort="own",
        data_dir=tmp_path,
        manual_dir=pelvises,
        workers=1,
        rules=rules,
    )
    assert data.fingerprint == (
        "77679d06d2abfd9c54e0a811e4bee0c80a32b9c347a798653973338b60fed8e3"
    )
    assert data.origin.fingerprint == (
        "4427ecb9ae07c246482c87391edbc1d98d22659622199807fd37e01518879b08"
    )
    assert data.path == tmp_path / "prostate" / "own" / "1.0.0"
    info = json.loads((data.path / "dataset_info.json").read_text())
    assert info["moduleName"] == "tfds_builders.prostate.prostate_dataset_builder"
    readme = make_dummy_data.FOLDER.with_name("README.md").read_text()
    assert info["description"] == readme.strip()


def test_a_configuration_may_name_either_builder(lungs, tmp_path):
    """`prostate` with another site is what lung patients needed before."""
    config = prostate.get_config()
    config.site = str(LUNG)
    config.data.structures = ("Lung_L", "Lung_R", "Heart")
    config.data.workers = 1
    built = {}
    for name in ("dicom", "prostate"):
        config.data.builder = name
        built[name] = run_command.prepare_in(
            configs.check(config), data_dir=tmp_path / "data", manual_dir=lungs
        )
    assert built["dicom"].fingerprint == built["prostate"].fingerprint
    assert built["dicom"].site.name == "lung"
    assert {name: data.path.parts[-3] for name, data in built.items()} == {
        "dicom": "dicom",
        "prostate": "prostate",
    }


def test_without_a_site_the_builder_says_what_to_give(pelvises, tmp_path, capsys):
    with pytest.raises(errors.ConfigError, match=r"dicom has no site.*give site="):
        dicom_dataset_builder.Builder(data_dir=tmp_path)
    flags = [f"--manual_dir={pelvises}", f"--data_dir={tmp_path / 'data'}"]
    with pytest.raises(SystemExit) as ended:
        command.main(flags)
    assert ended.value.code == 2
    assert "required: --site" in capsys.readouterr().err
    assert command.main([*flags, "--site=lnug"]) == 1
    assert prostate_command.main([*flags, "--workers=1"]) == 0  # has its own


def test_each_builder_has_its_own_description():
    """Whichever TFDS asks first."""
    folder = pathlib.Path(tfds_builders.__file__).parent
    for module in (dicom_dataset_builder, prostate_dataset_builder):
        builder = module.Builder
        readme = (folder / builder.name / "README.md").read_text()
        assert builder.get_metadata().description == readme
        assert "kim2025multitask" in builder.get_metadata().citation
