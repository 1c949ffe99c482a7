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
    found = headers.scan(tmp_path)
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
    (series,) = headers.scan(tmp_path).ct.values()
    assert [file.name for file in series] == [f"a/ct{z}.dcm" for z in range(6)]


def test_many_names_are_cut_short(tmp_path):
    for number in range(8):
        (tmp_path / f"{number}.txt").write_text("x")
    assert headers.scan(tmp_path).notes == (
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
        ("doe_JOHNATHAN/ct1.dcm", "*_*/ct1.dcm"),
        ("DoeJohnathan.dcm", "**.dcm"),
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
        ("prostate_4_ct.dcm", "*_ct.dcm"),
        ("Prostate", "Prostate"),
    ],
)
def test_what_is_hidden(identifiers, text, shown):
    assert identifiers.hide(text) == shown


def test_a_hidden_name_says_which_file_it_is(tmp_path):
    files = {f"CT.{made.SOPInstanceUID}": made for made in writing.ct().values()}
    (series,) = headers.scan(writing.save(files, tmp_path)).ct.values()
    assert series[2].name == "CT.* (file 3 of 6 by path)"
