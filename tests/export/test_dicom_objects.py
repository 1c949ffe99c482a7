"""All exported DICOM objects: valid, and written completely or not at all."""

import functools
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import numpy as np
import pydicom
import pytest

from mtl_jax.export import ct_images, ct_reference, dicom_objects, rtdose, rtstruct
from tests.export import exported

OPTIONS = {"author": exported.AUTHOR, "created": exported.CREATED}


def write_all(folder: pathlib.Path, reference: ct_reference.CtReference) -> None:
    """Contours, a dose without a plan, and one with a plan."""
    masks = exported.some_masks(reference.grid)
    rtstruct.write(folder / "RS.dcm", masks, reference, site=exported.SITE, **OPTIONS)
    dose_gy = np.random.default_rng(1).random(reference.grid.shape, np.float32) * 70
    write = functools.partial(rtdose.write, dose_gy=dose_gy, **OPTIONS)
    write(folder / "RD.dcm", reference=reference)
    plan = pydicom.Dataset()
    plan.SOPClassUID, plan.SOPInstanceUID = pydicom.uid.RTPlanStorage, "1.2.3"
    plan.PatientID = reference.header.PatientID
    plan.StudyInstanceUID = reference.header.StudyInstanceUID
    write(folder / "RD.plan.dcm", reference=reference, plan=plan)


def references(folder: pathlib.Path) -> dict[str, ct_reference.CtReference]:
    """A CT of each position, and an invented one with its images."""
    made = {}
    for position in exported.POSITIONS:
        exported.write_ct(folder / position, exported.ODD, position)
        made[position] = exported.reference(folder / position)
    made["invented"] = ct_reference.invented(exported.ODD, patient_id="pt_1")
    return made


def test_dciodvfy_finds_no_error(tmp_path):
    if shutil.which("dciodvfy") is None:
        pytest.skip("no dciodvfy: install Debian's dicom3tools")
    for name, reference in references(tmp_path).items():
        folder = tmp_path / "out" / name
        write_all(folder, reference)
        checked = [
            ("RTStructureSet", folder / "RS.dcm"),
            ("RTDose", folder / "RD.dcm"),
            ("RTDose", folder / "RD.plan.dcm"),
        ]
        if reference.invented:
            hu = np.zeros(reference.grid.shape, np.float32)
            ct_images.write(folder / "CT", hu, reference)
            checked.append(("CTImage", folder / "CT" / "CT.0003.dcm"))
        for kind, path in checked:
            assert exported.errors_of_dciodvfy(path) == (kind, []), (
                f"{name} {path.name}"
            )
    # It does find an error: the dose of a plan without a reference to the plan.
    wrong = pydicom.dcmread(folder / "RD.dcm")
    wrong.DoseSummationType = "PLAN"
    wrong.save_as(tmp_path / "wrong.dcm")
    _, complaints = exported.errors_of_dciodvfy(tmp_path / "wrong.dcm")
    assert len(complaints) == 1 and "ReferencedRTPlanSequence" in complaints[0]


def test_all_required_attributes_are_present(tmp_path):
    """Against highdicom's tables of the standard: they know PLAN_OVERVIEW."""
    highdicom = pytest.importorskip("highdicom", reason="no highdicom")
    tables = pathlib.Path(highdicom.__file__).parent / "_standard"
    if not (tables / "module_attribute_map.json").is_file():
        pytest.skip("this highdicom keeps its tables elsewhere")
    modules, attributes = (
        json.loads((tables / f"{name}_map.json").read_text(encoding="utf-8"))
        for name in ("iod_module", "module_attribute")
    )
    write_all(tmp_path, ct_reference.invented(exported.ODD, patient_id="pt_1"))
    required = set()
    for kind, pattern in (("rt-structure-set", "RS*"), ("rt-dose", "RD*")):
        # Mandatory modules, and conditional ones apart from frame extraction.
        keys = {module["key"] for module in modules[kind] if module["usage"] in "MC"}
        keys -= {"frame-extraction"}
        for path in tmp_path.glob(pattern):
            dicom = pydicom.dcmread(path)
            for attribute in itertools.chain(*(attributes[key] for key in keys)):
                keyword = attribute["keyword"]
                for item in within(dicom, attribute["path"]):
                    if attribute["type"] in ("1", "2"):
                        required.add(keyword)
                        assert keyword in item, attribute
                    if attribute["type"] == "1":
                        assert item[keyword].value not in ("", None), attribute
    assert {"PlanOverviewIndex", "TreatmentSite", "StructureSetLabel"} < required
    assert len(required) > 50


def within(dicom: pydicom.Dataset, path: list[str]) -> list[pydicom.Dataset]:
    """The items of the nested sequences `path`; the data set itself if it is empty."""
    if not path:
        return [dicom]
    items = [within(item, path[1:]) for item in dicom.get(path[0]) or []]
    return list(itertools.chain(*items))


def test_every_value_is_valid_for_its_type(tmp_path):
    """pydicom's own rules for each VR: lengths, characters, dates, identifiers."""
    write_all(tmp_path, ct_reference.invented(exported.ODD, patient_id="pt_1"))
    mode = pydicom.config.settings.reading_validation_mode
    pydicom.config.settings.reading_validation_mode = pydicom.config.RAISE
    try:
        for path in tmp_path.glob("*.dcm"):
            count = sum(1 for _ in pydicom.dcmread(path).iterall())
            assert count > 30
    finally:
        pydicom.config.settings.reading_validation_mode = mode


@pytest.mark.parametrize(
    ("text", "most", "expected"),
    [
        ("multi (openkbp)", 64, "multi (openkbp)"),
        ("a\\b\nc\td", 64, "a/b c d"),
        ("Größe", 64, "Gr??e"),
        ("x" * 70, 64, "x" * 64),
        ("ab  cd", 4, "ab"),
    ],
)
def test_text_fits_into_every_character_set(text, most, expected):
    assert dicom_objects.text(text, most) == expected


def test_decimals_are_short_and_accurate():
    values = [0.1 + 0.2, -1e5 / 3, 12345.123456789123, -0.0, 7]
    texts = dicom_objects.decimals(values)
    assert texts[0] == "0.3" and texts[3:] == ["0.0", "7.0"]
    assert all(len(text) <= 16 for text in texts)
    np.testing.assert_allclose([float(text) for text in texts], values, atol=1e-8)


def test_an_error_leaves_existing_files_unchanged(tmp_path, monkeypatch):
    reference = ct_reference.invented(exported.GRID, patient_id="pt_1")
    write_all(tmp_path, reference)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(dataset: pydicom.Dataset, path: pathlib.Path, **_: object) -> None:
        path.write_bytes(b"half a")
        raise OSError("disk full")

    monkeypatch.setattr(pydicom.Dataset, "save_as", fail)
    with pytest.raises(OSError, match="disk full"):
        write_all(tmp_path, reference)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("half", [0.0, 0.5, 0.99])
def test_a_process_killed_while_writing_leaves_no_file(tmp_path, half):
    """The process is killed when this part of a file is written."""
    program = (
        "import os, pathlib, signal, sys, pydicom\n"
        "from mtl_jax.export import ct_reference\n"
        "from tests.export import exported, test_dicom_objects\n"
        "whole = pydicom.Dataset.save_as\n"
        "def cut(self, path, **how):\n"
        "    whole(self, path, **how)\n"
        f"    os.truncate(path, int(path.stat().st_size * {half}))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "pydicom.Dataset.save_as = cut\n"
        "made = ct_reference.invented(exported.GRID, patient_id='pt_1')\n"
        "test_dicom_objects.write_all(pathlib.Path(sys.argv[1]), made)\n"
    )
    root = pathlib.Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", program, tmp_path], cwd=root)
    assert done.returncode == -signal.SIGKILL
    # There is no file under its final name, and the next call overwrites the rest.
    assert os.listdir(tmp_path) == ["RS.dcm.tmp"]
    write_all(tmp_path, ct_reference.invented(exported.GRID, patient_id="pt_1"))
    names = ["RD.dcm", "RD.plan.dcm", "RS.dcm"]
    assert sorted(os.listdir(tmp_path)) == names
