"""Every voxel of the real patients comes back from the data set as the CSVs have it."""

import io
import pathlib
import tarfile

import numpy as np
import pytest
from pyarrow import csv

from mtl_jax.core import records
from mtl_jax.datasets import prepared
from mtl_jax.run import training_data
from mtl_jax.study import split_checks

SPLITS = ("train", "validation", "test")
COUNTS = {"train": 40, "validation": 8, "test": 16}


def plain_volume(content: bytes) -> np.ndarray:
    """The CSV's values in the challenge's own axes, read by Arrow; 1 in masks."""
    table = csv.read_csv(io.BytesIO(content))
    assert table.column_names == ["", "data"]
    places = np.unravel_index(table.column("").to_numpy(), (128, 128, 128))
    volume = np.zeros((128, 128, 128), np.float64)
    is_mask = table.column("data").null_count == table.num_rows
    volume[places] = 1.0 if is_mask else table.column("data").to_numpy()
    return volume


def own_axes(volume: np.ndarray) -> np.ndarray:
    """[Z, Y, X] from the feet, as rows, columns, slices from the head."""
    return np.moveaxis(volume[::-1], 0, 2)


def check(patient: records.Patient, files: dict[str, bytes]) -> None:
    """Every file of a patient against the volume that was built from it."""
    assert patient.dose_gy is not None and patient.possible_dose_mask is not None
    found = {
        "ct": patient.ct,
        "dose": patient.dose_gy,
        "possible_dose_mask": patient.possible_dose_mask,
        **patient.structures,
    }
    assert found.keys() | {"voxel_dimensions"} == files.keys()
    sizes = [float(line) for line in files["voxel_dimensions"].split()]
    z, y, x = patient.grid.spacing_mm
    assert [y, x, z] == sizes
    for name, volume in found.items():
        expected = plain_volume(files[name]).astype(volume.dtype)
        np.testing.assert_array_equal(own_axes(volume), expected, err_msg=name)


def patients_of(archive: pathlib.Path):
    """Id and contents of the CSVs of each patient, in the archive's order."""
    with tarfile.open(archive) as tar:
        files: dict[str, bytes] = {}
        current = ""
        for member in tar:
            if not member.name.endswith(".csv"):
                continue
            patient_id, name = member.name.split("/")[-2:]
            if patient_id != current and files:
                yield current, files
                files = {}
            current = patient_id
            stream = tar.extractfile(member)
            assert stream is not None
            files[name.removesuffix(".csv")] = stream.read()
        yield current, files


@pytest.mark.parametrize("name", SPLITS)
def test_every_voxel_comes_back(
    openkbp_prepared: prepared.Prepared, openkbp_sample: pathlib.Path, name: str
):
    split = openkbp_prepared.splits[name]
    position = {entry.patient_id: i for i, entry in enumerate(split.patients)}
    numbers = [int(patient_id[3:]) for patient_id in position]
    assert numbers == sorted(numbers)  # natural order
    assert len(split.source) == 128 * COUNTS[name]
    seen = 0
    for patient_id, files in patients_of(openkbp_sample / f"openkbp-{name}.tar.xz"):
        check(split.volume(position[patient_id]), files)
        seen += 1
    assert seen == len(split.patients) == COUNTS[name]


def test_most_slices_show_a_body(openkbp_prepared: prepared.Prepared):
    """Slices without a body hold no structure but at a contour's rim."""
    for split in openkbp_prepared.splits.values():
        share = len(split.slice_indices(body_only=True)) / len(split.source)
        assert 0.7 < share < 0.9


def test_nobody_is_in_two_splits(openkbp_prepared: prepared.Prepared):
    found = split_checks.inspect(openkbp_prepared).require()
    assert {name: found.counts[name]["patients"] for name in SPLITS} == COUNTS


def test_training_patients_are_like_the_description_of_them(
    openkbp_prepared: prepared.Prepared,
):
    """And those of the other splits are, but for one in ten at most."""
    found = training_data.describe(openkbp_prepared.splits["train"])
    told: dict[str, list[list[str]]] = {name: [] for name in SPLITS}
    for name, split in openkbp_prepared.splits.items():
        for index in range(len(split.patients)):
            patient = split.volume(index)
            hu = patient.ct - np.float32(split.site.ct_offset_hu)
            told[name].append(training_data.differences(found, hu, patient.grid, ""))
    assert not any(told["train"])
    others = [*told["validation"], *told["test"]]
    assert sum(map(bool, others)) <= len(others) / 10, others
