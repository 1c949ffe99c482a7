"""The RT Plan that a user names for the predicted dose, checked against the patient.

Input: its file, and the Case. Output: the elements that the dose refers to, and a
sentence if something could not be compared.
"""

import dataclasses
from pathlib import Path

from mtl_jax.core import errors
from mtl_jax.export import rtdose
from mtl_jax.predict import cases
from mtl_jax.sources.dicom import elements, identity

NAME = "the reference plan"
ELEMENTS = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"),
    *("SpecificCharacterSet", *identity.FIELDS, "ApprovalStatus"),
    "ReferencedStructureSetSequence",
)


@dataclasses.dataclass(frozen=True)
class _Header:
    """What `identity` compares."""

    name: str
    header: rtdose.Plan

    def text(self, keyword: str) -> str:
        return elements.text(self.header, keyword, self.name)


def read(
    path: Path, case: cases.Case, *, allow_approved: bool
) -> tuple[rtdose.Plan, list[str]]:
    """The plan in the file `path`, and what could not be checked.

    Raises:
        SourceError: it is of another patient or structure set, has an invalid UID, or
            is approved for treatment, unless `allow_approved`.
    """
    plan = elements.load(path, NAME, ELEMENTS, pixels=False)
    rtdose.check_plan(plan, case.reference)
    ours, theirs = _Header("the CT", case.reference.header), _Header(NAME, plan)
    if two := identity.contradiction((ours, theirs)):
        raise errors.SourceError(
            f"{NAME} is of another patient than the CT (their {two[0]} differs); pass "
            "the plan that was made on this CT, or no plan"
        )
    structure_sets = _structure_sets(plan)
    if theirs.text("ApprovalStatus").upper() == "APPROVED" and not allow_approved:
        raise errors.SourceError(
            f"{NAME} is approved: systems may show the predicted dose as the dose of a "
            "plan that is to be treated. Pass a copy that is not approved, or "
            "--refer_to_approved_plan if you know what reads the dose"
        )
    if not case.structure_sets:
        return plan, [f"{NAME} was not compared with a structure set: none is here"]
    if structure_sets and not set(structure_sets) & set(case.structure_sets):
        raise errors.SourceError(
            f"{NAME} was made on another structure set than the patient's; pass the "
            "plan that was made on this one, or no plan"
        )
    return plan, []


def _structure_sets(plan: rtdose.Plan) -> list[str]:
    """UIDs of the structure sets that the plan names."""
    sets = elements.items(plan, "ReferencedStructureSetSequence", NAME)
    named = (elements.text(one, "ReferencedSOPInstanceUID", NAME) for one in sets)
    return [text for text in named if text]
