"""A tiny network, an archive, and four patients, for a node."""

import pytest

from mtl_jax.sources.phantom import dicom_cohort
from tests.node import running
from tests.predict import checkpoints
from tfds_builders.prostate import make_dummy_data


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """The working directory of a tiny network for the pelvis."""
    home = tmp_path_factory.mktemp("node-multi")
    return checkpoints.write(home, "multi", "prostate")


@pytest.fixture(scope="session")
def patients(tmp_path_factory):
    """The folders of four patients."""
    home = tmp_path_factory.mktemp("scans")
    for seed in range(4):
        dicom_cohort.write_patient(
            home / f"p{seed}", make_dummy_data.pelvis(seed), patient_id=f"QX77{seed}"
        )
    return [home / f"p{seed}" for seed in range(4)]


@pytest.fixture
def archive():
    made = running.Archive()
    yield made
    made.server.shutdown()


@pytest.fixture
def node(checkpoint, tmp_path):
    """`node(*flags)`: a node that runs, and ends with the test."""
    nodes = []

    def start(*flags, prefix=()):
        nodes.append(
            running.Node(checkpoint, tmp_path / "state", *flags, prefix=prefix)
        )
        return nodes[-1].start()

    yield start
    for each in nodes:
        if each.process and each.process.poll() is None:
            each.kill()
