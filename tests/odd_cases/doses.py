"""The dose: its grid, its units, which of several, and the plan."""

import numpy as np
import pydicom
from pydicom import uid

from tests.odd_cases import changes as do
from tests.odd_cases import shapes, writer
from tests.odd_cases.outcome import Case, noted, refused, right
from tests.odd_cases.shapes import Raster
from tests.odd_cases.writer import Made

PLANES = shapes.DOSE.count[2]
FINE = Raster((-46.5, -46.0, -225.0), (1.5, 2.0, 2.5), (63, 47, 19))
COARSE = Raster((-50.0, -50.0, -230.0), (10.0, 10.0, 10.0), (11, 11, 7))
SMALL = Raster((-20.0, -30.0, -216.0), (4.0, 5.0, 6.0), (11, 14, 5))
LARGE = Raster((-120.0, -118.0, -402.0), (4.0, 5.0, 6.0), (60, 48, 60))
# Its first plane is at z = 0, from where the frames fall.
FROM_ZERO = Raster((-48.0, -48.0, -228.0), (4.0, 5.0, 6.0), (25, 20, 39))
GROUP = "ReferencedFractionGroupSequence"


def offsets(*values: float) -> do.Change:
    return do.put("rd.dcm", GridFrameOffsetVector=list(values))


def absolute(made: Made) -> None:
    made.files["rd.dcm"].GridFrameOffsetVector = shapes.DOSE.axis(2).tolist()


def falling(made: Made) -> None:
    """The last plane first, and offsets that fall."""
    reversed_planes(made)
    made_dose = made.files["rd.dcm"]
    made_dose.ImagePositionPatient[2] = float(shapes.DOSE.axis(2)[-1])
    made_dose.GridFrameOffsetVector = [-6.0 * n for n in range(PLANES)]


def falling_feet_first(made: Made) -> None:
    """Frames against the normal: from the feet, where the first offset is 0."""
    do.position("FFS")(made)
    reversed_planes(made)
    made_dose = made.files["rd.dcm"]
    made_dose.ImagePositionPatient[2] = float(shapes.DOSE.axis(2)[0])
    made_dose.GridFrameOffsetVector = [-6.0 * n for n in range(PLANES)]


def reversed_planes(made: Made) -> None:
    made_dose = made.files["rd.dcm"]
    volume = np.frombuffer(made_dose.PixelData, "<u4").reshape(PLANES, -1)
    writer.set_pixels(made_dose, volume[::-1].copy(), 32)


def from_zero(made: Made) -> None:
    do.dose_of(FROM_ZERO)(made)
    made_dose = made.files["rd.dcm"]
    volume = np.frombuffer(made_dose.PixelData, "<u4").reshape(39, -1)
    writer.set_pixels(made_dose, volume[::-1].copy(), 32)
    made_dose.ImagePositionPatient[2] = 0.0
    made_dose.GridFrameOffsetVector = [-6.0 * n for n in range(39)]


def uneven(made: Made) -> None:
    """Planes at uneven heights; the dose at each is what is there."""
    z_mm = np.array(
        [-228.0, -224.5, -219.0, -213.0, -204.0, -196.0, -190.0, -184.5, -180.0]
    )
    x, y, _ = shapes.DOSE.places()
    volume = shapes.dose_gy(x, y, z_mm[:, None, None])
    set_dose(made.files["rd.dcm"], volume)
    offsets(*(z_mm - z_mm[0]))(made)


def set_dose(
    made_dose: pydicom.Dataset,
    volume_gy: np.ndarray,
    scaling: float = 1e-5,
    kind: type = np.uint32,
) -> None:
    stored = np.rint(volume_gy / scaling).astype(kind)
    made_dose.DoseGridScaling = scaling
    writer.set_pixels(made_dose, stored, 8 * stored.dtype.itemsize)


def scaled(factor: float) -> do.Change:
    """Another dose, and its truth."""

    def change(made: Made) -> None:
        made_dose = made.files["rd.dcm"]
        made_dose.DoseGridScaling = float(f"{made_dose.DoseGridScaling * factor:.9g}")
        made.truth.dose = made.truth.dose * factor

    return change


def scaling(factor: float, **elements) -> do.Change:
    """The same pixels in other units: the truth stays."""

    def change(made: Made) -> None:
        made_dose = made.files["rd.dcm"]
        made_dose.DoseGridScaling = float(f"{made_dose.DoseGridScaling * factor:.9g}")
        do.put("rd.dcm", **elements)(made)

    return change


def hot_spot(made: Made) -> None:
    """A hot voxel of the dose between the CT's voxels, whose centres it shares."""
    x, y, z = FINE.places()
    volume = shapes.dose_gy(x, y, z)
    volume[9, 23, 31] += 10
    made.files["rd.dcm"] = writer.dose(raster=FINE)
    set_dose(made.files["rd.dcm"], volume)
    made.truth.known = writer.known(FINE)


def summed(kind: str, *parts: tuple[int, float], plan_beams=(1, 2)) -> do.Change:
    """Doses of parts of the whole, each of a beam; the plan has `plan_beams`."""

    def change(made: Made) -> None:
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


def beams_on_two_grids(made: Made) -> None:
    """One beam on the plain grid, one on a smaller: the sum is known on the smaller."""
    summed("BEAM", (1, 0.25), (2, 0.75))(made)
    smaller = writer.dose(raster=SMALL, value=lambda *p: 0.75 * shapes.dose_gy(*p))
    for keyword in ("SOPInstanceUID", "DoseSummationType", "ReferencedRTPlanSequence"):
        setattr(smaller, keyword, getattr(made.files["rd2.dcm"], keyword))
    made.files["rd2.dcm"] = smaller
    made.truth.known = writer.known(SMALL)


def setup_beam(made: Made) -> None:
    summed("BEAM", (1, 0.25), (2, 0.75), plan_beams=(1, 2, 3))(made)
    made.files["rp.dcm"].BeamSequence[2].TreatmentDeliveryType = "SETUP"


def another(name: str = "re.dcm", **elements) -> do.Change:
    """A second dose of half the height."""

    def change(made: Made) -> None:
        made_dose = writer.dose(value=lambda *p: 0.5 * shapes.dose_gy(*p))
        made_dose.SOPInstanceUID = "2.25.61"
        for keyword, value in elements.items():
            setattr(made_dose, keyword, value)
        made.files[name] = made_dose

    return change


def dvh_only(made_dose: pydicom.Dataset) -> None:
    """No grid: only dose-volume histograms."""
    for keyword in (
        *(
            "Rows",
            "Columns",
            "PixelSpacing",
            "PixelData",
            "BitsAllocated",
            "BitsStored",
        ),
        *("HighBit", "PixelRepresentation", "SamplesPerPixel", "NumberOfFrames"),
        *("ImagePositionPatient", "ImageOrientationPatient", "GridFrameOffsetVector"),
        *("PhotometricInterpretation", "FrameIncrementPointer", "DoseGridScaling"),
    ):
        del made_dose[keyword]
    with_dvh(made_dose)


def with_dvh(made_dose: pydicom.Dataset) -> None:
    made_dose.DVHSequence = writer.one(
        DVHType="CUMULATIVE",
        DoseUnits="GY",
        DVHDoseScaling=1,
        DVHVolumeUnits="CM3",
        DVHNumberOfBins=2,
        DVHData=[1, 100, 99, 0],
    )


def dvh_beside(made: Made) -> None:
    another()(made)
    dvh_only(made.files["re.dcm"])


def signed(made_dose: pydicom.Dataset) -> None:
    volume = np.frombuffer(made_dose.PixelData, "<u4") // 2
    volume[5] = 0
    writer.set_pixels(made_dose, -volume.astype(np.int32), 32)


def references(instance: str) -> do.Change:
    return do.put(
        "rp.dcm",
        ReferencedStructureSetSequence=writer.one(
            ReferencedSOPClassUID=uid.RTStructureSetStorage,
            ReferencedSOPInstanceUID=instance,
        ),
    )


def single_plane(made: Made) -> None:
    x, y, _ = shapes.DOSE.places()
    made_dose = made.files["rd.dcm"]
    set_dose(made_dose, shapes.dose_gy(x, y, -204.0)[:1])
    for keyword in ("NumberOfFrames", "GridFrameOffsetVector", "FrameIncrementPointer"):
        del made_dose[keyword]


GRID: dict[str, Case] = {
    "finer grid than the CT's": right("38", do.dose_of(FINE)),
    "grid of 10 mm, not aligned": noted(
        "38, 39", do.dose_of(COARSE), "on its own grid"
    ),
    "grid smaller than the CT": noted(
        "38", do.dose_of(SMALL), "lies outside the dose grid"
    ),
    "grid larger than the CT": noted("38, 39", do.dose_of(LARGE), "on its own grid"),
    "dose elsewhere": refused(
        "38",
        do.put("rd.dcm", ImagePositionPatient=[-48, -48, 500]),
        "does not overlap the CT",
    ),
    "hot voxel between the CT's voxels": noted("39", hot_spot, "on its own grid"),
    "heights in place of offsets": right("33", absolute),
    "heights in place of offsets, feet first": refused(
        "33",
        do.both(
            do.position("FFS"),
            offsets(*(-180.0 - 6 * n for n in range(PLANES))),
        ),
        "the standard allows only where",
    ),
    "offsets that fall": right("33", falling),
    "offsets that fall, feet first": right("33", falling_feet_first),
    "offsets that fall from z = 0": noted("33, 39", from_zero, "on its own grid"),
    "planes at uneven distances": right("33", uneven),
    "offsets from another origin": refused(
        "33",
        offsets(*(5.0 + 6 * n for n in range(PLANES))),
        "begins with 5; expected 0",
    ),
    "offsets that turn back": refused(
        "33", offsets(0, 6, 12, 18, 17, 30, 36, 42, 48), "neither grows nor falls"
    ),
    "offsets that stand still": refused(
        "33", offsets(*[0.0] * PLANES), "neither grows nor falls"
    ),
    "fewer offsets than planes": refused(
        "33", offsets(*(6.0 * n for n in range(8))), "9 planes of dose but 8 offsets"
    ),
    "no offsets": refused(
        "33", do.put("rd.dcm", GridFrameOffsetVector=None), "has 0 offsets"
    ),
    "a dose of one plane": refused("33", single_plane, "offsets of planes"),
    "no FrameIncrementPointer": right(
        "33", do.put("rd.dcm", FrameIncrementPointer=None)
    ),
    "SliceThickness that is wrong": right("33", do.put("rd.dcm", SliceThickness=2.5)),
    "a dose turned by 5 degrees": refused(
        "6",
        do.put(
            "rd.dcm",
            ImageOrientationPatient=[0.99619, 0.08716, 0, -0.08716, 0.99619, 0],
        ),
        "turned by 5.00 degrees",
    ),
    "a coronal dose": refused(
        "15",
        do.put("rd.dcm", ImageOrientationPatient=[1, 0, 0, 0, 0, -1]),
        "degrees from the patient's axes",
    ),
    "no position of the dose": refused(
        "33", do.put("rd.dcm", ImagePositionPatient=None), "ImagePositionPatient"
    ),
    "rows and columns of the dose swapped": refused(
        "40", do.put("rd.dcm", Rows=25, Columns=21), "do not fit its header"
    ),
}

VALUES: dict[str, Case] = {
    "16 bits": right("32", lambda made: do.files(rd=writer.dose(kind=np.uint16))(made)),
    "a scaling with an exponent": right(
        "32",
        do.each(
            "rd.dcm", lambda d: set_dose(d, shapes.dose_gy(*shapes.DOSE.places()), 2e-8)
        ),
    ),
    "rescale in the dose file": right(
        "32", do.put("rd.dcm", RescaleSlope=2, RescaleIntercept=-5)
    ),
    "no DoseGridScaling": refused(
        "32", do.put("rd.dcm", DoseGridScaling=None), "0 numbers for DoseGridScaling"
    ),
    "DoseGridScaling of 0": refused(
        "32", do.put("rd.dcm", DoseGridScaling=0), "DoseGridScaling of 0"
    ),
    "negative DoseGridScaling": refused(
        "32", do.put("rd.dcm", DoseGridScaling=-1e-6), "DoseGridScaling of -1e-06"
    ),
    "negative doses": refused("32", do.each("rd.dcm", signed), "signed pixels"),
    "cGy that are called cGy": noted(
        "34", scaling(100, DoseUnits="CGY"), "is in cGy, and was divided by 100"
    ),
    "cGy that are called Gy": refused(
        "34", scaled(100), "times the prescription", "--accept=high_dose"
    ),
    "cGy that are called Gy, accepted": noted(
        "34",
        do.both(
            do.each(
                "rd.dcm",
                lambda d: set_dose(
                    d, 100 * shapes.dose_gy(*shapes.DOSE.places()), 1e-4
                ),
            ),
            lambda made: setattr(made.truth, "dose", 100 * made.truth.dose),
        ),
        "times the prescription",
        options={"accept": ("high_dose",)},
    ),
    "DoseUnits in small letters": right("34", do.put("rd.dcm", DoseUnits="Gy")),
    "relative dose": refused(
        "34", do.put("rd.dcm", DoseUnits="RELATIVE"), "'RELATIVE'"
    ),
    "no DoseUnits": refused("34", do.put("rd.dcm", DoseUnits=None), "DoseUnits ''"),
    "highest dose of 0.05 Gy": noted("34", scaled(0.001), "check that these are Gy"),
    "no dose anywhere": noted(
        "34",
        do.both(
            do.each(
                "rd.dcm", lambda d: writer.set_pixels(d, np.zeros(4500, np.uint32), 32)
            ),
            lambda made: setattr(made.truth, "dose", 0 * made.truth.dose),
        ),
        "reaches 0 Gy",
    ),
    "effective dose": noted("36", do.put("rd.dcm", DoseType="EFFECTIVE"), "effective"),
    "an error of the dose": refused(
        "36", do.put("rd.dcm", DoseType="ERROR"), "'ERROR'"
    ),
    "no DoseType": noted("36", do.put("rd.dcm", DoseType=None), "no DoseType"),
    "a network's estimate with an invented plan": refused(
        "36, 41",
        do.put("rd.dcm", DoseComment="AI estimate; the plan is invented"),
        "a network's estimate",
    ),
    "DVHs beside the dose grid": right("42", do.each("rd.dcm", with_dvh)),
    "DVHs alone, in place of the dose": noted(
        "42",
        do.both(do.each("rd.dcm", dvh_only), do.no_dose),
        "RTDOSE of DVHs alone",
    ),
    "DVHs alone, beside the dose": noted("42", dvh_beside, "RTDOSE of DVHs alone"),
}

CHOICE: dict[str, Case] = {
    "no dose": noted(
        "37",
        do.both(do.remove("rd.dcm"), do.no_dose),
        "no RTDOSE here: the patient has no dose",
    ),
    "the beams of the plan": right("35", summed("BEAM", (1, 0.25), (2, 0.75))),
    "the beams of a plan with a setup beam": right("35", setup_beam),
    "the beams on different grids": noted(
        "35, 38", beams_on_two_grids, "lies outside the dose grid"
    ),
    "one beam of two": refused(
        "35", summed("BEAM", (1, 0.25)), "has 2 beams", "are of 1"
    ),
    "one beam twice": refused(
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
    "beams without their plan": refused(
        "35",
        do.both(summed("BEAM", (1, 0.25), (2, 0.75)), do.remove("rp.dcm")),
        "without the one plan",
    ),
    "one fraction": refused(
        "35", do.put("rd.dcm", DoseSummationType="FRACTION"), "'FRACTION'"
    ),
    "a control point": refused(
        "35", do.put("rd.dcm", DoseSummationType="CONTROL_POINT"), "'CONTROL_POINT'"
    ),
    "brachytherapy": refused(
        "35", do.put("rd.dcm", DoseSummationType="BRACHY"), "'BRACHY'"
    ),
    "a record": refused("35", do.put("rd.dcm", DoseSummationType="RECORD"), "'RECORD'"),
    "no DoseSummationType": refused(
        "35", do.put("rd.dcm", DoseSummationType=None), "no dose of a whole plan"
    ),
    "several plans in one dose": right(
        "35", do.put("rd.dcm", DoseSummationType="MULTI_PLAN")
    ),
    "the plan and a beam": noted(
        "35", another(DoseSummationType="BEAM"), "'BEAM'", "left out"
    ),
    "the plan and a fraction": noted(
        "35", another(DoseSummationType="FRACTION"), "'FRACTION'", "left out"
    ),
    "two doses of plans": refused(
        "35", another(), "2 doses are of DoseSummationType PLAN"
    ),
    "two doses, one relative": noted(
        "34, 35", another(DoseUnits="RELATIVE"), "'RELATIVE'", "left out"
    ),
    "two doses, one of another frame of reference": noted(
        "20, 37",
        another(FrameOfReferenceUID="2.25.8"),
        "another frame of reference",
        "left out",
    ),
    "the dose twice": noted(
        "37",
        do.both(
            do.copied("rd.dcm", "again/rd.dcm"),
            do.encoded("rd.dcm", uid.ImplicitVRLittleEndian),
        ),
        "a copy of",
    ),
    "the dose twice, in two transfer syntaxes": refused(
        "37", do.copied("rd.dcm", "again/rd.dcm"), "have the same SOPInstanceUID"
    ),
    "another frame of reference": refused(
        "20, 37",
        do.put("rd.dcm", FrameOfReferenceUID="2.25.8"),
        "another frame of reference than the CT",
    ),
    "another frame of reference, allowed": right(
        "20, 37",
        do.put("rd.dcm", FrameOfReferenceUID="2.25.8"),
        options={"allow_frame_mismatch": True},
    ),
    "no frame of reference, but the same study": right(
        "37", do.put("rd.dcm", FrameOfReferenceUID=None)
    ),
    "no frame of reference, and another study": refused(
        "37",
        do.put("rd.dcm", FrameOfReferenceUID=None, StudyInstanceUID="2.25.15"),
        "states no frame of reference",
    ),
    "no plan": noted("37, 41", do.remove("rp.dcm"), "the plan (RTPLAN)", "is not here"),
    "a dose that refers to no plan": noted(
        "37, 41",
        do.put("rd.dcm", ReferencedRTPlanSequence=None),
        "the plan (RTPLAN)",
        "is not here",
    ),
    "two doses, the plan of one is here": noted(
        "35, 37",
        another(
            ReferencedRTPlanSequence=writer.one(ReferencedSOPInstanceUID="2.25.62")
        ),
        "no plan here links it to the contours",
    ),
    "a rejected plan": noted(
        "37", do.put("rp.dcm", ApprovalStatus="REJECTED"), "marked as rejected"
    ),
    "the dose as a secondary capture": noted(
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
    "an ion plan": right(
        "37",
        do.put("rp.dcm", SOPClassUID=uid.RTIonPlanStorage),
    ),
    "the plan's structure set is absent": refused(
        "37, identity", references("2.25.91"), "on a structure set that is not here"
    ),
    "the plan's structure set is absent, accepted": noted(
        "37, identity",
        references("2.25.91"),
        "on a structure set that is not here",
        options={"accept": ("other_plan",)},
    ),
    "a plan of another frame of reference": refused(
        "20, 37",
        do.put("rp.dcm", FrameOfReferenceUID="2.25.8"),
        "another frame of reference than the CT",
    ),
    "a plan without structure set": noted(
        "37, identity",
        do.put("rp.dcm", ReferencedStructureSetSequence=None),
        "names no structure set",
    ),
}
