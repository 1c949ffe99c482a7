"""Damaged bytes anywhere: a patient or an error of ours, never another exception."""

import pathlib
import warnings

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from mtl_jax.core import errors
from tests.sources.dicom import writing


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A small patient of three slices, to be damaged and mended again."""
    files = writing.patient()
    for name in ("ct3.dcm", "ct4.dcm", "ct5.dcm"):
        del files[name]
    files["rp.dcm"] = writing.plan()
    return writing.save(files, tmp_path_factory.mktemp("fuzz"))


@hypothesis.settings(max_examples=80, deadline=None, derandomize=True)
@hypothesis.given(
    name=strategies.sampled_from(["ct1.dcm", "rs.dcm", "rd.dcm", "rp.dcm"]),
    seed=strategies.integers(0, 2**32 - 1),
    changes=strategies.integers(1, 6),
    end=strategies.floats(0, 1) | strategies.just(1.0),
)
def test_no_other_exception(folder, name, seed, changes, end):
    path = folder / name
    good = path.read_bytes()
    rng = np.random.default_rng(seed)
    content = np.frombuffer(good, np.uint8).copy()
    # Headers are where structure is: pixels are most of the bytes otherwise.
    places = rng.integers(128, min(len(content), 2500), changes)
    content[places] = rng.choice([0, 1, 0x20, 0x5C, 0x7F, 0xFF], changes)
    try:
        path.write_bytes(content[: int(end * len(content))].tobytes())
        # pydicom's warnings show values, which may tell who the patient is.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            reading = writing.read(folder)
    except errors.MtlError as error:
        assert str(error)
    else:
        assert reading.patient.ct.shape == reading.patient.grid.shape
    finally:
        path.write_bytes(good)
