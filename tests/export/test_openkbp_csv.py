"""A submission, read back by our reader and by the definition of the format."""

import csv
import io
import zipfile

import numpy as np
import pytest

from mtl_jax.core import errors, sites
from mtl_jax.export import openkbp_csv
from mtl_jax.metrics import openkbp
from mtl_jax.sources.openkbp import patient_csv as source_csv
from mtl_jax.sources.openkbp import provided_data as source


def some_dose(rng, voxels=2000):
    dose = np.zeros(openkbp_csv.SHAPE, np.float32)
    chosen = rng.choice(dose.size, voxels, replace=False)
    # All magnitudes, with all bits in use.
    dose.reshape(-1)[chosen] = (80 * rng.random(voxels) ** 8).astype(np.float32)
    return dose


def read_back(member: bytes) -> np.ndarray:
    """The dose of a CSV, through the project's reader of the challenge's files."""
    listed = [line.split(b",")[0] + b"," for line in member.splitlines()[1:]]
    mask = b"\n".join([b",data", *listed, b""])
    files = {"ct": b",data\n0,1\n", "dose": member, "possible_dose_mask": mask}
    files["voxel_dimensions"] = b"3.0\n3.0\n2.5\n"
    return source_csv.parse(source_csv.RawPatient("pt_1", "pt_1", files)).dose_gy


def members(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_our_reader_reads_the_same_float32_back(rng, tmp_path):
    doses = {"pt_201": some_dose(rng), "pt_7": some_dose(rng)}
    path = tmp_path / "new" / "submission.zip"
    assert openkbp_csv.write(doses.items(), path) == 2
    written = members(path)
    assert list(written) == ["pt_201.csv", "pt_7.csv"]  # flat, one for each patient
    for patient, dose in doses.items():
        np.testing.assert_array_equal(read_back(written[f"{patient}.csv"]), dose)
    assert [p.name for p in path.parent.iterdir()] == ["submission.zip"]


def test_axes_worked_by_hand():
    dose = np.zeros(openkbp_csv.SHAPE, np.float32)
    dose[127, 0, 0] = 1.5  # uppermost slice, most anterior row, rightmost column
    dose[0, 2, 3] = 0.1  # lowest slice
    text = openkbp_csv.csv_bytes(dose).decode()
    assert text == f",data\n0,1.5\n{(2 * 128 + 3) * 128 + 127},0.1\n"


def test_it_is_a_table_with_an_index_and_data(rng):
    dose = some_dose(rng)
    table = csv.DictReader(io.StringIO(openkbp_csv.csv_bytes(dose).decode()))
    assert table.fieldnames == ["", "data"]
    flat = np.zeros(dose.size)
    for row in table:
        flat[int(row[""])] = float(row["data"])
    assert flat.sum() == pytest.approx(dose.sum(dtype=np.float64), rel=1e-6)
    # Rows, columns and slices from the head, as the challenge's own code unravels them.
    cube = flat.reshape(128, 128, 128)
    np.testing.assert_array_equal(cube[5, 9, 100].astype(np.float32), dose[27, 5, 9])


def test_the_same_doses_give_the_same_bytes(rng, tmp_path):
    dose = some_dose(rng)
    for name in ("a.zip", "b.zip"):
        openkbp_csv.write([("pt_1", dose)], tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_dose_of_zero_is_only_a_header():
    assert openkbp_csv.csv_bytes(np.zeros(openkbp_csv.SHAPE, np.float32)) == b",data\n"


def bad(value):
    dose = np.zeros(openkbp_csv.SHAPE, np.float32)
    dose[0, 0, 0] = value
    return dose


@pytest.mark.parametrize(
    ("doses", "message"),
    [
        ([], "no patient to submit"),
        ([("pt_1", bad(-0.5))], "pt_1: the dose has negative"),
        ([("pt_1", bad(np.nan))], "NaN or infinite"),
        ([("pt_1", bad(1).astype(np.float64))], "is float64"),
        ([("pt_1", np.ones((2, 128, 128), np.float32))], r"\(2, 128, 128\)"),
        ([("pt_1", bad(1)), ("pt_1", bad(1))], "pt_1 appears twice"),
        ([("../pt_1", bad(1))], "cannot be submitted"),
    ],
)
def test_a_refused_submission_leaves_the_previous_file(tmp_path, doses, message):
    path = tmp_path / "submission.zip"
    path.write_bytes(b"the one before")
    with pytest.raises(errors.RecordError, match=message):
        openkbp_csv.write(doses, path)
    assert path.read_bytes() == b"the one before"
    assert list(tmp_path.iterdir()) == [path]


def test_real_patients_score_the_same_when_read_back(openkbp_sample, rng, tmp_path):
    manual_dir = tmp_path / "raw"
    manual_dir.mkdir()
    name = "openkbp-validation.tar.xz"  # the smallest: opening it takes time
    (manual_dir / name).symlink_to(openkbp_sample / name)
    with source.open_source(manual_dir) as cohort:
        patient = cohort.read("validation", cohort.patients["validation"][0])
    noise = rng.normal(0, 3, patient.dose_gy.shape).astype(np.float32)
    predicted = np.maximum(patient.dose_gy + noise, 0)
    predicted[~patient.possible_dose_mask] = 0
    path = tmp_path / "submission.zip"
    openkbp_csv.write([(patient.patient_id, predicted)], path)
    back = read_back(members(path)[f"{patient.patient_id}.csv"])
    np.testing.assert_array_equal(back, predicted)
    first, second = (
        (
            openkbp.dose_error(patient.dose_gy, dose, patient.possible_dose_mask),
            openkbp.dvh_metrics(dose, patient, sites.OPENKBP),
        )
        for dose in (predicted, back)
    )
    assert first == second
