"""A folder of patients: what is found in it, whatever else lies there."""

import os
import pathlib
import shutil

import pydicom
import pytest

from mtl_jax.cohort import __main__ as command
from mtl_jax.configs import prostate
from mtl_jax.core import errors, sites
from mtl_jax.sources.clinical import patient_folders
from mtl_jax.sources.dicom import reader
from tfds_builders.prostate import make_dummy_data


@pytest.fixture
def clinic(tmp_path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(make_dummy_data.FOLDER, tmp_path / "clinic"))


def locate(folder, **rules):
    return patient_folders.locate(
        folder, sites.PROSTATE, patient_folders.Rules(**rules)
    )


def test_a_pipe_is_not_waited_for(clinic):
    before = locate(clinic).fingerprint
    os.mkfifo(clinic / "four" / "0 comes first")
    os.mkfifo(clinic / "one" / "0.dcm")
    assert locate(clinic).fingerprint == before


def test_files_without_preamble_and_suffix_are_dicom(clinic):
    for number, path in enumerate(sorted(clinic.glob("*/*"))):
        made = pydicom.dcmread(path)
        made.file_meta = pydicom.dataset.FileMetaDataset()
        path.unlink()
        made.save_as(
            path.with_name(f"IM{number}"),
            implicit_vr=True,
            little_endian=True,
            enforce_file_format=False,
        )
    assert locate(clinic) is not None


def test_mapping_and_splits_are_found_whatever_their_case(clinic):
    (clinic / "mapping.yaml").rename(clinic / "Mapping.YAML")
    (clinic / "splits.csv").rename(clinic / "Splits.CSV")
    found = locate(clinic)
    assert found.mapping["Rectal wall"] is None
    assert found.open().patients["validation"] != ()
    assert sorted(found.open().split_of.values()).count("train") == 2
    (clinic / "splits.csv").write_text("patient,split\n")
    with pytest.raises(errors.ConfigError, match=r"Splits\.CSV, splits\.csv: keep one"):
        found.open()


def test_files_beside_the_folders_are_said_to_be_left_out(clinic, capsys):
    assert command.main([str(clinic), "--survey", "--workers=1"]) == 0
    assert "left out" not in capsys.readouterr().err
    for name in ("IM1", "IM2"):
        shutil.copy(next(clinic.glob("one/*.dcm")), clinic / name)
    assert command.main([str(clinic), "--survey", "--workers=1"]) == 0
    said = capsys.readouterr()
    assert "2 DICOM files that lie directly in the manual_dir" in said.err
    assert "left out" not in said.out


@pytest.mark.parametrize("inside", ["", "report", "one/report"])
def test_a_report_in_the_manual_dir_is_refused(clinic, capsys, inside):
    there = sorted(clinic.rglob("*"))
    assert command.main([str(clinic), f"--out={clinic / inside}", "--workers=1"]) == 1
    assert (
        "lies in the manual_dir, whose folders are patients" in capsys.readouterr().err
    )
    assert sorted(clinic.rglob("*")) == there


def test_folders_and_files_whose_names_are_no_text(clinic, tmp_path, capsys):
    (clinic / "splits.csv").unlink()
    strange = os.fsdecode(b"o\xff\n\x1b[31mne")
    (clinic / "one").rename(clinic / strange)
    (clinic / strange / os.fsdecode(b"a\xff\x1b]0;x\x07.txt")).write_text("x")
    first = next((clinic / "two").glob("CT*"))
    first.write_bytes(first.read_bytes()[:-100])
    first.rename(clinic / "two" / os.fsdecode(b"\xe9\x1b[2J.dcm"))
    out = tmp_path / "out"
    call = [str(clinic), f"--out={out}", "--workers=1"]
    assert command.main(call) == 0
    said = capsys.readouterr().out
    assert "is cut off" in said and "udce9" not in said
    assert "skipped 1 file (no DICOM)" in (out / "cohort.html").read_text("utf-8")
    assert command.main([*call, "--show_paths"]) == 0
    said = capsys.readouterr().out
    assert r"\udce9\x1b[2J.dcm is cut off" in said
    said.encode()
    assert "\x1b" not in said + (out / "patients.csv").read_text(encoding="utf-8")
    assert r"skipped 1 file (no DICOM): a\udcff\x1b]0;x\x07.txt" in (
        (out / "cohort.html").read_text(encoding="utf-8")
    )


def test_commands_without_a_configuration_read_as_the_configured_ones():
    data = prostate.get_config().data
    options = reader.Options(
        allow_frame_mismatch=data.allow_frame_mismatch,
        allow_missing=data.allow_missing,
        fill_gaps=data.fill_gaps,
    )
    assert (
        patient_folders.Rules(
            options, split_ratio=data.split_ratio, split_seed=data.split_seed
        )
        == patient_folders.DEFAULT_RULES
    )
