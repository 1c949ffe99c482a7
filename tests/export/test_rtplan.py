"""The minimal plan: what it says, that it is valid, and what refers to it."""

import shutil

import numpy as np
import pydicom
import pytest
from pydicom import uid

from mtl_jax.core import errors
from mtl_jax.export import ct_reference, rtdose, rtplan, rtstruct
from mtl_jax.sources.dicom import reader
from tests.export import exported

OPTIONS = {"author": exported.AUTHOR, "created": exported.CREATED}


def write_all(folder, reference) -> list:
    """RS.dcm, RP.dcm on it, and RD.dcm of that; their data sets."""
    masks = exported.some_masks(reference.grid)
    instance = rtstruct.write(
        folder / "RS.dcm", masks, reference, site=exported.SITE, **OPTIONS
    )
    plan = rtplan.write(folder / "RP.dcm", reference, structure_set=instance, **OPTIONS)
    dose_gy = np.random.default_rng(1).random(reference.grid.shape, np.float32) * 70
    rtdose.write(folder / "RD.dcm", dose_gy, reference, plan=plan, **OPTIONS)
    return [pydicom.dcmread(folder / name) for name in ("RS.dcm", "RP.dcm", "RD.dcm")]


@pytest.fixture
def reference(tmp_path) -> ct_reference.CtReference:
    exported.write_ct(tmp_path / "ct")
    return exported.reference(tmp_path / "ct")


def test_contours_plan_and_dose_are_linked(tmp_path, reference):
    contours, plan, dose = write_all(tmp_path, reference)
    assert (plan.Modality, plan.SOPClassUID) == ("RTPLAN", uid.RTPlanStorage)
    assert (plan.RTPlanLabel, plan.ApprovalStatus) == ("AI estimate", "UNAPPROVED")
    assert plan.RTPlanGeometry == "PATIENT"
    (named,) = plan.ReferencedStructureSetSequence
    assert named.ReferencedSOPInstanceUID == contours.SOPInstanceUID
    (named,) = dose.ReferencedRTPlanSequence
    assert named.ReferencedSOPInstanceUID == plan.SOPInstanceUID
    assert dose.DoseSummationType == "PLAN"
    for keyword in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert plan[keyword] == contours[keyword] == dose[keyword]
    series = {made.SeriesInstanceUID for made in (contours, plan, dose)}
    assert len(series) == 3
    # Nothing can be treated with it.
    for keyword in ("BeamSequence", "FractionGroupSequence", "DoseReferenceSequence"):
        assert keyword not in plan


def test_dciodvfy_finds_no_error(tmp_path, reference):
    if shutil.which("dciodvfy") is None:
        pytest.skip("no dciodvfy: install Debian's dicom3tools")
    write_all(tmp_path, reference)
    rtplan.write(tmp_path / "alone.dcm", reference, structure_set=None, **OPTIONS)
    assert exported.errors_of_dciodvfy(tmp_path / "RP.dcm") == ("RTPlan", [])
    assert exported.errors_of_dciodvfy(tmp_path / "alone.dcm") == ("RTPlan", [])
    assert exported.errors_of_dciodvfy(tmp_path / "RD.dcm") == ("RTDose", [])
    # It does find an error: a plan in the patient's geometry without contours.
    wrong = pydicom.dcmread(tmp_path / "alone.dcm")
    assert wrong.RTPlanGeometry == "TREATMENT_DEVICE"
    wrong.RTPlanGeometry = "PATIENT"
    wrong.save_as(tmp_path / "wrong.dcm")
    _, complaints = exported.errors_of_dciodvfy(tmp_path / "wrong.dcm")
    assert len(complaints) == 1 and "ReferencedStructureSet" in complaints[0]


@pytest.mark.parametrize("with_plan", [True, False])
def test_an_estimate_with_its_plan_is_no_planned_dose(tmp_path, reference, with_plan):
    write_all(tmp_path / "ct", reference)
    if not with_plan:
        (tmp_path / "ct" / "RP.dcm").unlink()
    with pytest.raises(errors.SourceError, match="estimate with an invented plan"):
        reader.read(tmp_path / "ct", patient_id="p1", site=exported.SITE)
