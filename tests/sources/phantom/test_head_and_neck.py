"""Generated head-and-neck patients: validity, variety, and cohorts on disk."""

import numpy as np
import pytest

from mtl_jax.core import errors, records, sites
from mtl_jax.sources.openkbp import patient_csv, provided_data
from mtl_jax.sources.phantom import generated_folder, head_and_neck

SEED = 9
OARS = sites.OPENKBP.contoured


@pytest.fixture(scope="module")
def patients() -> list[records.Patient]:
    return [head_and_neck.make_patient(SEED, index) for index in range(1, 10)]


def equal(a: records.Patient, b: records.Patient) -> bool:
    """Whether two patients are the same, bit by bit."""
    assert a.dose_gy is not None and a.possible_dose_mask is not None
    return (
        a.patient_id == b.patient_id
        and np.allclose(a.grid.spacing_mm, b.grid.spacing_mm, rtol=0, atol=1e-12)
        and np.array_equal(a.ct, b.ct)
        and np.array_equal(a.dose_gy, b.dose_gy)
        and np.array_equal(a.possible_dose_mask, b.possible_dose_mask)
        and a.structures.keys() == b.structures.keys()
        and all(np.array_equal(a.structures[n], b.structures[n]) for n in a.structures)
    )


def test_a_patient_is_a_function_of_seed_and_index(patients):
    assert equal(head_and_neck.make_patient(SEED, 2), patients[1])
    other = head_and_neck.make_patient(SEED + 1, 2)
    assert not np.array_equal(other.ct, patients[1].ct)
    assert not np.array_equal(patients[2].ct, patients[1].ct)


def test_patients_are_valid_and_like_those_of_the_challenge(patients):
    for patient in patients:
        records.check_patient(patient, sites.OPENKBP.names)
        dose, possible = patient.dose_gy, patient.possible_dose_mask
        body = patient.ct > 0
        assert patient.grid.shape == (128, 128, 128)
        assert np.array_equal(patient.ct, np.rint(patient.ct))
        assert patient.ct.min() >= 0 and patient.ct.max() <= 4095
        assert not dose[~possible].any()
        assert np.all(body[possible])
        assert np.array_equal(dose, np.round(dose.astype(float), 3).astype(np.float32))
        assert 30 <= body.any((1, 2)).sum() <= 55
        # The demo crops images to the middle 320 mm of each slice.
        for axis in (1, 2):
            voxels = np.flatnonzero(body.any(axis=tuple({0, 1, 2} - {axis})))
            from_middle_mm = (voxels - 63.5) * patient.grid.spacing_mm[axis]
            assert np.abs(from_middle_mm).max() < 160
        for mask in patient.structures.values():
            assert mask.any() and np.all(body[mask])


def test_targets_are_disjoint_and_come_in_the_challenges_combinations(patients):
    combinations = set()
    for patient in patients:
        targets = [name for name in patient.structures if name.startswith("PTV")]
        combinations.add("+".join(targets))
        assert np.sum([patient.structures[n] for n in targets], axis=0).max() == 1
    assert combinations == {"PTV56+PTV70", "PTV56+PTV63+PTV70"}


def test_some_patients_lack_a_contour_that_the_network_learns(patients):
    complete = [all(name in p.structures for name in OARS) for p in patients]
    assert any(complete) and not all(complete)
    for patient in patients:
        assert sum(name not in patient.structures for name in OARS) <= 1


def test_organs_lie_where_anatomy_has_them(patients):
    for patient in patients:
        centre = {
            name: np.argwhere(mask).mean(axis=0)
            for name, mask in patient.structures.items()
        }
        if {"LeftParotid", "RightParotid"} <= centre.keys():
            assert centre["LeftParotid"][2] > centre["RightParotid"][2] + 15
        if {"Brainstem", "SpinalCord"} <= centre.keys():
            assert centre["Brainstem"][0] > centre["SpinalCord"][0] + 10
        if {"Mandible", "SpinalCord"} <= centre.keys():
            assert centre["Mandible"][1] < centre["SpinalCord"][1]


def test_positions_vary_by_centimetres(patients):
    centres = np.array(
        [
            np.argwhere(p.structures["PTV70"]).mean(axis=0) * p.grid.spacing_mm
            for p in patients
        ]
    )
    assert np.all(centres.std(axis=0) > 10)


def test_a_prior_map_is_a_poor_predictor(patients):
    """Each patient against the mean of the others, at the best threshold."""
    for name in OARS:
        masks = [p.structures[name] for p in patients if name in p.structures]
        total = np.sum(masks, axis=0, dtype=np.float32)
        best = []
        for mask in masks:
            prior = (total - mask) / (len(masks) - 1)
            guesses = [prior > threshold for threshold in (0, 0.2, 0.4)]
            dice = [2 * (g & mask).sum() / (g.sum() + mask.sum()) for g in guesses]
            best.append(max(dice))
        assert np.mean(best) < 0.3


def test_a_mean_dose_map_is_a_poor_predictor(patients):
    doses = np.array([p.dose_gy for p in patients])
    possible = np.array([p.possible_dose_mask for p in patients])
    total, count = doses.sum(axis=0), possible.sum(axis=0)
    errors_gy = []
    for dose, mask in zip(doses, possible, strict=True):
        others = count - mask
        mean = np.divide(
            total - dose, others, where=others > 0, out=np.zeros_like(dose)
        )
        errors_gy.append(np.abs(mean - dose)[mask].mean())
    assert np.mean(errors_gy) > 12


def test_plans_reach_their_prescriptions_and_spare_cord_and_brainstem(patients):
    for patient in patients:
        dose, structures = patient.dose_gy, patient.structures
        assert 67.5 < np.percentile(dose[structures["PTV70"]], 5) < 71.5
        assert dose.max() < 85
        for name in ("PTV63", "PTV56"):
            if name in structures:
                gy = sites.OPENKBP.structure(name).target_gy
                assert abs(np.median(dose[structures[name]]) - gy) < 7
        for name in ("SpinalCord", "Brainstem"):
            if name in structures:
                assert np.percentile(dose[structures[name]], 99) < 55


def test_a_cohort_is_read_back_from_its_files(tmp_path, capsys):
    folder = tmp_path / "cohorts" / "small"
    head_and_neck.write_cohort(folder, seed=SEED, train=1, validation=1, test=1)
    assert "phantoms" in capsys.readouterr().err  # the progress bar
    with provided_data.open_source(folder) as source:
        assert source.patients == {
            "train": ("pt_1",),
            "validation": ("pt_2",),
            "test": ("pt_3",),
        }
        for index, split in enumerate(source.patients, start=1):
            read = source.read(split, f"pt_{index}")
            assert equal(read, head_and_neck.make_patient(SEED, index))
    assert [path.name for path in folder.parent.iterdir()] == ["small"]


def test_the_same_cohort_is_reused_and_another_is_refused(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        patient_csv,
        "write_patient",
        lambda patient, _: written.append(patient.patient_id),
    )
    folder = tmp_path / "cohort"
    counts = {"train": 0, "validation": 0, "test": 1}
    folder.mkdir()  # an empty folder is no obstacle
    head_and_neck.write_cohort(folder, seed=SEED, **counts)
    head_and_neck.write_cohort(folder, seed=SEED, **counts)
    assert written == ["pt_1"]
    with pytest.raises(errors.SourceError, match=f'holds .*"seed": {SEED}.*; expected'):
        head_and_neck.write_cohort(folder, seed=SEED + 1, **counts)
    with pytest.raises(errors.SourceError, match="delete it, or choose another"):
        head_and_neck.write_cohort(folder, seed=SEED, **{**counts, "test": 2})
    (folder / generated_folder.STAMP).unlink()
    with pytest.raises(errors.SourceError, match=r"no readable\s+phantom.json"):
        head_and_neck.write_cohort(folder, seed=SEED, **counts)
    assert written == ["pt_1"]


def test_a_cohort_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fail(patient: records.Patient, folder: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(patient_csv, "write_patient", fail)
    with pytest.raises(OSError, match="disk full"):
        head_and_neck.write_cohort(
            tmp_path / "c", seed=0, train=1, validation=0, test=0
        )
    assert not any(tmp_path.iterdir())
