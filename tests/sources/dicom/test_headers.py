"""A folder's files: what is DICOM, what is a copy, and names that tell nothing."""

import pytest

from mtl_jax.core import errors
from mtl_jax.sources.dicom import deidentification, headers
from tests.sources.dicom import writing


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_a_folder_is_sorted_by_what_the_files_are(tmp_path):
    files = writing.patient() | {"rp": writing.plan()}
    mr = writing.dataset(**writing.common("1.2.840.10008.5.1.4.1.1.4", "MR", "1"))
    own = writing.dataset(**writing.common("1.2.3.4.5", "OT", "2"))
    odd = writing.dataset(**writing.common("1.2.3\nDoe^Jane", "OT", "3"))
    writing.save(files | {"mr": mr, "odd": odd, "own": own}, tmp_path)
    (tmp_path / "plan.pdf").write_bytes(b"%PDF-1.7" + bytes(400))
    (tmp_path / "tiny").write_bytes(b"\x08\x00")
    (tmp_path / "empty").write_bytes(b"")
    found = headers.scan(tmp_path, show_paths=True)
    assert {len(series) for series in found.ct.values()} == {6}
    assert [file.name for file in found.structure_sets] == ["rs.dcm"]
    assert [file.name for file in found.doses] == ["rd.dcm"]
    assert [file.name for file in found.plans] == ["rp"]
    assert found.notes == (
        "skipped 3 files (no DICOM): empty, plan.pdf, tiny",
        "skipped 1 file (MR Image Storage): mr",
        "skipped 1 file (an unknown kind of DICOM): odd",
        "skipped 1 file (an unknown kind of DICOM): own",
    )


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(errors.SourceError, match=r"^the patient's folder is not there"):
        headers.scan(tmp_path / "DOE")


def test_hidden_files_and_links_to_folders_are_not_read(tmp_path):
    writing.save({f"a/{n}": f for n, f in writing.ct().items()}, tmp_path)
    writing.save({f".trash/{n}": f for n, f in writing.ct().items()}, tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (series,) = headers.scan(tmp_path, show_paths=True).ct.values()
    assert [file.name for file in series] == [f"a/ct{z}.dcm" for z in range(6)]


def test_many_names_are_cut_short(tmp_path):
    for number in range(8):
        (tmp_path / f"{number}.txt").write_text("x")
    assert headers.scan(tmp_path, show_paths=True).notes == (
        "skipped 8 files (no DICOM): 0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 3 more",
    )


@pytest.fixture
def identifiers():
    made = deidentification.Identifiers("Prostate_4")
    made.add(["Doe^Johnathan^Li", "MRN-778812", "12", "", "7"])
    return made


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("CT/slice12.dcm", "CT/slice12.dcm"),
        ("doe_JOHNATHAN/ct1.dcm", "*/ct1.dcm"),
        ("DoeJohnathan.dcm", "*.dcm"),
        ("does/li.dcm", "does/*.dcm"),
        ("limits.dcm", "limits.dcm"),
        ("x778812y", "x*y"),
        ("mrn-778812", "*"),
        ("CT.1.2.840.113619.2.55.dcm", "CT.*.dcm"),
        ("plan 2021-03-04.dcm", "plan *.dcm"),
        ("19511223", "*"),
        ("IM195112239", "IM195112239"),
        ("PTV_60.5", "PTV_60.5"),
        ("20219999", "20219999"),
        ("7/12", "7/12"),
        ("prostate_4_ct.dcm", "prostate_4_ct.dcm"),
        ("Prostate", "Prostate"),
        ("PTV John", "PTV *"),  # cut by a system that stores few characters
        ("Joh", "Joh"),
    ],
)
def test_what_is_hidden(identifiers, text, shown):
    assert identifiers.hide(text) == shown


@pytest.mark.parametrize(
    ("elements", "text", "shown"),
    [
        # Ids and names of phantoms and public data are made of ordinary words.
        ({"PatientName": "LUNG1-002"}, "Lung_L", "Lung_L"),
        ({"PatientName": "LUNG1-002"}, "ptv lung1-002", "ptv *"),
        ({"PatientName": "Prostate^Test 4"}, "Prostate", "Prostate"),
        ({"PatientName": "Hand^Xaver"}, "Hand_L", "*_L"),  # a name, not an organ
        ({"PatientName": "Li^Bo"}, "PTV BoLi", "PTV *"),
        ({"PatientName": "Li^Bo"}, "Parotid_Li", "Parotid_*"),
        ({"PatientName": "Иванов^Пётр"}, "PTV Ivanov", "PTV *"),
        ({"PatientName": "Yamada^Taro=山田^太郎"}, "PTV山田", "PTV*"),
        ({"PatientID": "0012345"}, "CTV 12345", "CTV *"),
        ({"PatientID": "5040"}, "PTV_5040", "PTV_*"),
        ({"StationName": "5040"}, "PTV_5040", "PTV_5040"),
        ({"OperatorsName": "tk"}, "Ring tk", "Ring *"),
        ({"OperatorsName": "RT"}, "RT Lung", "RT Lung"),
        ({"PatientComments": "tumor of the left lung, Huberle"}, "Lung_L", "Lung_L"),
        ({"PatientComments": "tumor of the left lung, Huberle"}, "huberle", "*"),
        ({"PatientAge": "075Y"}, "PTV 75 Jahre", "PTV *"),
        ({"PatientAge": "075Y"}, "PTV 75", "PTV 75"),
        ({"PatientBirthDate": "19500204"}, "born 4.2.50", "born *"),
        ({"PatientBirthDate": "19500204"}, "born 5.2.50", "born 5.2.50"),
        ({"OtherPatientIDsSequence": [{"PatientID": "XZ-9981"}]}, "xz9981", "*"),
    ],
)
def test_what_elements_hide(elements, text, shown):
    made = deidentification.Identifiers()
    values = {
        keyword: writing.sequence(*value) if isinstance(value, list) else value
        for keyword, value in elements.items()
    }
    header = writing.dataset(SpecificCharacterSet="ISO_IR 192", **values)
    made.add_header(header, set())
    assert made.hide(text) == shown


def test_files_are_named_by_kind_and_number(tmp_path):
    files = writing.patient() | {"rp": writing.plan(), "Doe/notes": writing.plan()}
    files["Doe/notes"].SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    other = {f"Doe/Jane{name}": made for name, made in writing.ct().items()}
    for made in list(other.values())[2:]:
        made.SeriesInstanceUID += ".7"
        files[f"Doe/Jane.{made.SOPInstanceUID}"] = made
    # By height, not by name: the highest slice comes first by path.
    files["a"] = files.pop("ct5.dcm")
    found = headers.scan(writing.save(files, tmp_path))
    one, two = ([file.name for file in series] for series in found.ct.values())
    assert sorted(one) == [f"ct 1/ slice {n} of 4" for n in (1, 2, 3, 4)]
    assert two == [f"ct 2/ slice {n} of 6" for n in (6, 1, 2, 3, 4, 5)]
    others = (*found.structure_sets, *found.doses, *found.plans)
    kinds = ("rtstruct", "rtdose", "rtplan")
    assert [file.name for file in others] == [f"{k}/ file 1 of 1" for k in kinds]
    assert found.notes == ("skipped 1 file (MR Image Storage)",)
    (tmp_path / "Doe" / "x.dcm").write_bytes(b"Jane")
    with pytest.raises(errors.SourceError, match=r"^file 6 of 15 by path: cannot be"):
        headers.scan(tmp_path)
