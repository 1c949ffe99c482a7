"""Which patients are in the folders that a user gives, and what they are called."""

import json
import os
import stat

import pytest

from mtl_jax.predict import cases


@pytest.fixture
def find(tmp_path):
    def names(*folders):
        found = cases.find(folders, tmp_path / "out")
        return [(case_folder.kind, case_folder.path) for case_folder in found]

    return names


def test_a_patient_is_a_folder_with_anything_in_it(find, scan, tmp_path):
    folder = scan()
    assert find(folder) == [("dicom", folder)]
    (tmp_path / "link").symlink_to(folder)
    others = (tmp_path / "link", folder / ".." / folder.name)
    assert find(folder, folder, *others) == [("dicom", folder)]
    # CT, contours and dose in folders of their own, and one folder about them all.
    for path in list(folder.iterdir()):
        place = folder / "study" / path.name[:2]
        place.mkdir(parents=True, exist_ok=True)
        path.rename(place / path.name)
    assert find(folder) == [("dicom", folder / "study")]
    (folder / "note.txt").touch()
    assert find(folder) == [("dicom", folder)]
    # What is not there, or cannot be, is said when it is read.
    for gone in (tmp_path / "gone", tmp_path / ("x" * 300)):
        assert find(gone) == [("dicom", gone)]
        cases.fingerprint(cases.CaseFolder(gone, "dicom", "p0"), [])


def test_folders_of_several_studies_are_patients_each(find, scan):
    clinic = scan("b", seed=1).parent
    scan("a", seed=2)
    (clinic / "empty").mkdir()
    (clinic / ".hidden").mkdir()
    (clinic / "mapping.yaml").touch()
    expected = [("dicom", clinic / name) for name in ("a", "b", "empty")]
    assert find(clinic) == expected
    assert find(clinic / "b", clinic) == [expected[1], expected[0], expected[2]]


def test_openkbp_patients_are_where_a_ct_csv_is(find, tmp_path):
    for name in ("pt_10", "pt_9"):
        folder = tmp_path / "provided-data" / "test-pats" / name
        folder.mkdir(parents=True)
        (folder / "ct.csv").touch()
    assert [folder.name for _, folder in find(tmp_path)] == ["pt_9", "pt_10"]
    assert find(folder) == [("openkbp", folder)]


def test_names_tell_nothing_and_the_key_file_leads_back(scan, tmp_path, monkeypatch):
    monkeypatch.delenv("MTL_JAX_KEY_FILE", raising=False)
    folder, out = scan("Zaphodsky"), tmp_path / "runs" / "out"
    (case_folder,) = cases.find([folder], out)
    assert case_folder.patient_id[0] == "p" and len(case_folder.patient_id) == 13
    (again,) = cases.find([folder], out)
    assert again == case_folder
    (other,) = cases.find([folder], tmp_path / "elsewhere")
    assert other.patient_id != case_folder.patient_id  # another salt
    path = tmp_path / "runs" / "out.keys.json"
    assert json.loads(path.read_text())["patients"] == {
        case_folder.patient_id: str(folder)
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not out.exists()


def test_the_fingerprint_is_of_contents_and_of_what_is_beside(scan, tmp_path):
    (case_folder,) = cases.find([scan()], tmp_path / "out")
    plan = tmp_path / "plan.dcm"
    plan.write_bytes(b"1")
    known = {cases.fingerprint(case_folder, []), cases.fingerprint(case_folder, [plan])}
    (case_folder.path / ".hidden").write_bytes(b"1")
    os.mkfifo(case_folder.path / "pipe.dcm")  # it would be waited for
    assert cases.fingerprint(case_folder, []) in known
    plan.write_bytes(b"2")
    known.add(cases.fingerprint(case_folder, [plan]))
    ct = next(case_folder.path.glob("CT*"))
    content = bytearray(ct.read_bytes())
    content[-1] ^= 1
    ct.write_bytes(content)
    known.add(cases.fingerprint(case_folder, []))
    ct.rename(ct.with_name("CT.other"))
    known.add(cases.fingerprint(case_folder, []))
    assert len(known) == 5
