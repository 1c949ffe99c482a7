"""Files of several patients, and references that lead to files of others."""

import pytest

from mtl_jax.core import errors
from mtl_jax.sources.dicom import identity, reader
from tests.sources.dicom import changes as do
from tests.sources.dicom import writing


class File:
    """A header with one field."""

    def __init__(self, field, value, name="a"):
        self.field, self.value, self.name = field, value, name

    def text(self, keyword):
        return self.value if keyword == self.field else ""


def contradict(field, *values):
    return identity.contradiction([File(field, value) for value in values]) is not None


@pytest.mark.parametrize(
    ("field", "one", "two"),
    [
        ("PatientName", "Doe^Jane", "DOE^JANE^^^"),
        ("PatientName", "Doe^Jane", "Jane Doe"),
        ("PatientName", "Doe^Jane", "Doe^Jane^Mary"),  # one lacks the middle name
        ("PatientName", "Müller^Jörg", "MUELLER^JOERG"),
        ("PatientName", "Müller^Jörg", "Mu\u0308ller^Jo\u0308rg"),
        ("PatientName", "Müller", "MÃ¼ller"),  # UTF-8, read as Latin-1
        ("PatientName", "Müller", "M?ller"),
        ("PatientName", "Yamada^Tarou=山田^太郎", "Yamada^Tarou"),
        ("PatientName", "Doe^Jane", ""),
        ("PatientBirthDate", "19501224", "1950.12.24"),
        ("PatientBirthDate", "19501224", "1950"),
        ("PatientSex", "M", "m"),
        ("PatientSex", "F", "O"),
        ("PatientID", "7", ""),
    ],
)
def test_two_writings_of_one_value(field, one, two):
    assert not contradict(field, one, two)
    assert not contradict(field, two, one)


@pytest.mark.parametrize(
    ("field", "one", "two"),
    [
        ("PatientName", "Doe^Jane", "Doe^John"),
        ("PatientName", "Doe", "Roe"),
        ("PatientName", "Müller^Jörg", "Möller^Jörg"),
        ("PatientBirthDate", "19501224", "19501225"),
        ("PatientSex", "F", "M"),
        ("PatientID", "7", "07"),
    ],
)
def test_two_values(field, one, two):
    found = contradict(field, one, "", two)
    # A letter that is not ASCII may be any: these two differ in such a one alone.
    assert found == (two != "Möller^Jörg")


OTHERS = {
    "PatientID": "P2",
    "PatientName": "Zq",
    "PatientBirthDate": "19501225",
    "PatientSex": "F",
}


def of_a_woman(files):
    for made in files.values():
        made.PatientBirthDate, made.PatientSex = "19501224", "M"


@pytest.mark.parametrize("field", OTHERS)
@pytest.mark.parametrize("name", ["ct3.dcm", "rs.dcm", "rd.dcm", "rp.dcm"])
def test_a_file_of_another_patient_is_refused(tmp_path, field, name):
    files = writing.patient() | {"rp.dcm": writing.plan()}
    of_a_woman(files)
    do.put(name, **{field: OTHERS[field]})(files)
    match = rf"several patients \(their {field} differs\), such as .*{name[:-4]}\.dcm"
    with pytest.raises(errors.SourceError, match=match) as raised:
        writing.read_files(files, tmp_path)
    for value in (*OTHERS.values(), "19501224"):
        if len(value) > 2:
            assert value not in str(raised.value)


@pytest.mark.parametrize("field", OTHERS)
def test_contours_from_elsewhere_are_compared_too(tmp_path, field):
    files = writing.patient()
    of_a_woman(files)
    rt = {name: files.pop(name) for name in ("rs.dcm", "rd.dcm")}
    folder = writing.save(files, tmp_path / "ct")
    for made in rt.values():
        setattr(made, field, OTHERS[field])
    with pytest.raises(errors.SourceError, match=rf"patient than .*{field} differs"):
        writing.read(folder, rt_path=writing.save(rt, tmp_path / "rt"))


def test_what_only_some_files_state_is_told(tmp_path):
    files = writing.patient()
    of_a_woman(files)
    do.put("rs.dcm", PatientName=None, PatientBirthDate="")(files)
    reading = writing.read_files(files, tmp_path)
    told = [str(note) for note in reading.notes if note.kind == "unstated"]
    assert told == [
        "the PatientName, which other files state, is not in rs.dcm",
        "the PatientBirthDate, which other files state, is not in rs.dcm",
        "the plan (RTPLAN) of rd.dcm is not here",
    ]


def planned(structure_set, **elements):
    made = writing.plan()
    made.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID = structure_set
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return writing.patient() | {"rp.dcm": made}


def test_a_dose_planned_on_absent_contours_is_refused(tmp_path):
    files = planned("1.2.9")
    match = r"^rd\.dcm was planned, as its plan says, on a structure set that is not"
    writing.save(files, tmp_path)
    with pytest.raises(errors.SourceError, match=match) as raised:
        writing.read(tmp_path)
    assert "1.2.9" not in str(raised.value)
    options = reader.Options(accept=("other_plan",))
    reading = writing.read(tmp_path, options=options)
    assert reading.patient.dose_gy is not None
    assert "other_plan" in {note.kind for note in reading.notes}
    reading = writing.read_files(planned(writing.SET), tmp_path)
    assert not [note for note in reading.notes if "plan" in note.kind + note]


def test_of_two_doses_the_one_of_these_contours_is_taken(tmp_path):
    files = planned("1.2.9")
    other = writing.plan()
    other.SOPInstanceUID = "1.2.10"
    files["rp2.dcm"] = other
    do.copied("rd.dcm", "re.dcm", SOPInstanceUID="1.2.11", DoseGridScaling=1e-5)(files)
    reference = files["re.dcm"].ReferencedRTPlanSequence[0]
    reference.ReferencedSOPInstanceUID = "1.2.10"
    reading = writing.read_files(files, tmp_path)
    assert reading.patient.dose_gy.max() < 10
    told = "rd.dcm was planned on a structure set that is not here: left out"
    assert told in reading.notes


def test_a_plan_of_another_frame_of_reference_is_refused(tmp_path):
    files = planned(writing.SET, FrameOfReferenceUID="1.2.9")
    writing.save(files, tmp_path)
    with pytest.raises(errors.SourceError, match=r"^rp\.dcm has another frame of ref"):
        writing.read(tmp_path)
    options = reader.Options(allow_frame_mismatch=True)
    assert writing.read(tmp_path, options=options).patient.dose_gy is not None
