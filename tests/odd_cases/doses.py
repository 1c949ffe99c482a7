"""The dose: its grid, its units, its values."""

import numpy as np
import pydicom

from tests.odd_cases import changes as do
from tests.odd_cases import expect, shapes, writer

PLANES = shapes.DOSE.count[2]
FINE = shapes.Raster((-46.5, -46.0, -225.0), (1.5, 2.0, 2.5), (63, 47, 19))
COARSE = shapes.Raster((-50.0, -50.0, -230.0), (10.0, 10.0, 10.0), (11, 11, 7))
SMALL = shapes.Raster((-20.0, -30.0, -216.0), (4.0, 5.0, 6.0), (11, 14, 5))
LARGE = shapes.Raster((-120.0, -118.0, -402.0), (4.0, 5.0, 6.0), (60, 48, 60))
# Its first plane is at z = 0, from where the frames fall.
FROM_ZERO = shapes.Raster((-48.0, -48.0, -228.0), (4.0, 5.0, 6.0), (25, 20, 39))


def offsets(*values: float) -> do.Change:
    return do.put("rd.dcm", GridFrameOffsetVector=list(values))


def absolute(made: writer.Made) -> None:
    made.files["rd.dcm"].GridFrameOffsetVector = shapes.DOSE.axis(2).tolist()


def falling(made: writer.Made) -> None:
    """The last plane first, and offsets that fall."""
    reversed_planes(made)
    made_dose = made.files["rd.dcm"]
    made_dose.ImagePositionPatient[2] = float(shapes.DOSE.axis(2)[-1])
    made_dose.GridFrameOffsetVector = [-6.0 * n for n in range(PLANES)]


def falling_feet_first(made: writer.Made) -> None:
    """Frames against the normal: from the feet, where the first offset is 0."""
    do.position("FFS")(made)
    reversed_planes(made)
    made_dose = made.files["rd.dcm"]
    made_dose.ImagePositionPatient[2] = float(shapes.DOSE.axis(2)[0])
    made_dose.GridFrameOffsetVector = [-6.0 * n for n in range(PLANES)]


def reversed_planes(made: writer.Made) -> None:
    made_dose = made.files["rd.dcm"]
    volume = np.frombuffer(made_dose.PixelData, "<u4").reshape(PLANES, -1)
    writer.set_pixels(made_dose, volume[::-1].copy(), 32)


def from_zero(made: writer.Made) -> None:
    do.dose_of(FROM_ZERO)(made)
    made_dose = made.files["rd.dcm"]
    volume = np.frombuffer(made_dose.PixelData, "<u4").reshape(39, -1)
    writer.set_pixels(made_dose, volume[::-1].copy(), 32)
    made_dose.ImagePositionPatient[2] = 0.0
    made_dose.GridFrameOffsetVector = [-6.0 * n for n in range(39)]


def uneven(made: writer.Made) -> None:
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

    def change(made: writer.Made) -> None:
        made_dose = made.files["rd.dcm"]
        made_dose.DoseGridScaling = float(f"{made_dose.DoseGridScaling * factor:.9g}")
        made.truth.dose = made.truth.dose * factor

    return change


def scaling(factor: float, **elements) -> do.Change:
    """The same pixels in other units: the truth stays."""

    def change(made: writer.Made) -> None:
        made_dose = made.files["rd.dcm"]
        made_dose.DoseGridScaling = float(f"{made_dose.DoseGridScaling * factor:.9g}")
        do.put("rd.dcm", **elements)(made)

    return change


def hot_spot(made: writer.Made) -> None:
    """A hot voxel of the dose between the CT's voxels, whose centres it shares."""
    x, y, z = FINE.places()
    volume = shapes.dose_gy(x, y, z)
    volume[9, 23, 31] += 10
    made.files["rd.dcm"] = writer.dose(raster=FINE)
    set_dose(made.files["rd.dcm"], volume)
    made.truth.known = writer.known(FINE)


def another(name: str = "re.dcm", **elements) -> do.Change:
    """A second dose of half the height."""

    def change(made: writer.Made) -> None:
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


def dvh_beside(made: writer.Made) -> None:
    another()(made)
    dvh_only(made.files["re.dcm"])


def signed(made_dose: pydicom.Dataset) -> None:
    volume = np.frombuffer(made_dose.PixelData, "<u4") // 2
    volume[5] = 0
    writer.set_pixels(made_dose, -volume.astype(np.int32), 32)


def single_plane(made: writer.Made) -> None:
    x, y, _ = shapes.DOSE.places()
    made_dose = made.files["rd.dcm"]
    set_dose(made_dose, shapes.dose_gy(x, y, -204.0)[:1])
    for keyword in ("NumberOfFrames", "GridFrameOffsetVector", "FrameIncrementPointer"):
        del made_dose[keyword]


GRID: dict[str, expect.Case] = {
    "finer grid than the CT's": expect.right("38", do.dose_of(FINE)),
    "grid of 10 mm, not aligned": expect.noted(
        "38, 39", do.dose_of(COARSE), "on its own grid"
    ),
    "grid smaller than the CT": expect.noted(
        "38", do.dose_of(SMALL), "lies outside the dose grid"
    ),
    "grid larger than the CT": expect.noted(
        "38, 39", do.dose_of(LARGE), "on its own grid"
    ),
    "dose elsewhere": expect.refused(
        "38",
        do.put("rd.dcm", ImagePositionPatient=[-48, -48, 500]),
        "does not overlap the CT",
    ),
    "hot voxel between the CT's voxels": expect.noted(
        "39", hot_spot, "on its own grid"
    ),
    "heights in place of offsets": expect.right("33", absolute),
    "heights in place of offsets, feet first": expect.refused(
        "33",
        do.both(
            do.position("FFS"),
            offsets(*(-180.0 - 6 * n for n in range(PLANES))),
        ),
        "the standard allows only where",
    ),
    "offsets that fall": expect.right("33", falling),
    "offsets that fall, feet first": expect.right("33", falling_feet_first),
    "offsets that fall from z = 0": expect.noted(
        "33, 39", from_zero, "on its own grid"
    ),
    "planes at uneven distances": expect.right("33", uneven),
    "offsets from another origin": expect.refused(
        "33",
        offsets(*(5.0 + 6 * n for n in range(PLANES))),
        "begins with 5; expected 0",
    ),
    "offsets that turn back": expect.refused(
        "33", offsets(0, 6, 12, 18, 17, 30, 36, 42, 48), "neither grows nor falls"
    ),
    "offsets that stand still": expect.refused(
        "33", offsets(*[0.0] * PLANES), "neither grows nor falls"
    ),
    "fewer offsets than planes": expect.refused(
        "33", offsets(*(6.0 * n for n in range(8))), "9 planes of dose but 8 offsets"
    ),
    "no offsets": expect.refused(
        "33", do.put("rd.dcm", GridFrameOffsetVector=None), "has 0 offsets"
    ),
    "a dose of one plane": expect.refused("33", single_plane, "offsets of planes"),
    "no FrameIncrementPointer": expect.right(
        "33", do.put("rd.dcm", FrameIncrementPointer=None)
    ),
    "SliceThickness that is wrong": expect.right(
        "33", do.put("rd.dcm", SliceThickness=2.5)
    ),
    "a dose turned by 5 degrees": expect.refused(
        "6",
        do.put(
            "rd.dcm",
            ImageOrientationPatient=[0.99619, 0.08716, 0, -0.08716, 0.99619, 0],
        ),
        "turned by 5.00 degrees",
    ),
    "a coronal dose": expect.refused(
        "15",
        do.put("rd.dcm", ImageOrientationPatient=[1, 0, 0, 0, 0, -1]),
        "degrees from the patient's axes",
    ),
    "no position of the dose": expect.refused(
        "33", do.put("rd.dcm", ImagePositionPatient=None), "ImagePositionPatient"
    ),
    "rows and columns of the dose swapped": expect.refused(
        "40", do.put("rd.dcm", Rows=25, Columns=21), "do not fit its header"
    ),
}

VALUES: dict[str, expect.Case] = {
    "16 bits": expect.right(
        "32", lambda made: do.files(rd=writer.dose(kind=np.uint16))(made)
    ),
    "a scaling with an exponent": expect.right(
        "32",
        do.each(
            "rd.dcm", lambda d: set_dose(d, shapes.dose_gy(*shapes.DOSE.places()), 2e-8)
        ),
    ),
    "rescale in the dose file": expect.right(
        "32", do.put("rd.dcm", RescaleSlope=2, RescaleIntercept=-5)
    ),
    "no DoseGridScaling": expect.refused(
        "32", do.put("rd.dcm", DoseGridScaling=None), "0 numbers for DoseGridScaling"
    ),
    "DoseGridScaling of 0": expect.refused(
        "32", do.put("rd.dcm", DoseGridScaling=0), "DoseGridScaling of 0"
    ),
    "negative DoseGridScaling": expect.refused(
        "32", do.put("rd.dcm", DoseGridScaling=-1e-6), "DoseGridScaling of -1e-06"
    ),
    "negative doses": expect.refused("32", do.each("rd.dcm", signed), "signed pixels"),
    "cGy that are called cGy": expect.noted(
        "34", scaling(100, DoseUnits="CGY"), "is in cGy, and was divided by 100"
    ),
    "cGy that are called Gy": expect.refused(
        "34", scaled(100), "times the prescription", "--accept=high_dose"
    ),
    "cGy that are called Gy, accepted": expect.noted(
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
    "DoseUnits in small letters": expect.right("34", do.put("rd.dcm", DoseUnits="Gy")),
    "relative dose": expect.refused(
        "34", do.put("rd.dcm", DoseUnits="RELATIVE"), "'RELATIVE'"
    ),
    "no DoseUnits": expect.refused(
        "34", do.put("rd.dcm", DoseUnits=None), "DoseUnits ''"
    ),
    "highest dose of 0.05 Gy": expect.noted(
        "34", scaled(0.001), "check that these are Gy"
    ),
    "no dose anywhere": expect.noted(
        "34",
        do.both(
            do.each(
                "rd.dcm", lambda d: writer.set_pixels(d, np.zeros(4500, np.uint32), 32)
            ),
            lambda made: setattr(made.truth, "dose", 0 * made.truth.dose),
        ),
        "reaches 0 Gy",
    ),
    "effective dose": expect.noted(
        "36", do.put("rd.dcm", DoseType="EFFECTIVE"), "effective"
    ),
    "an error of the dose": expect.refused(
        "36", do.put("rd.dcm", DoseType="ERROR"), "'ERROR'"
    ),
    "no DoseType": expect.noted("36", do.put("rd.dcm", DoseType=None), "no DoseType"),
    "a network's estimate with an invented plan": expect.refused(
        "36, 41",
        do.put("rd.dcm", DoseComment="AI estimate; the plan is invented"),
        "a network's estimate",
    ),
    "DVHs beside the dose grid": expect.right("42", do.each("rd.dcm", with_dvh)),
    "DVHs alone, in place of the dose": expect.noted(
        "42",
        do.both(do.each("rd.dcm", dvh_only), do.no_dose),
        "RTDOSE of DVHs alone",
    ),
    "DVHs alone, beside the dose": expect.noted(
        "42", dvh_beside, "RTDOSE of DVHs alone"
    ),
}
