"""Data sets that the tests of this folder share, built once."""

import pathlib

import pytest

from mtl_jax.datasets import prepared
from tfds_builders.openkbp import make_dummy_data, openkbp_dataset_builder


@pytest.fixture(scope="session")
def dummy(tmp_path_factory: pytest.TempPathFactory) -> prepared.Prepared:
    """The builder's dummy patients, cohort `paper`."""
    return prepared.prepare(
        openkbp_dataset_builder.Builder,
        cohort="paper",
        data_dir=tmp_path_factory.mktemp("dummy"),
        manual_dir=make_dummy_data.FOLDER,
        workers=1,
    )


@pytest.fixture(scope="session")
def openkbp_prepared(
    openkbp_sample: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> prepared.Prepared:
    """All real patients of the sample, read from its archives."""
    return prepared.prepare(
        openkbp_dataset_builder.Builder,
        cohort="official",
        data_dir=tmp_path_factory.mktemp("openkbp"),
        manual_dir=openkbp_sample,
        workers=2,
    )
