"""Patients that must be refused: what is wrong with each, and what the error says.

A case changes the data sets of a good patient before they are saved, or the files
after; `message` is what the SourceError says of it.
"""

import copy
import dataclasses
import fnmatch
import pathlib
from collections.abc import Callable

import numpy as np
from pydicom import encaps, uid

from tests.sources import dicom_writing as writing

Change = Callable[[writing.Files], None]


@dataclasses.dataclass(frozen=True)
class Case:
    message: str  # a regular expression
    change: Change = lambda files: None
    damage: Callable[[pathlib.Path], None] = lambda folder: None
    syntax: str = uid.ImplicitVRLittleEndian


def put(pattern: str, **elements: object) -> Change:
    """Set elements of the files whose name matches; None deletes them."""

    def change(files: writing.Files) -> None:
        names = fnmatch.filter(files, pattern)
        assert names
        for name in names:
            for keyword, value in elements.items():
                if value is None:
                    delattr(files[name], keyword)
                else:
                    setattr(files[name], keyword, value)

    return change


def remove(pattern: str) -> Change:
    def change(files: writing.Files) -> None:
        for name in fnmatch.filter(files, pattern):
            del files[name]

    return change


def copied(name: str, to: str, **elements: object) -> Change:
    """Add a copy with other `elements`."""

    def change(files: writing.Files) -> None:
        files[to] = copy.deepcopy(files[name])
        put(to, **elements)(files)

    return change


def both(*changes: Change) -> Change:
    def change(files: writing.Files) -> None:
        for one in changes:
            one(files)

    return change


def move(pattern: str, x: float = 0, y: float = 0, z: float = 0) -> Change:
    """Move images: `x` and `y` by each millimetre of height, `z` at once."""

    def change(files: writing.Files) -> None:
        for name in fnmatch.filter(files, pattern):
            position = files[name].ImagePositionPatient
            height = float(position[2]) + 30
            moved = position[0] + x * height, position[1] + y * height, position[2] + z
            files[name].ImagePositionPatient = list(moved)

    return change


def rois(**contours) -> Change:
    def change(files: writing.Files) -> None:
        drawn = {"Rectum": writing.rectum(), "Bladder": writing.bladder()}
        drawn |= {name.replace("__", " "): made for name, made in contours.items()}
        files["rs.dcm"] = writing.structure_set(drawn)

    return change


def in_structure_set(change: Callable) -> Change:
    return lambda files: change(files["rs.dcm"])


def other_frame(files: writing.Files) -> None:
    for item in files["rs.dcm"].StructureSetROISequence:
        item.ReferencedFrameOfReferenceUID += ".9"


def other_series(files: writing.Files) -> None:
    for name in fnmatch.filter(files, "ct*"):
        made = copy.deepcopy(files[name])
        made.SeriesInstanceUID += ".5"
        made.SOPInstanceUID += ".5"
        files[f"b{name}"] = made
    files["rs.dcm"].ReferencedFrameOfReferenceSequence = []


def on_a_scout(files: writing.Files) -> None:
    copied("ct0.dcm", "scout.dcm", SeriesInstanceUID=f"{writing.SERIES}.8")(files)
    files["scout.dcm"].ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    frame = files["rs.dcm"].ReferencedFrameOfReferenceSequence[0]
    study = frame.RTReferencedStudySequence[0]
    study.RTReferencedSeriesSequence[0].SeriesInstanceUID = f"{writing.SERIES}.8"


def jpeg(files: writing.Files) -> None:
    for made in (made for name, made in files.items() if name.startswith("ct")):
        made.PixelData = encaps.encapsulate([b"\xff\x4f\xff\x51 no picture "])
        made["PixelData"].is_undefined_length = True
        made["PixelData"].VR = "OB"
    del files["rd.dcm"]  # it could not be stored in this transfer syntax


def lut(files: writing.Files) -> None:
    item = writing.dataset(ModalityLUTType="OD", LUTDescriptor=[2, 0, 16])
    put("ct2.dcm", ModalityLUTSequence=[item])(files)


def signed_dose(files: writing.Files) -> None:
    shape = (7, 6, 7)
    writing.set_pixels(files["rd.dcm"], np.ones(shape, np.int32), 32)


def beams(*numbers: int) -> Change:
    """Doses of single beams instead of the plan's."""

    def change(files: writing.Files) -> None:
        whole = files.pop("rd.dcm")
        for number in numbers:
            made = copy.deepcopy(whole)
            made.SOPInstanceUID += f".{number}"
            made.DoseSummationType = "BEAM"
            beam = writing.sequence({"ReferencedBeamNumber": number})
            group = writing.sequence({"ReferencedBeamSequence": beam})
            made.ReferencedRTPlanSequence[0].ReferencedFractionGroupSequence = group
            files[f"rd{number}.dcm"] = made

    return change


def with_plan(number: int) -> Change:
    return lambda files: files.update({"rp.dcm": writing.plan(number)})


def find(folder: pathlib.Path, name: str) -> pathlib.Path:
    """The file of a data set, whatever folder it is in and was added to its name."""
    path = pathlib.PurePath(name)
    (found,) = folder.rglob(f"{path.stem}*{path.suffix}")
    return found


def cut(name: str, part: float) -> Callable[[pathlib.Path], None]:
    """Keep the first `part` of a file."""

    def damage(folder: pathlib.Path) -> None:
        path = find(folder, name)
        content = path.read_bytes()
        path.write_bytes(content[: int(part * len(content))])

    return damage


def write(name: str, content: bytes) -> Callable[[pathlib.Path], None]:
    def damage(folder: pathlib.Path) -> None:
        (folder / name).write_bytes(content)

    return damage


def replace(name: str, old: bytes, new: bytes) -> Callable[[pathlib.Path], None]:
    """Exchange bytes of a saved file, as many as there were."""

    def damage(folder: pathlib.Path) -> None:
        path = find(folder, name)
        content = path.read_bytes()
        assert content.count(old) == 1 and len(old) == len(new)
        path.write_bytes(content.replace(old, new))

    return damage


def slanted(files: writing.Files) -> None:
    data = writing.box((-2, 2), (23, 29), -24)
    data[2] += 3.0
    rois(Rectum=[writing.contour(data)])(files)


def far_away(files: writing.Files) -> None:
    data = writing.box((-2000, 2), (23, 29), -24)
    rois(Rectum=[writing.contour(data)])(files)


def elsewhere(files: writing.Files) -> None:
    data = writing.box((-2, 2), (60, 66), -24)
    rois(Rectum=[writing.contour(data)], Bladder=[])(files)


def alike(files: writing.Files) -> None:
    drawn = {name: writing.rectum() for name in ("RECTUM", "rectum")}
    files["rs.dcm"] = writing.structure_set(drawn | {"Bladder": writing.bladder()})


def reals(*values: float) -> dict[str, list[float]]:
    return {"GridFrameOffsetVector": list(values)}


CASES = {
    # The folder.
    "no CT": Case("no axial CT images here", remove("ct*")),
    "no RTSTRUCT": Case("no RTSTRUCT here", remove("rs.dcm")),
    "nothing": Case("no RTSTRUCT here", remove("*")),
    "an empty file": Case(
        r"^x\.dcm: cannot be read as DICOM", damage=write("x.dcm", b"")
    ),
    "text called DICOM": Case(
        r"^x\.DCM: cannot be read", damage=write("x.DCM", b"a letter to a doctor")
    ),
    "a mark and nothing else": Case(
        r"^x: cannot be read as DICOM", damage=write("x", bytes(128) + b"DICM\2\0")
    ),
    "several patients": Case(
        r"several patients .* ct0\.dcm and rs\.dcm", put("rs.dcm", PatientID="P2")
    ),
    # The CT.
    "an image cut off in its header": Case(
        r"^ct5\.dcm has no SeriesInstanceUID, or is cut off", damage=cut("ct5.dcm", 0.4)
    ),
    "an image cut off in its pixels": Case(
        r"^ct2\.dcm is cut off", damage=cut("ct2.dcm", 0.95)
    ),
    "fewer pixels than stated": Case(
        r"^ct2\.dcm has pixels that do not fit", put("ct2.dcm", PixelData=bytes(100))
    ),
    "no pixels": Case(r"^ct2\.dcm has no pixels", put("ct2.dcm", PixelData=None)),
    "one slice": Case(r"^ct0\.dcm is the only slice", remove("ct[1-5]*")),
    "a slice is missing": Case(
        r"between ct2\.dcm and ct4\.dcm .* step of 6\.00 mm, elsewhere 3\.00",
        remove("ct3.dcm"),
    ),
    "a slice is moved": Case(
        r"between ct2\.dcm and ct3\.dcm .* step of 3\.10 mm", move("ct3.dcm", z=0.1)
    ),
    "two images at one position": Case(
        r"are different images of one series at one position",
        copied("ct3.dcm", "ct9.dcm", PixelData=bytes(160)),
    ),
    "gantry tilt in the positions": Case(
        r"ct5\.dcm lies 1\.50 mm beside .* tilt of 5\.7 degrees", move("ct*", y=0.1)
    ),
    "gantry tilt in the orientation": Case(
        r"is turned by 22\.\d\d degrees",
        put("ct*", ImageOrientationPatient=[1, 0, 0, 0, 0.9272, -0.3746]),
    ),
    "turned in the plane": Case(
        r"is turned by 5\.\d\d degrees",
        put("ct*", ImageOrientationPatient=[0.9962, 0.0872, 0, -0.0872, 0.9962, 0]),
    ),
    "sagittal images": Case(
        r"drawn on ct0\.dcm, which is no axial image",
        put("ct*", ImageOrientationPatient=[0, 1, 0, 0, 0, -1]),
    ),
    "a slice of another spacing": Case(
        r"differ in matrix, pixel spacing", put("ct3.dcm", PixelSpacing=[2.0, 1.3])
    ),
    "a slice of another matrix": Case(
        r"differ in matrix", put("ct3.dcm", Rows=10, Columns=8)
    ),
    "a slice of another orientation": Case(
        r"differ in matrix, pixel spacing or orientation",
        put("ct3.dcm", ImageOrientationPatient=[-1, 0, 0, 0, -1, 0]),
    ),
    "no orientation": Case(
        r"ct3\.dcm has 0 numbers for ImageOrientationPatient, expected 6",
        put("ct3.dcm", ImageOrientationPatient=None),
    ),
    "an orientation of no unit vectors": Case(
        r"ct3\.dcm has an ImageOrientationPatient that is not two",
        put("ct3.dcm", ImageOrientationPatient=[1, 1, 0, 0, 1, 0]),
    ),
    "no position": Case(
        r"ct3\.dcm has 0 numbers for ImagePositionPatient",
        put("ct3.dcm", ImagePositionPatient=None),
    ),
    "a position of two numbers": Case(
        r"ct3\.dcm has 2 numbers for ImagePositionPatient, expected 3",
        put("ct3.dcm", ImagePositionPatient=[1, 2]),
    ),
    "a position of words": Case(
        r"ct3\.dcm has a value for ImagePositionPatient that is no finite number",
        damage=replace("ct3.dcm", b"-5.0\\20.0\\-21.0", b"-5.0\\left\\-21.0"),
    ),
    "a position that is no number": Case(
        r"ct3\.dcm has a value for ImagePositionPatient that is no finite number",
        damage=replace("ct3.dcm", b"-5.0\\20.0\\-21.0", b"-5.0\\nan \\-21.0"),
    ),
    "a position out of the world": Case(
        r"ct3\.dcm has an ImagePositionPatient more than 100000 mm",
        put("ct3.dcm", ImagePositionPatient=[-5, 20, 1e300]),
    ),
    "no pixel spacing": Case(
        r"ct0\.dcm has 0 numbers for PixelSpacing", put("ct*", PixelSpacing=None)
    ),
    "a pixel spacing of 0": Case(
        r"ct0\.dcm has a PixelSpacing of 0 and 1\.25 mm",
        put("ct*", PixelSpacing=[0, 1.25]),
    ),
    "a negative pixel spacing": Case(
        r"has a PixelSpacing of 2 and -1\.25 mm", put("ct*", PixelSpacing=[2, -1.25])
    ),
    "no slope": Case(
        r"ct2\.dcm has no RescaleSlope", put("ct2.dcm", RescaleSlope=None)
    ),
    "no intercept": Case(
        r"ct2\.dcm has no RescaleSlope", put("ct2.dcm", RescaleIntercept=None)
    ),
    "a slope of 0": Case(
        r"ct2\.dcm has no RescaleSlope", put("ct2.dcm", RescaleSlope=0)
    ),
    "no Hounsfield units": Case(
        r"RescaleType 'OD', no Hounsfield units", put("ct*", RescaleType="OD")
    ),
    "a look-up table of no Hounsfield units": Case(
        r"ct2\.dcm has a Modality LUT that gives no Hounsfield units", lut
    ),
    "in colour": Case(
        r"ct2\.dcm is a picture in colour", put("ct2.dcm", SamplesPerPixel=3)
    ),
    "several frames": Case(
        r"ct2\.dcm has several frames", put("ct2.dcm", NumberOfFrames=2)
    ),
    "enhanced CT": Case(
        r"is an enhanced \(multi-frame\) CT, which is not supported",
        put("ct*", SOPClassUID=uid.EnhancedCTImageStorage),
    ),
    "high bits": Case(
        r"ct2\.dcm has HighBit 15 with BitsStored 12", put("ct2.dcm", HighBit=15)
    ),
    "a codec that is not there": Case(
        r"is compressed \(JPEG 2000 .*install pylibjpeg",
        jpeg,
        syntax=uid.JPEG2000Lossless,
    ),
    "two series could be meant": Case(
        r"2 CT series could be meant: 6 images such as bct0\.dcm; 6 .* ct0\.dcm",
        other_series,
    ),
    "drawn on a scout": Case(r"drawn on scout\.dcm, which is no axial", on_a_scout),
    "two frames of reference": Case(
        "has 2 frames of reference", put("ct3.dcm", FrameOfReferenceUID="1.2.3.4")
    ),
    # The structure set.
    "two RTSTRUCTs": Case(
        r"several RTSTRUCTs could be meant: rs\.dcm, rt\.dcm",
        copied("rs.dcm", "rt.dcm", SOPInstanceUID="1.2.3.4"),
    ),
    "two RTSTRUCTs of one UID": Case(
        r"rt\.dcm and rs\.dcm differ but have the same SOPInstanceUID",
        copied("rs.dcm", "rt.dcm", StructureSetLabel="other"),
    ),
    "no ROIs": Case(r"rs\.dcm lists no ROI", put("rs.dcm", StructureSetROISequence=[])),
    "no contours": Case(
        r"rs\.dcm holds no contours", put("rs.dcm", ROIContourSequence=None)
    ),
    "contours cut off": Case(r"^rs\.dcm is cut off", damage=cut("rs.dcm", 0.8)),
    "a number used twice": Case(
        r"rs\.dcm has two ROIs of one ROINumber",
        in_structure_set(
            lambda made: setattr(made.StructureSetROISequence[1], "ROINumber", 3)
        ),
    ),
    "an ROI without number": Case(
        r"rs\.dcm has 0 numbers for ROINumber",
        in_structure_set(
            lambda made: delattr(made.StructureSetROISequence[1], "ROINumber")
        ),
    ),
    "another frame of reference": Case(
        r"rs\.dcm has Rectum in another frame of reference than ct0\.dcm", other_frame
    ),
    "a CT without frame of reference": Case(
        r"has Rectum in another frame of reference than ct0\.dcm, or one of them",
        put("ct*", FrameOfReferenceUID=None),
    ),
    "a slanted contour": Case(
        r"rs\.dcm has Rectum: a contour is not in an axial plane .* 3\.0 mm", slanted
    ),
    "a contour far away": Case(r"rs\.dcm has Rectum: a contour is far", far_away),
    "contours of another image": Case(
        r"rs\.dcm has no contour .* in the CT", elsewhere
    ),
    "two names for one structure": Case(
        r"^rs\.dcm cannot be mapped: 2 ROIs are Rectum \(.RECTUM., .rectum.\)", alike
    ),
    "no name for a structure": Case(
        r"no ROI is called Rectum.*Rectum PRV",
        lambda files: files.update(
            {
                "rs.dcm": writing.structure_set(
                    {"Rectum PRV": writing.rectum(), "Bladder": writing.bladder()}
                )
            }
        ),
    ),
    # The dose.
    "relative dose": Case(
        r"rd\.dcm has DoseUnits 'RELATIVE'", put("rd.dcm", DoseUnits="RELATIVE")
    ),
    "no units": Case(r"rd\.dcm has DoseUnits ''", put("rd.dcm", DoseUnits=None)),
    "an error of dose": Case(
        r"rd\.dcm has DoseType 'ERROR'", put("rd.dcm", DoseType="ERROR")
    ),
    "two plans": Case(
        r"2 doses are of DoseSummationType PLAN: rd\.dcm, re\.dcm",
        copied("rd.dcm", "re.dcm", SOPInstanceUID="1.2.3.4"),
    ),
    "one fraction": Case(
        r"no dose of a whole plan .* rd\.dcm is 'FRACTION'",
        put("rd.dcm", DoseSummationType="FRACTION"),
    ),
    "beams without their plan": Case(
        r"doses of single beams alone \(rd1\.dcm, rd2\.dcm\)", beams(1, 2)
    ),
    "a beam is missing": Case(
        r"rp\.dcm has 3 beams, .* are of 2", both(beams(1, 2), with_plan(3))
    ),
    "a beam too many": Case(
        r"rp\.dcm has 1 beams, .* are of 2", both(beams(1, 2), with_plan(1))
    ),
    "no offsets": Case(
        r"rd\.dcm has 0 offsets", put("rd.dcm", GridFrameOffsetVector=None)
    ),
    "offsets that turn back": Case(
        r"neither grows nor falls", put("rd.dcm", **reals(0, 2.5, 5, 2, 10, 12.5, 15))
    ),
    "offsets that stand still": Case(
        r"neither grows nor falls", put("rd.dcm", **reals(0, 2.5, 2.5, 5, 6, 7, 8))
    ),
    "offsets from nowhere": Case(
        r"begins with 5; 0 and, in axial orientation, .* z of -31 mm",
        put("rd.dcm", **reals(5, 7.5, 10, 12.5, 15, 17.5, 20)),
    ),
    "positions as offsets, feet first": Case(
        r"begins with -16",
        lambda files: (
            files.update(
                {"rd.dcm": writing.dose("FFS")},
            )
            or put("rd.dcm", **reals(-16, -13.5, -11, -8.5, -6, -3.5, -1))(files)
        ),
    ),
    "fewer offsets than planes": Case(
        r"rd\.dcm has 7 planes of dose but 6 offsets",
        put("rd.dcm", **reals(0, 2.5, 5, 7.5, 10, 12.5)),
    ),
    "a scaling of 0": Case(
        r"rd\.dcm has a DoseGridScaling of 0", put("rd.dcm", DoseGridScaling=0)
    ),
    "no scaling": Case(
        r"rd\.dcm has 0 numbers for DoseGridScaling",
        put("rd.dcm", DoseGridScaling=None),
    ),
    "signed dose": Case(r"rd\.dcm has signed pixels", signed_dose),
    "a turned dose": Case(
        r"rd\.dcm is turned by 5\.\d\d degrees",
        put("rd.dcm", ImageOrientationPatient=[0.9962, 0.0872, 0, -0.0872, 0.9962, 0]),
    ),
    "a dose of another frame of reference": Case(
        r"rd\.dcm has another frame of reference than the CT",
        put("rd.dcm", FrameOfReferenceUID="1.2.3.4"),
    ),
    "a dose elsewhere": Case(
        r"dose of rd\.dcm and the CT have no place in common",
        put("rd.dcm", ImagePositionPatient=[-6, 19, 300]),
    ),
    "a dose cut off": Case(r"^rd\.dcm is cut off", damage=cut("rd.dcm", 0.9)),
    "a dose without pixels": Case(
        r"^rd\.dcm has no pixels", put("rd.dcm", PixelData=None)
    ),
}
