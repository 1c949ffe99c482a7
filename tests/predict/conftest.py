"""Tiny networks with weights by chance, and a patient to try them on."""

import pytest

from mtl_jax.predict import trained_model
from mtl_jax.sources.phantom import dicom_cohort
from tests.predict import checkpoints
from tfds_builders.prostate import make_dummy_data


@pytest.fixture(scope="session")
def network(tmp_path_factory):
    """`network(role, site)`: the loaded network of a role, made once."""
    known = {}

    def get(role, site):
        if (role, site) not in known:
            home = tmp_path_factory.mktemp(f"{role}-{site}")
            checkpoints.write(home, role, site)
            known[role, site] = trained_model.load(trained_model.describe(home))
        return known[role, site]

    return get


@pytest.fixture
def scan(tmp_path):
    """`scan(name, position, seed)`: a folder with a patient as DICOM-RT."""

    def write(name="Zaphodsky", position="HFS", seed=1):
        folder = tmp_path / "clinic" / name
        dicom_cohort.write_patient(
            folder,
            make_dummy_data.pelvis(seed),
            patient_id=f"QX77{seed}",
            position=position,
        )
        return folder

    return write
