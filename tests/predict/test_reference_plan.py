"""A plan that a user names: refused if it is another patient's, or may mislead."""

import dataclasses

import pydicom
import pytest
from pydicom import uid

from mtl_jax.core import errors
from mtl_jax.predict import cases, reference_plan
from tests.export import exported

SET = "1.2.826.0.1.55"


@pytest.fixture
def case(tmp_path) -> cases.Case:
    """A case of which only what a plan is compared with is there."""
    _, paths = exported.write_ct(tmp_path / "ct")
    for path in paths:
        exported.change(path, PatientName="Doe^Jane", PatientBirthDate="19501224")
    reference = exported.reference(tmp_path / "ct")
    return cases.Case(None, reference, "", (), (SET,))  # pyright: ignore


@pytest.fixture
def write(tmp_path, case):
    """`write(**changes)`: the file of a plan that belongs to the case but for these."""

    def write(**changes: object):
        plan = pydicom.Dataset()
        plan.SOPClassUID, plan.SOPInstanceUID = uid.RTPlanStorage, "1.2.826.0.1.77"
        header = case.reference.header
        plan.PatientID, plan.PatientName = header.PatientID, "Doe^Jane"
        plan.StudyInstanceUID = header.StudyInstanceUID
        named = pydicom.Dataset()
        named.ReferencedSOPInstanceUID = changes.pop("structure_set", SET)
        plan.ReferencedStructureSetSequence = [named]
        for keyword, value in changes.items():
            setattr(plan, keyword, value)
        plan.file_meta = pydicom.dataset.FileMetaDataset()
        plan.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian
        plan.save_as(tmp_path / "plan.dcm", enforce_file_format=True)
        return tmp_path / "plan.dcm"

    return write


def test_the_patient_s_own_plan_is_taken(case, write):
    plan, remarks = reference_plan.read(write(), case, allow_approved=False)
    assert (plan.SOPInstanceUID, remarks) == ("1.2.826.0.1.77", [])
    path = write(ApprovalStatus="UNAPPROVED", PatientName="DOE^JANE^M")
    reference_plan.read(path, case, allow_approved=False)
    # Without a structure set nothing can be compared, and that is said.
    alone = dataclasses.replace(case, structure_sets=())
    _, remarks = reference_plan.read(path, alone, allow_approved=False)
    assert "was not compared with a structure set" in remarks[0]


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"PatientName": "Roe^Richard"}, r"of another patient .* PatientName differs"),
        ({"PatientBirthDate": "19600101"}, "PatientBirthDate differs"),
        ({"PatientID": "other"}, "has a different PatientID"),
        ({"structure_set": "1.2.3"}, "made on another structure set"),
        ({"structure_set": "1.2.x"}, "a ReferencedSOPInstanceUID that is no UID"),
        ({"SOPInstanceUID": "1.2.03"}, "has a SOPInstanceUID that is no UID"),
        ({"SOPInstanceUID": "1." * 40 + "1"}, "has a SOPInstanceUID that is no UID"),
        ({"ApprovalStatus": "APPROVED"}, "approved: .*--refer_to_approved_plan"),
        ({"SOPClassUID": uid.RTDoseStorage}, "is not an RT Plan"),
    ],
)
def test_another_plan_is_refused(case, write, changes, message):
    with pytest.raises(errors.SourceError, match=message) as refused:
        reference_plan.read(write(**changes), case, allow_approved=False)
    for value in ("Roe", "Doe", "1960", "1.2.3", "other patient's"):
        assert value not in str(refused.value)


def test_an_approved_plan_is_taken_by_name(case, write):
    path = write(ApprovalStatus="APPROVED")
    plan, _ = reference_plan.read(path, case, allow_approved=True)
    assert plan.SOPInstanceUID == "1.2.826.0.1.77"
