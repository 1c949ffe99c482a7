"""`python -m mtl_jax.predict`, as a user calls it."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pydicom
import pytest

from mtl_jax.core import geometry
from mtl_jax.evaluation import scoring
from mtl_jax.inference import volumes
from mtl_jax.predict import output_files, trained_model
from mtl_jax.run import training_data
from mtl_jax.sources.openkbp import patient_csv
from tests.predict import checkpoints, openkbp
from tests.predict import command as predicting
from tests.sources import planted
from tfds_builders.prostate import make_dummy_data

# A study of tiny runs, made once for all tests.
multi, clinic, call = predicting.multi, predicting.clinic, predicting.call
folders, IN_PELVIS = predicting.folders, predicting.IN_PELVIS


def test_odd_paths_are_taken_and_shown_plainly(call, multi, clinic, tmp_path):
    name = "\udcff Ü 患 \x1b[31m"
    (clinic / "a").rename(tmp_path / name)
    out = tmp_path / f"out{name}"
    status, shown, err = call(multi, tmp_path / name, f"--out={out}")
    assert status == 0, err
    assert r"out\udcff Ü 患 \x1b[31m" in shown and "\x1b" not in shown + err
    assert list(folders(out).values()) == [IN_PELVIS]


def test_an_out_that_the_terminal_has_no_letters_for(multi, clinic, tmp_path):
    call = [sys.executable, "-m", "mtl_jax.predict", f"--checkpoint={multi}"]
    done = subprocess.run(
        [*call, f"--out={tmp_path / 'Ü'}", str(clinic / "a")],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert r"1 of 1 patients in" in done.stdout and r"/\xdc; key file" in done.stdout


def test_one_bad_patient_does_not_stop_the_rest(call, multi, clinic, tmp_path):
    for path in (clinic / "b").glob("CT*"):
        path.write_bytes(path.read_bytes()[:-100])
    status, out, err = call(multi, clinic / "a", clinic / "b", clinic / "c")
    assert status == 1
    lines = [line for line in err.splitlines() if "error: " in line]
    assert len(lines) == 1
    assert "(2 of 3): " in lines[0] and "copy it again" in lines[0]
    assert "2 of 3 patients in" in out
    assert list(folders(tmp_path / "out").values()) == [IN_PELVIS] * 2
    status, out, err = call(multi, clinic / "a", tmp_path / "nowhere")
    assert status == 1
    assert "the patient's folder is not there" in err
    assert str(tmp_path / "nowhere") not in out + err


def test_the_figures_say_what_they_are_of(call, multi, clinic, tmp_path):
    call(multi, clinic / "a")
    ((name, _),) = folders(tmp_path / "out").items()
    said = json.loads((tmp_path / "out" / name / "statistics.json").read_text())
    model = trained_model.describe(multi)
    assert (said["patient"], said["checkpoint"]) == (name, model.digest)
    assert said["model"] == "multi (prostate)"
    assert "not for clinical use" in said["notice"]
    assert set(said["structures"]) == set(model.site.contoured)
    assert 0 < said["dose"]["rounded_by_at_most_gy"] < 0.01
    assert set(said["seconds"]) == {"read", "predict", "write"}
    assert said["warnings"] == []
    dose = pydicom.dcmread(tmp_path / "out" / name / "RD.dcm")
    highest = dose.pixel_array.max() * float(dose.DoseGridScaling)
    assert highest == pytest.approx(said["dose"]["highest_gy"], abs=0.01)


@pytest.mark.parametrize(
    ("role", "flags", "message"),
    [
        ("seq_human", [], "needs contours as input: give --rtstruct"),
        ("multi", ["--rtstruct=auto"], "takes no contours as input"),
        ("multi", ["--reference=x"], "belongs to one patient, but there are 3"),
        ("multi", ["--reference_plan=x"], "belongs to one patient"),
        ("multi", ["--fill_gaps=-1"], "expected 0 or more"),
        ("multi", ["--out=CLINIC/out"], "--out is inside a CT_DIR"),
        ("multi", ["--out=CLINIC/../link/out"], "--out is inside a CT_DIR"),
        ("multi", ["--out="], "expected a path, found nothing"),
        ("multi", [""], "expected a path, found nothing"),
    ],
)
def test_usage(call, multi, clinic, tmp_path, role, flags, message):
    home = multi
    if role != "multi":
        home = checkpoints.write(tmp_path / role, role, "prostate")
    (tmp_path / "link").symlink_to(clinic)
    flags = [flag.replace("CLINIC", str(clinic)) for flag in flags]
    status, _, err = call(home, clinic, *flags)
    assert status == 2
    assert message in err
    assert not (tmp_path / "out").exists()


def test_no_checkpoint_is_one_line(call, clinic, tmp_path):
    status, _, err = call(tmp_path, clinic)
    assert status == 1
    assert err.count("\n") == 1 and "holds no checkpoint" in err


def test_a_ct_unlike_the_training_data_is_warned_of(
    call, clinic, tmp_path, monkeypatch
):
    home = checkpoints.write(tmp_path / "run", "multi", "prostate")
    path = home / "checkpoints" / "1" / "run" / "metadata"
    trained_on = {"patients": 1, "structures": {}}
    run = json.loads(path.read_text()) | {"training_data": trained_on}
    del run["description_digest"]
    path.write_text(json.dumps(run))
    asked = []

    def differences(*arguments):
        asked.append(arguments)
        return ["it is a head"]

    monkeypatch.setattr(training_data, "differences", differences)
    status, _, err = call(home, clinic / "a")
    assert status == 0, err
    assert "warning: p" in err and "(1 of 1): it is a head" in err
    # The first was asked of a small image of air, to check the description.
    _, (description, hu, grid, body_part) = asked
    assert (description, body_part) == (trained_on, "PELVIS")
    np.testing.assert_array_equal(hu, make_dummy_data.pelvis(0).ct_hu)
    assert isinstance(grid, geometry.Grid)
    (said,) = (tmp_path / "out").rglob("statistics.json")
    assert json.loads(said.read_text())["warnings"] == ["it is a head"]


def test_evaluation_against_the_patient_s_own_contours_and_dose(
    call, multi, clinic, tmp_path, monkeypatch
):
    status, out, err = call(multi, clinic, "--reference=auto")
    assert status == 0, err
    assert "evaluation of 3 patients: " in out
    assert "dose error, Gy" in out and "mean Dice" in out
    names = folders(tmp_path / "out")
    assert all(found == IN_PELVIS | {"evaluation.csv"} for found in names.values())
    rows = scoring.read_csv(tmp_path / "out" / "evaluation.csv")
    assert {row.patient for row in rows} == set(names)
    assert {row.metric for row in rows} >= {"dice", "dose_error", "exact:D_99"}
    # From another folder the same; without it a clear error.
    (tmp_path / "elsewhere").mkdir()
    for path in (*(clinic / "a").glob("RS*"), *(clinic / "a").glob("RD*")):
        path.rename(tmp_path / "elsewhere" / path.name)
    place = f"--reference={tmp_path / 'elsewhere'}"
    status, _, err = call(multi, clinic / "a", place)
    assert status == 0, err
    alone = scoring.read_csv(tmp_path / "out" / "evaluation.csv")
    before = [row for row in rows if row.patient == alone[0].patient]
    assert [str(row) for row in alone] == [str(row) for row in before]
    monkeypatch.setattr(trained_model, "predict", None)  # found before predicting
    status, _, err = call(multi, clinic / "a", "--reference=auto")
    assert status == 1 and "no RTSTRUCT here" in err
    status, _, err = call(multi, clinic / "a", f"--reference={tmp_path / 'gone'}")
    assert (
        status == 2 and "--reference names a file or folder that does not exist" in err
    )


def test_openkbp_in_the_challenge_s_files_or_as_dicom(call, tmp_path):
    home = checkpoints.write(tmp_path / "run", "multi", "openkbp")
    folder, made = openkbp.write(tmp_path / "in" / "pt_7"), openkbp.patient()
    status, out, err = call(home, folder, "--reference=auto", "--nifti")
    assert status == 0, err
    assert "dose score, Gy" in out
    ((name, files),) = folders(tmp_path / "out").items()
    assert "pt_7" not in name and "RS.dcm" not in files
    assert {"dose.csv", "SpinalCord.csv", "dose.nii.gz"} <= files
    # As the challenge's own reader takes them, with the patient's other files.
    whole = shutil.copytree(folder, tmp_path / "whole")
    for path in (tmp_path / "out" / name).glob("S*.csv"):
        shutil.copy(path, whole)
    contents = {path.stem: path.read_bytes() for path in whole.glob("*.csv")}
    read = patient_csv.parse(patient_csv.RawPatient("x", "x", contents))
    said = json.loads((tmp_path / "out" / name / "statistics.json").read_text())
    cord = read.structures["SpinalCord"]
    volume = said["structures"]["SpinalCord"]["volume_cc"]
    assert cord.sum() * 0.054 == pytest.approx(volume)  # 3 x 4 x 4.5 mm a voxel
    status, _, err = call(home, folder, "--dicom")
    assert status == 0, err
    found = tmp_path / "out" / name
    assert {path.name for path in found.iterdir()} == IN_PELVIS | {"CT"}
    assert len(list((found / "CT").iterdir())) == 128
    dose = pydicom.dcmread(found / "RD.dcm")
    assert "INVENTED" in dose.PositionReferenceIndicator
    assert made.patient_id not in str(dose.PatientID)


def test_what_identifies_a_patient_is_in_the_dicom_alone(call, multi, tmp_path):
    clinic = planted.write(tmp_path / "clinic")
    status, out, err = call(multi, clinic, "--nifti", "--reference=auto")
    assert status == 1  # some are to be refused
    assert len([line for line in err.splitlines() if "error: " in line]) > 0
    found = folders(tmp_path / "out")
    assert found
    assert planted.leaks(out, err, *found) == []
    others = [p for p in (tmp_path / "out").rglob("*") if p.suffix not in (".dcm", "")]
    assert {path.name for path in others} >= {"preview.png", "statistics.json"}
    assert planted.leaks(*others) == []
    dose = pydicom.dcmread(next((tmp_path / "out").rglob("RD.dcm")))
    assert str(dose.PatientID).startswith("QX77812")
    for word in ("Halfrunt", "Milliways", "Lamuella", "Plan of"):
        assert word not in str(dose)


def test_the_same_as_the_study_s_own_predictions(call, command, study, tmp_path):
    """All roles of a study, from checkpoints alone, on the patient it was tested on."""
    (patient,) = (command.data_dir / "phantom/provided-data/test-pats").iterdir()
    for role in ("contour", "baseline", "seq_human", "seq_auto", "multi"):
        alone = tmp_path / role  # nothing of the working directory but the checkpoint
        step = max((study[0] / role / "checkpoints").iterdir(), key=lambda p: p.name)
        shutil.copytree(step, alone / step.name)
        given = ["--rtstruct=auto"] if role == "seq_human" else []
        status, _, err = call(
            alone, patient, *given, "--reference=auto", f"--out={tmp_path / role}-out"
        )
        assert status == 0, err
        (found,) = (p for p in (tmp_path / f"{role}-out").iterdir() if p.is_dir())
        theirs = study[0] / role
        rows, expected = (
            {
                (row.structure, row.metric, row.variant): row.prediction
                for row in scoring.read_csv(path)
            }
            for path in (
                found / output_files.EVALUATION,
                theirs / "evaluation" / "test.csv",
            )
        )
        assert rows.keys() == expected.keys()
        for key, value in rows.items():
            assert value == pytest.approx(
                expected[key], rel=1e-4, abs=1e-4, nan_ok=True
            )
        saved = volumes.read(next((theirs / "predictions" / "test").glob("*.npz")))
        files = {path.name for path in found.iterdir()}
        assert ("dose.csv" in files) == (saved.dose_gy is not None)
