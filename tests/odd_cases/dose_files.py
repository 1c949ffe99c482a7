"""Which dose of several, and the plan."""

from pydicom import uid

from tests.odd_cases import changes as do
from tests.odd_cases import doses, expect, shapes, writer

GROUP = "ReferencedFractionGroupSequence"


def summed(kind: str, *parts: tuple[int, float], plan_beams=(1, 2)) -> do.Change:
    """Doses of parts of the whole, each of a beam; the plan has `plan_beams`."""

    def change(made: writer.Made) -> None:
        del made.files["rd.dcm"]
        for beam, part in parts:
            made_dose = writer.dose(
                value=lambda *p, part=part: part * shapes.dose_gy(*p)
            )
            made_dose.SOPInstanceUID = f"{writer.DOSE}.{beam}"
            made_dose.DoseSummationType = kind
            (reference,) = made_dose.ReferencedRTPlanSequence
            group = writer.data(ReferencedFractionGroupNumber=1)
            group.ReferencedBeamSequence = writer.one(ReferencedBeamNumber=beam)
            setattr(reference, GROUP, [group])
            made.files[f"rd{beam}.dcm"] = made_dose
        made.files["rp.dcm"] = writer.plan(plan_beams)

    return change


def beams_on_two_grids(made: writer.Made) -> None:
    """One beam on the plain grid, one on a smaller: the sum is known on the smaller."""
    summed("BEAM", (1, 0.25), (2, 0.75))(made)
    smaller = writer.dose(
        raster=doses.SMALL, value=lambda *p: 0.75 * shapes.dose_gy(*p)
    )
    for keyword in ("SOPInstanceUID", "DoseSummationType", "ReferencedRTPlanSequence"):
        setattr(smaller, keyword, getattr(made.files["rd2.dcm"], keyword))
    made.files["rd2.dcm"] = smaller
    made.truth.known = writer.known(doses.SMALL)


def setup_beam(made: writer.Made) -> None:
    summed("BEAM", (1, 0.25), (2, 0.75), plan_beams=(1, 2, 3))(made)
    made.files["rp.dcm"].BeamSequence[2].TreatmentDeliveryType = "SETUP"


def references(instance: str) -> do.Change:
    return do.put(
        "rp.dcm",
        ReferencedStructureSetSequence=writer.one(
            ReferencedSOPClassUID=uid.RTStructureSetStorage,
            ReferencedSOPInstanceUID=instance,
        ),
    )


CHOICE: dict[str, expect.Case] = {
    "no dose": expect.noted(
        "37",
        do.both(do.remove("rd.dcm"), do.no_dose),
        "no RTDOSE here: the patient has no dose",
    ),
    "the beams of the plan": expect.right("35", summed("BEAM", (1, 0.25), (2, 0.75))),
    "the beams of a plan with a setup beam": expect.right("35", setup_beam),
    "the beams on different grids": expect.noted(
        "35, 38", beams_on_two_grids, "lies outside the dose grid"
    ),
    "one beam of two": expect.refused(
        "35", summed("BEAM", (1, 0.25)), "has 2 beams", "are of 1"
    ),
    "one beam twice": expect.refused(
        "35",
        do.both(
            summed("BEAM", (1, 0.25), (2, 0.75)),
            lambda made: setattr(
                made.files["rd2.dcm"],
                "ReferencedRTPlanSequence",
                made.files["rd1.dcm"].ReferencedRTPlanSequence,
            ),
        ),
        "they must be of each beam once",
    ),
    "beams without their plan": expect.refused(
        "35",
        do.both(summed("BEAM", (1, 0.25), (2, 0.75)), do.remove("rp.dcm")),
        "without the one plan",
    ),
    "one fraction": expect.refused(
        "35", do.put("rd.dcm", DoseSummationType="FRACTION"), "'FRACTION'"
    ),
    "a control point": expect.refused(
        "35", do.put("rd.dcm", DoseSummationType="CONTROL_POINT"), "'CONTROL_POINT'"
    ),
    "brachytherapy": expect.refused(
        "35", do.put("rd.dcm", DoseSummationType="BRACHY"), "'BRACHY'"
    ),
    "a record": expect.refused(
        "35", do.put("rd.dcm", DoseSummationType="RECORD"), "'RECORD'"
    ),
    "no DoseSummationType": expect.refused(
        "35", do.put("rd.dcm", DoseSummationType=None), "no dose of a whole plan"
    ),
    "several plans in one dose": expect.right(
        "35", do.put("rd.dcm", DoseSummationType="MULTI_PLAN")
    ),
    "the plan and a beam": expect.noted(
        "35", doses.another(DoseSummationType="BEAM"), "'BEAM'", "left out"
    ),
    "the plan and a fraction": expect.noted(
        "35", doses.another(DoseSummationType="FRACTION"), "'FRACTION'", "left out"
    ),
    "two doses of plans": expect.refused(
        "35", doses.another(), "2 doses are of DoseSummationType PLAN"
    ),
    "two doses, one relative": expect.noted(
        "34, 35", doses.another(DoseUnits="RELATIVE"), "'RELATIVE'", "left out"
    ),
    "two doses, one of another frame of reference": expect.noted(
        "20, 37",
        doses.another(FrameOfReferenceUID="2.25.8"),
        "another frame of reference",
        "left out",
    ),
    "the dose twice": expect.noted(
        "37",
        do.both(
            do.copied("rd.dcm", "again/rd.dcm"),
            do.encoded("rd.dcm", uid.ImplicitVRLittleEndian),
        ),
        "a copy of",
    ),
    "the dose twice, in two transfer syntaxes": expect.refused(
        "37", do.copied("rd.dcm", "again/rd.dcm"), "have the same SOPInstanceUID"
    ),
    "another frame of reference": expect.refused(
        "20, 37",
        do.put("rd.dcm", FrameOfReferenceUID="2.25.8"),
        "another frame of reference than the CT",
    ),
    "another frame of reference, allowed": expect.right(
        "20, 37",
        do.put("rd.dcm", FrameOfReferenceUID="2.25.8"),
        options={"allow_frame_mismatch": True},
    ),
    "no frame of reference, but the same study": expect.right(
        "37", do.put("rd.dcm", FrameOfReferenceUID=None)
    ),
    "no frame of reference, and another study": expect.refused(
        "37",
        do.put("rd.dcm", FrameOfReferenceUID=None, StudyInstanceUID="2.25.15"),
        "states no frame of reference",
    ),
    "no plan": expect.noted(
        "37, 41", do.remove("rp.dcm"), "the plan (RTPLAN)", "is not here"
    ),
    "a dose that refers to no plan": expect.noted(
        "37, 41",
        do.put("rd.dcm", ReferencedRTPlanSequence=None),
        "the plan (RTPLAN)",
        "is not here",
    ),
    "two doses, the plan of one is here": expect.noted(
        "35, 37",
        doses.another(
            ReferencedRTPlanSequence=writer.one(ReferencedSOPInstanceUID="2.25.62")
        ),
        "no plan here links it to the contours",
    ),
    "a rejected plan": expect.noted(
        "37", do.put("rp.dcm", ApprovalStatus="REJECTED"), "marked as rejected"
    ),
    "the dose as a secondary capture": expect.noted(
        "16, 37",
        do.both(
            do.put(
                "rd.dcm",
                SOPClassUID=uid.MultiFrameTrueColorSecondaryCaptureImageStorage,
            ),
            do.no_dose,
        ),
        "no RTDOSE here",
    ),
    "an ion plan": expect.right(
        "37",
        do.put("rp.dcm", SOPClassUID=uid.RTIonPlanStorage),
    ),
    "the plan's structure set is absent": expect.refused(
        "37, identity", references("2.25.91"), "on a structure set that is not here"
    ),
    "the plan's structure set is absent, accepted": expect.noted(
        "37, identity",
        references("2.25.91"),
        "on a structure set that is not here",
        options={"accept": ("other_plan",)},
    ),
    "a plan of another frame of reference": expect.refused(
        "20, 37",
        do.put("rp.dcm", FrameOfReferenceUID="2.25.8"),
        "another frame of reference than the CT",
    ),
    "a plan without structure set": expect.noted(
        "37, identity",
        do.put("rp.dcm", ReferencedStructureSetSequence=None),
        "names no structure set",
    ),
}
