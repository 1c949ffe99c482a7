"""The benchmark compares methods that agree; its times are not tested."""

import dataclasses

import numpy as np
import pytest

from benchmarks import metrics
from mtl_jax.core import geometry, records, sites


@pytest.fixture
def patient(rng: np.random.Generator) -> records.Patient:
    grid = geometry.Grid((12, 24, 24), (2.5, 4.0, 4.0))
    masks = {}
    for index, name in enumerate(sites.OPENKBP.names):
        masks[name] = np.zeros(grid.shape, bool)
        masks[name][2:9, 3 + index : 11 + index, 4:12] = True
    return records.Patient(
        patient_id="pt_1",
        grid=grid,
        ct=np.full(grid.shape, 1024.0, np.float32),
        structures=masks,
        dose_gy=rng.uniform(0, 70, grid.shape).astype(np.float32),
        possible_dose_mask=np.ones(grid.shape, bool),
    )


def test_a_short_run(patient, monkeypatch, capsys):
    monkeypatch.setattr(metrics, "find_patient", lambda manual_dir: patient)
    monkeypatch.setattr("sys.argv", ["metrics", "--rounds=1"])
    monkeypatch.setattr("os.sched_setaffinity", lambda *_: None)
    metrics.main()
    printed = capsys.readouterr().out
    assert "Patient pt_1 (12, 24, 24), voxels of Brainstem 448" in printed
    assert printed.count("\n| ") == 12  # the head and eleven measurements


def test_different_numbers_are_an_error():
    with pytest.raises(AssertionError):
        metrics.agree([1.0], [1.1], 1e-9)


def test_the_patient_with_the_most_structures_is_taken(patient):
    fewer = dataclasses.replace(patient, structures={}, patient_id="pt_2")
    assert metrics.fullest(iter([fewer, patient, fewer])) is patient
    assert metrics.fullest(iter([fewer, fewer])).patient_id == "pt_2"


def test_ratios_are_of_consecutive_rounds():
    text = metrics.table([("a", [10.0, 40.0, 20.0], ""), ("b", [5.0, 10.0, 10.0], "a")])
    assert "| a | 20.0 | 10.0 - 40.0 |  |" in text
    assert "| b | 10.0 | 5.0 - 10.0 | 2.0 |" in text
