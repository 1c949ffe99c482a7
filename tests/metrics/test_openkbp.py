"""Official scores by hand, and as the challenge publishes them, on real patients."""

import io
import math
import pathlib

import numpy as np
import pandas as pd
import pytest

from mtl_jax.core import geometry, records, reported_metrics, sites
from mtl_jax.metrics import dose_metrics, openkbp
from mtl_jax.sources.openkbp import patient_csv
from mtl_jax.sources.openkbp import provided_data as source

SITE = sites.OPENKBP
OARS = [s.name for s in SITE.structures if s.target_gy is None]
TARGETS = [s.name for s in SITE.structures if s.target_gy is not None]


def test_dose_outside_the_mask_is_punished():
    reference = np.zeros((1, 2, 2), np.float32)
    predicted = np.full((1, 2, 2), 2.0, np.float32)
    mask = np.array([[[True, False], [False, False]]])
    assert openkbp.dose_error(reference, predicted, mask) == 8.0


def test_scores_pool_cells_and_average_patients():
    assert openkbp.dose_score([1.0, 3.0]) == 2.0
    assert openkbp.dvh_score([-1.0, 2.0, 3.0]) == 2.0


def test_metrics_follow_the_reference_structures():
    shape = (1, 1, 4)
    masks = {"Larynx": [1, 1, 0, 0], "PTV70": [0, 0, 1, 1], "PTV63": [0, 0, 0, 0]}
    patient = records.Patient(
        patient_id="pt_1",
        grid=geometry.Grid(shape, (2.0, 10.0, 10.0)),
        ct=np.zeros(shape, np.float32),
        structures={k: np.array(v, bool).reshape(shape) for k, v in masks.items()},
        dose_gy=None,
        possible_dose_mask=None,
    )
    dose_gy = np.array([10.0, 20.0, 60.0, 70.0], np.float32).reshape(shape)
    found = openkbp.dvh_metrics(dose_gy, patient, SITE)
    assert found["Larynx", "D_mean"] == 15.0
    assert found["Larynx", "D_0.1cc"] == 15.0  # one of two voxels of 200 mm3: p = 50
    assert found["PTV70", "D_95"] == pytest.approx(60.5)
    assert not any(name == "PTV63" for name, _ in found)  # empty: no value


def test_the_score_is_made_of_the_official_metrics_only():
    def value(structure: str, metric: str, error: float) -> reported_metrics.Value:
        return reported_metrics.Value(structure, metric, "Gy", 0.0, error, error)

    values = [
        value("", "dose_error", 9.0),
        value("Larynx", "openkbp:D_mean", 1.0),
        value("Larynx", "openkbp:D_95", 9.0),  # official for targets
        value("PTV70", "openkbp:D_95", 2.0),
        value("PTV70", "exact:D_95", 9.0),
        value("PTV63", "openkbp:D_95", math.nan),
    ]
    assert openkbp.dvh_errors(values, SITE) == [1.0, 2.0]


# What follows reads like the challenge's code: sparse CSVs, its axes, its order.


def dense(content: bytes) -> np.ndarray:
    frame = pd.read_csv(io.BytesIO(content), index_col=0)
    volume = np.zeros(128**3)
    volume[frame.index] = 1 if frame["data"].isna().any() else frame["data"]
    return volume.reshape(128, 128, 128)


def official(files: dict[str, bytes], predicted: np.ndarray) -> tuple[float, pd.Series]:
    """Dose error, and |difference| by (metric, structure); NaN where it lacks one."""
    reference = dense(files["dose"])
    error = np.sum(np.abs(reference - predicted)) / np.sum(
        dense(files["possible_dose_mask"])
    )
    sizes = np.loadtxt(io.BytesIO(files["voxel_dimensions"]))
    voxels_in_tenth_of_cc = np.maximum(1, np.round(100 / np.prod(sizes)))
    cells = {}
    for roi in [*OARS, *TARGETS]:
        metrics = ("D_0.1cc", "D_mean") if roi in OARS else ("D_99", "D_95", "D_1")
        mask = dense(files[roi]).astype(bool) if roi in files else None
        for metric in metrics:
            values = []
            for volume in (reference, predicted):
                if mask is None:
                    values.append(np.nan)
                    continue
                inside = volume[mask]
                values.append(
                    {
                        "D_0.1cc": lambda d: np.percentile(
                            d, 100 - voxels_in_tenth_of_cc / len(d) * 100
                        ),
                        "D_mean": np.mean,
                        "D_99": lambda d: np.percentile(d, 1),
                        "D_95": lambda d: np.percentile(d, 5),
                        "D_1": lambda d: np.percentile(d, 99),
                    }[metric](inside)
                )
            cells[metric, roi] = abs(values[0] - values[1])
    return error, pd.Series(cells)


def guess(files: dict[str, bytes]) -> np.ndarray:
    """A blurred and shifted reference, and some dose where there can be none."""
    reference = dense(files["dose"])
    blurred = (np.roll(reference, 2, 0) + np.roll(reference, 1, 2) + reference) / 3
    blurred[:10, :10, :10] += 1.25
    return blurred.astype(np.float32).astype(np.float64)


def test_scores_of_all_real_test_patients_are_the_challenges(
    openkbp_sample: pathlib.Path,
):
    template = reported_metrics.default(SITE)
    theirs, table, errors, cells = [], [], [], []
    with source.open_source(openkbp_sample) as patients:
        for patient_id in patients.patients["test"]:
            raw = patients.raw("test", patient_id)
            files = dict(raw.files)
            predicted = guess(files)
            error, row = official(files, predicted)
            theirs.append(error)
            table.append(row)

            patient = patient_csv.parse(raw)
            assert patient.dose_gy is not None
            ours = np.moveaxis(predicted, 2, 0)[::-1].astype(np.float32)
            values = dose_metrics.score(patient.dose_gy, ours, patient, SITE, template)
            (own,) = [v.error for v in values if v.metric == "dose_error"]
            errors.append(own)
            cells += openkbp.dvh_errors(values, SITE)
            assert own == pytest.approx(error, abs=1e-6)
            for value in values:
                dialect, _, metric = value.metric.rpartition(":")
                if dialect == "openkbp":
                    # Stored doses are float32: 4e-6 Gy at 70 Gy.
                    assert value.error == pytest.approx(
                        row[metric, value.structure], abs=1e-5, nan_ok=True
                    )
    assert len(theirs) == 16
    assert openkbp.dose_score(errors) == pytest.approx(np.nanmean(theirs), abs=1e-6)
    dvh_score = np.nanmean(np.asarray(pd.DataFrame(table)))
    assert openkbp.dvh_score(cells) == pytest.approx(dvh_score, abs=1e-6)
    assert len(cells) == np.count_nonzero(~np.isnan(np.asarray(pd.DataFrame(table))))
