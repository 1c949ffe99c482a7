"""Damaged CSV, YAML and JSON files: valid values, or an error of ours."""

import pathlib
import warnings

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from mtl_jax.core import errors, sites
from mtl_jax.sources.clinical import split_assignment
from mtl_jax.sources.dicom import roi_names
from mtl_jax.sources.openkbp import patient_csv

CSVS = {
    "ct": b",data\n7,1030.0\n8,2.0\n2097151,5.0\n",
    "dose": b",data\n7,21.869\n8,0.0\n",
    "possible_dose_mask": b",data\n7,\n8,\n2097151,\n",
    "Larynx": b",data\n7,\n",
    "voxel_dimensions": b"3.5\n4.5\n2.0\n",
}
SPLITS = '"patient",split\r\n"a, b",train\nb,test\n\u00e9,validation\n'.encode()
YAML = b'"Femur L": &a Femur_L\n? b\n: !!null ~\n<<: {c: *a}\n# x\nd: [1, {e: f}]\n'
JSON = b'{"a": "Rectum", "b": null, "c": [1, {"x": 1e5}]}'
PIECES = (
    *(b"*a", b"&a ", b"<<: ", b"!!int ", b"!!float ", b"!!set ", b"!!omap ", b"!x "),
    *(b"!!binary ", b"!!timestamp ", b"!!pairs ", b"? ", b": ", b"- ", b"|\n"),
    *(b"{", b"}", b"[", b"]", b'"', b"'", b",", b";", b"\t", b"\r", b"\n", b"\0"),
    *(b".nan", b"inf", b"1e999", b"0x", b"1_0", b"-1", b"9" * 5000, b"2001-13-01"),
    *(b"\xff", b"\xe2\x80\xa8", b"\xef\xbb\xbf", b" ", b"true", b"---\n", b"\\"),
)


@strategies.composite
def damaged(draw, texts: tuple[bytes, ...]) -> tuple[int, bytes]:
    """The number of one of `texts`, and its content with pieces changed."""
    number = draw(strategies.integers(0, len(texts) - 1))
    content = texts[number]
    for _ in range(draw(strategies.integers(1, 4))):
        start = draw(strategies.integers(0, len(content)))
        end = draw(strategies.integers(start, min(len(content), start + 30)))
        piece = draw(strategies.sampled_from((*PIECES, content[start:end] * 2, b"")))
        content = content[:start] + piece + content[draw(_either(start, end)) :]
    return number, content


def _either(first: int, second: int) -> strategies.SearchStrategy[int]:
    return strategies.sampled_from((first, second))


MANY = hypothesis.settings(max_examples=150, deadline=None, derandomize=True)


@MANY
@hypothesis.given(damaged(tuple(CSVS.values())))
def test_the_challenges_csvs(damage):
    number, content = damage
    files = CSVS | {list(CSVS)[number]: content}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            patient = patient_csv.parse(patient_csv.RawPatient("pt_1", "pt_1", files))
    except errors.MtlError as error:
        assert ".csv" in str(error)
    else:
        assert patient.dose_gy is not None and np.isfinite(patient.dose_gy).all()
        assert np.isfinite(patient.ct).all()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    return tmp_path_factory.mktemp("texts")


@MANY
@hypothesis.given(damaged((SPLITS, YAML, JSON)))
def test_splits_and_mappings(folder, damage):
    number, content = damage
    path = folder / ("splits.csv", "mapping.yaml", "mapping.json")[number]
    path.write_bytes(content)
    try:
        if number == 0:
            assigned = split_assignment.read(path, {"a, b", "b", "\u00e9"})
            assert set(assigned.values()) <= set(split_assignment.SPLITS)
        else:
            mapping = roi_names.load_mapping(path, sites.PROSTATE)
            assert set(mapping.values()) <= {*sites.PROSTATE.names, None}
    except errors.MtlError as error:
        assert path.name in str(error)
