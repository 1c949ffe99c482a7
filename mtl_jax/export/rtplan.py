"""A minimal RT Plan (PS3.3 A.20), for systems that show a dose only with its plan.

Input: the CT, and the structure set that was written beside. Output: one file, and what
a dose needs to refer to it. The plan is invented: it has no beam, fraction or
prescription, is labelled `AI estimate` and not approved, and nothing can be treated
with it.
"""

import datetime
from pathlib import Path

import pydicom
from pydicom import uid

from mtl_jax.export import author as authors
from mtl_jax.export import ct_reference, dicom_objects

LABEL = "AI estimate"


def write(
    path: Path,
    reference: ct_reference.CtReference,
    *,
    structure_set: str | None,
    author: authors.Author,
    created: datetime.datetime,
) -> pydicom.Dataset:
    """Write a plan on the CT of `reference`, and return it.

    `structure_set` is the SOPInstanceUID of the structure set; without one, the plan is
    not in the patient's but in the machine's geometry, as the standard wants it.
    """
    dicom = dicom_objects.predicted(
        reference, author, created, modality="RTPLAN", sop_class=uid.RTPlanStorage
    )
    dicom.RTPlanLabel, dicom.RTPlanName = LABEL, LABEL
    dicom.RTPlanDescription = dicom_objects.text(author.statement, 1024)
    date, time = dicom_objects.date_and_time(created)
    dicom.RTPlanDate, dicom.RTPlanTime = date, time
    dicom.PlanIntent = "RESEARCH"
    dicom.ApprovalStatus = "UNAPPROVED"
    # C.8.8.9: PATIENT requires a structure set.
    dicom.RTPlanGeometry = "PATIENT" if structure_set else "TREATMENT_DEVICE"
    if structure_set:
        dicom.ReferencedStructureSetSequence = [
            dicom_objects.refer(uid.RTStructureSetStorage, structure_set)
        ]
    dicom_objects.save(dicom, path)
    return dicom
