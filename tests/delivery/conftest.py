"""Tiny networks with weights by chance, and a patient to try them on."""

import pytest

from mtl_jax.delivery import model
from mtl_jax.sources import phantom_dicom
from tests.delivery import checkpoints
from tfds_builders.prostate import make_dummy_data


@pytest.fixture(scope="session")
def network(tmp_path_factory):
    """`network(role, site)`: the loaded network of a role, made once."""
    known = {}

    def get(role, site):
        if (role, site) not in known:
            home = tmp_path_factory.mktemp(f"{role}-{site}")
            checkpoints.write(home, role, site)
            known[role, site] = model.load(model.describe(home))
        return known[role, site]

    return get


@pytest.fixture
def scan(tmp_path):
    """`scan(name, position, seed)`: a folder with a patient as DICOM-RT."""

    def write(name="Zaphodsky", position="HFS", seed=1):
        folder = tmp_path / "clinic" / name
        phantom_dicom.write_patient(
            folder,
            make_dummy_data.pelvis(seed),
            patient_id=f"QX77{seed}",
            position=position,
        )
        return folder

    return write
