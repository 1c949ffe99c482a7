"""How patients were read: refused, counted, kept in the data set, shown by `cohort`."""

import csv
import json
import pathlib

import pydicom
import pytest

from mtl_jax.cohort import __main__ as cohort_command
from mtl_jax.datasets import prepared
from mtl_jax.sources.clinical import pseudonyms
from mtl_jax.sources.phantom import dicom_cohort
from tfds_builders.prostate import __main__ as command
from tfds_builders.prostate import make_dummy_data

# Of "centigray" the dose is in cGy, but says GY; of "gap" one slice of the rectum is
# not contoured.
SPLITS = {"a": "train", "centigray": "train", "gap": "validation", "c": "test"}


def change(path: pathlib.Path, edit) -> None:
    made = pydicom.dcmread(path)
    edit(made)
    made.save_as(path)


def leave_a_gap(made: pydicom.Dataset) -> None:
    (number,) = (
        item.ROINumber
        for item in made.StructureSetROISequence
        if item.ROIName == "Rectum"
    )
    for item in made.ROIContourSequence:
        if item.ReferencedROINumber == number:  # the middle slice is at 0 mm
            item.ContourSequence = [c for c in item.ContourSequence if c.ContourData[2]]


def multiply(made: pydicom.Dataset) -> None:
    made.DoseGridScaling = 100 * float(made.DoseGridScaling)


@pytest.fixture(scope="module")
def clinic(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("clinic") / "manual"
    for number, name in enumerate(SPLITS):
        pelvis = make_dummy_data.pelvis(number)
        dicom_cohort.write_patient(folder / name, pelvis, patient_id=f"P{number}")
    change(next((folder / "centigray").glob("RD.*")), multiply)
    change(next((folder / "gap").glob("RS.*")), leave_a_gap)
    rows = [f"{name},{split}" for name, split in SPLITS.items()]
    (folder / "splits.csv").write_text("\n".join(["patient,split", *rows]))
    return folder


def id_of(clinic: pathlib.Path, name: str) -> str:
    ids = json.loads(pseudonyms.key_file(clinic).read_text())["patients"]
    (patient,) = (key for key, folder in ids.items() if folder == name)
    return patient


def test_the_builder_says_and_stores_how_patients_were_read(clinic, tmp_path, capsys):
    flags = [f"--manual_dir={clinic}", f"--data_dir={tmp_path}", "--workers=1"]
    assert command.main(flags) == 0
    out = capsys.readouterr().out
    assert "left out: 1 patients" in out
    assert "note: 1 of 3 patients: slices without a contour between others\n" in out
    data = prepared.open_directory(next(tmp_path.rglob("1.0.0")))
    notes = {
        entry.patient_id: entry.notes
        for split in data.splits.values()
        for entry in split.patients
    }
    assert notes.keys() == {id_of(clinic, name) for name in ("a", "gap", "c")}
    assert notes[id_of(clinic, "gap")][0] == ("gaps", "Rectum")
    assert ("gaps", "Rectum") not in notes[id_of(clinic, "a")]
    # What was refused is taken by its name, and this is kept too.
    assert command.main([*flags, "--overwrite", "--accept=high_dose"]) == 0
    out = capsys.readouterr().out
    first, *_ = [line for line in out.splitlines() if line.startswith("note:")]
    assert first == "note: 1 of 4 patients: a dose far beyond the prescription"
    data = prepared.open_directory(next(tmp_path.rglob("1.0.0")))
    (entry,) = [
        entry
        for entry in data.splits["train"].patients
        if entry.patient_id == id_of(clinic, "centigray")
    ]
    assert entry.notes[0] == ("high_dose", "")
    with pytest.raises(SystemExit) as ended:
        command.main([*flags, "--accept=high_doze"])
    assert ended.value.code == 2
    assert "did you mean 'high_dose'?" in capsys.readouterr().err


def test_the_cohort_shows_notes_by_their_weight(clinic, tmp_path, capsys):
    flags = [str(clinic), f"--out={tmp_path}", "--workers=1"]
    assert cohort_command.main(flags) == 0
    out = capsys.readouterr().out
    patient = id_of(clinic, "centigray")
    assert f"patient {patient} is refused: rtdose/ file 1 of 1" in out
    assert "times the prescription of site prostate (60 Gy)" in out
    assert "note: 1 of 3 patients: slices without a contour between others\n" in out
    assert cohort_command.main([*flags, "--accept=high_dose"]) == 0
    text = (tmp_path / "cohort.html").read_text()
    findings = text[text.index("Look here first") :]
    dose, gap = (
        findings.index(sentence)
        for sentence in ("times the prescription", "without a contour between others")
    )
    assert dose < gap < findings.index("Note</strong>")
    with (tmp_path / "patients.csv").open(newline="") as file:
        rows = {row["patient"]: row for row in csv.DictReader(file)}
    assert "times the prescription" in rows[patient]["notes"].split("; ")[0]
