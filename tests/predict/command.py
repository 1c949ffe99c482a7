"""`python -m mtl_jax.predict` in this process, a network and patients for it."""

import pytest

from mtl_jax.predict import __main__ as predict
from mtl_jax.sources.phantom import dicom_cohort
from tests.predict import checkpoints
from tfds_builders.prostate import make_dummy_data

IN_PELVIS = {"RS.dcm", "RD.dcm", "preview.png", "statistics.json"}


@pytest.fixture(scope="session")
def multi(tmp_path_factory):
    """The working directory of a tiny network for the pelvis."""
    home = tmp_path_factory.mktemp("multi")
    return checkpoints.write(home, "multi", "prostate")


@pytest.fixture
def clinic(tmp_path):
    """Three patients."""
    for seed, name in enumerate(("a", "b", "c")):
        dicom_cohort.write_patient(
            tmp_path / "clinic" / name,
            make_dummy_data.pelvis(seed),
            patient_id=f"QX77{seed}",
        )
    return tmp_path / "clinic"


@pytest.fixture
def call(tmp_path, capsys):
    """`call(checkpoint, *arguments)`: exit status, stdout and stderr."""

    def call(checkpoint, *arguments):
        flags = [f"--checkpoint={checkpoint}", f"--out={tmp_path / 'out'}"]
        try:
            status = predict.main([*flags, *map(str, arguments)])
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    return call


def folders(place):
    """What each patient's folder holds, by its name."""
    return {
        path.name: {inside.name for inside in path.iterdir()}
        for path in sorted(place.iterdir())
        if path.is_dir()
    }
