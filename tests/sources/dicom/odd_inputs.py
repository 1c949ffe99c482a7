"""Patients that must be refused: what is wrong with each, and what the error says.

A case changes the data sets of a good patient before they are saved, or the files
after; `message` is what the SourceError says of it.
"""

import dataclasses
import pathlib
from collections.abc import Callable

from pydicom import uid

from tests.sources.dicom import changes as do
from tests.sources.dicom import writing


@dataclasses.dataclass(frozen=True)
class Case:
    message: str  # a regular expression
    change: do.Change = lambda files: None
    damage: Callable[[pathlib.Path], None] = lambda folder: None
    syntax: str = uid.ImplicitVRLittleEndian


CASES = {
    # The folder.
    "no CT": Case("no axial CT images here", do.remove("ct*")),
    "no RTSTRUCT": Case("no RTSTRUCT here", do.remove("rs.dcm")),
    "nothing": Case("no RTSTRUCT here", do.remove("*")),
    "an empty file": Case(
        r"^x\.dcm: cannot be read as DICOM", damage=do.write("x.dcm", b"")
    ),
    "text called DICOM": Case(
        r"^x\.DCM: cannot be read",
        damage=do.write("x.DCM", b"a letter to a doctor"),
    ),
    "a mark and nothing else": Case(
        r"^x: cannot be read as DICOM",
        damage=do.write("x", bytes(128) + b"DICM\2\0"),
    ),
    "several patients": Case(
        r"several patients .* ct0\.dcm and rs\.dcm",
        do.put("rs.dcm", PatientID="P2"),
    ),
    # The CT.
    "an image cut off in its header": Case(
        r"^ct5\.dcm has no SeriesInstanceUID, or is cut off",
        damage=do.cut("ct5.dcm", 0.4),
    ),
    "an image cut off in its pixels": Case(
        r"^ct2\.dcm is cut off", damage=do.cut("ct2.dcm", 0.95)
    ),
    "fewer pixels than stated": Case(
        r"^ct2\.dcm has pixels that do not fit",
        do.put("ct2.dcm", PixelData=bytes(100)),
    ),
    "a header that claims gigabytes": Case(
        r"^ct0\.dcm has pixels that do not fit",
        do.put("ct*", Rows=65535, Columns=65535),
    ),
    "no pixels": Case(r"^ct2\.dcm has no pixels", do.put("ct2.dcm", PixelData=None)),
    "one slice": Case(r"^ct0\.dcm is the only slice", do.remove("ct[1-5]*")),
    "a slice is missing": Case(
        r"between ct2\.dcm and ct4\.dcm .* step of 6\.00 mm, elsewhere 3\.00",
        do.remove("ct3.dcm"),
    ),
    "a slice is moved": Case(
        r"between ct2\.dcm and ct3\.dcm .* step of 3\.10 mm",
        do.move("ct3.dcm", z=0.1),
    ),
    "two images at one position": Case(
        r"are different images of one series at one position",
        do.copied("ct3.dcm", "ct9.dcm", PixelData=bytes(160)),
    ),
    "one image at two positions": Case(
        r"ct9\.dcm and ct5\.dcm have the same SOPInstanceUID at two positions",
        do.both(do.copied("ct5.dcm", "ct9.dcm"), do.move("ct9.dcm", z=3)),
    ),
    "gaps that are all a little too wide": Case(
        r"ct2\.dcm lies 0\.04 mm from its position among slices 3\.018 mm",
        do.both(*(do.move(f"ct{n}.dcm", z=0.03 * (n - 2)) for n in (3, 4, 5))),
    ),
    "gantry tilt in the positions": Case(
        r"ct5\.dcm lies 1\.50 mm beside .* tilt of 5\.7 degrees",
        do.move("ct*", y=0.1),
    ),
    "gantry tilt in the orientation": Case(
        r"is turned by 22\.\d\d degrees",
        do.put("ct*", ImageOrientationPatient=[1, 0, 0, 0, 0.9272, -0.3746]),
    ),
    "turned in the plane": Case(
        r"is turned by 5\.\d\d degrees",
        do.put("ct*", ImageOrientationPatient=[0.9962, 0.0872, 0, -0.0872, 0.9962, 0]),
    ),
    "sagittal images": Case(
        r"no axial CT .* Found: 6 CT images such as ct0\.dcm, which are sagittal; no",
        do.put("ct*", ImageOrientationPatient=[0, 1, 0, 0, 0, -1]),
    ),
    "a slice of another spacing": Case(
        r"differ in matrix, pixel spacing",
        do.put("ct3.dcm", PixelSpacing=[2.0, 1.3]),
    ),
    "a slice of another matrix": Case(
        r"differ in matrix", do.put("ct3.dcm", Rows=10, Columns=8)
    ),
    "a slice of another orientation": Case(
        r"differ in matrix, pixel spacing or orientation",
        do.put("ct3.dcm", ImageOrientationPatient=[-1, 0, 0, 0, -1, 0]),
    ),
    "no orientation": Case(
        r"ct3\.dcm has 0 numbers for ImageOrientationPatient, expected 6",
        do.put("ct3.dcm", ImageOrientationPatient=None),
    ),
    "an orientation of no unit vectors": Case(
        r"ct3\.dcm has an ImageOrientationPatient that is not two",
        do.put("ct3.dcm", ImageOrientationPatient=[1, 1, 0, 0, 1, 0]),
    ),
    "no position": Case(
        r"ct3\.dcm has 0 numbers for ImagePositionPatient",
        do.put("ct3.dcm", ImagePositionPatient=None),
    ),
    "a position of two numbers": Case(
        r"ct3\.dcm has 2 numbers for ImagePositionPatient, expected 3",
        do.put("ct3.dcm", ImagePositionPatient=[1, 2]),
    ),
    "a position of words": Case(
        r"ct3\.dcm has a value for ImagePositionPatient that is no finite number",
        damage=do.replace("ct3.dcm", b"-5.0\\20.0\\-21.0", b"-5.0\\left\\-21.0"),
    ),
    "a position that is no number": Case(
        r"ct3\.dcm has a value for ImagePositionPatient that is no finite number",
        damage=do.replace("ct3.dcm", b"-5.0\\20.0\\-21.0", b"-5.0\\nan \\-21.0"),
    ),
    "a position out of the world": Case(
        r"ct3\.dcm has an ImagePositionPatient more than 100000 mm",
        do.put("ct3.dcm", ImagePositionPatient=[-5, 20, 1e300]),
    ),
    "no pixel spacing": Case(
        r"ct0\.dcm has 0 numbers for PixelSpacing",
        do.put("ct*", PixelSpacing=None),
    ),
    "a pixel spacing of 0": Case(
        r"ct0\.dcm has a PixelSpacing of 0 and 1\.25 mm",
        do.put("ct*", PixelSpacing=[0, 1.25]),
    ),
    "a negative pixel spacing": Case(
        r"has a PixelSpacing of 2 and -1\.25 mm",
        do.put("ct*", PixelSpacing=[2, -1.25]),
    ),
    "no slope": Case(
        r"ct2\.dcm has no RescaleSlope", do.put("ct2.dcm", RescaleSlope=None)
    ),
    "no intercept": Case(
        r"ct2\.dcm has no RescaleSlope", do.put("ct2.dcm", RescaleIntercept=None)
    ),
    "a slope of 0": Case(
        r"ct2\.dcm has no RescaleSlope", do.put("ct2.dcm", RescaleSlope=0)
    ),
    "no Hounsfield units": Case(
        r"RescaleType 'OD', not Hounsfield units", do.put("ct*", RescaleType="OD")
    ),
    "a look-up table of no Hounsfield units": Case(
        r"ct2\.dcm has a Modality LUT that gives no Hounsfield units", do.lut
    ),
    "in colour": Case(
        r"ct2\.dcm is a picture in colour", do.put("ct2.dcm", SamplesPerPixel=3)
    ),
    "indices of a palette": Case(
        r"ct2\.dcm is a picture in colour",
        do.put("ct2.dcm", PhotometricInterpretation="PALETTE COLOR"),
    ),
    "several frames": Case(
        r"ct2\.dcm has several frames", do.put("ct2.dcm", NumberOfFrames=2)
    ),
    "unspecified values": Case(
        r"^ct0\.dcm has RescaleType 'US' \(unspecified\), and .* do not look like",
        do.put("ct*", RescaleType="US"),
    ),
    "a coronal CT": Case(
        r"no axial CT .* Found: 6 CT images such as ct0\.dcm, which are coronal; no",
        do.put("ct*", ImageOrientationPatient=[1, 0, 0, 0, 0, -1]),
    ),
    "no sign of the pixels": Case(
        r"^ct2\.dcm has no PixelRepresentation, without which",
        do.put("ct2.dcm", PixelRepresentation=None),
    ),
    "enhanced CT": Case(
        r"is an enhanced \(multi-frame\) CT, which is not supported",
        do.put("ct*", SOPClassUID=uid.EnhancedCTImageStorage),
    ),
    "high bits": Case(
        r"ct2\.dcm has HighBit 15 with BitsStored 12",
        do.put("ct2.dcm", HighBit=15),
    ),
    "a codec that is not there": Case(
        r"is compressed \(JPEG 2000 .*install pylibjpeg",
        do.jpeg,
        syntax=uid.JPEG2000Lossless,
    ),
    "two series could be meant": Case(
        r"2 CT series could be meant: 6 images such as bct0\.dcm; 6 .* ct0\.dcm",
        do.other_series,
    ),
    "drawn on a scout": Case(
        r"drawn on scout\.dcm, which is not an axial", do.on_a_scout
    ),
    "two frames of reference": Case(
        "has 2 frames of reference",
        do.put("ct3.dcm", FrameOfReferenceUID="1.2.3.4"),
    ),
    # The structure set.
    "two RTSTRUCTs": Case(
        r"several RTSTRUCTs could be meant: rs\.dcm, rt\.dcm",
        do.copied("rs.dcm", "rt.dcm", SOPInstanceUID="1.2.3.4"),
    ),
    "two RTSTRUCTs of one UID": Case(
        r"rt\.dcm and rs\.dcm differ but have the same SOPInstanceUID",
        do.copied("rs.dcm", "rt.dcm", StructureSetLabel="other"),
    ),
    "no ROIs": Case(
        r"rs\.dcm lists no ROI", do.put("rs.dcm", StructureSetROISequence=[])
    ),
    "no contours": Case(
        r"rs\.dcm holds no contours", do.put("rs.dcm", ROIContourSequence=None)
    ),
    "contours cut off": Case(r"^rs\.dcm is cut off", damage=do.cut("rs.dcm", 0.8)),
    "a number used twice": Case(
        r"rs\.dcm has two ROIs of one ROINumber",
        do.in_structure_set(
            lambda made: setattr(made.StructureSetROISequence[1], "ROINumber", 3)
        ),
    ),
    "an ROI without number": Case(
        r"rs\.dcm has 0 numbers for ROINumber",
        do.in_structure_set(
            lambda made: delattr(made.StructureSetROISequence[1], "ROINumber")
        ),
    ),
    "another frame of reference": Case(
        r"rs\.dcm has Rectum in another frame of reference than ct0\.dcm",
        do.other_frame,
    ),
    "a CT without frame of reference": Case(
        r"has Rectum in another frame of reference than ct0\.dcm, or one of them",
        do.put("ct*", FrameOfReferenceUID=None),
    ),
    "a slanted contour": Case(
        r"rs\.dcm has Rectum: a contour is not in an axial plane .* 3\.0 mm",
        do.slanted,
    ),
    "a contour far away": Case(r"rs\.dcm has Rectum: a contour is far", do.far_away),
    "two RTSTRUCTs of one dose": Case(
        r"several RTSTRUCTs could be meant: rs\.dcm, rt\.dcm",
        do.both(
            do.copied("rs.dcm", "rt.dcm", SOPInstanceUID="1.2.3.4"),
            do.copied("rs.dcm", "ru.dcm", SOPInstanceUID="1.2.3.5"),
            lambda files: (
                files["ru.dcm"]
                .ReferencedFrameOfReferenceSequence[0]
                .__setattr__("FrameOfReferenceUID", "1.2.9")
            ),
        ),
    ),
    "contours of another image": Case(
        r"rs\.dcm has Rectum: it holds no voxel of the CT", do.elsewhere
    ),
    "two names for one structure": Case(
        r"^rs\.dcm cannot be mapped: 2 ROIs are Rectum \(.RECTUM., .rectum.\)",
        do.alike,
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
        r"rd\.dcm has DoseUnits 'RELATIVE'", do.put("rd.dcm", DoseUnits="RELATIVE")
    ),
    "no units": Case(r"rd\.dcm has DoseUnits ''", do.put("rd.dcm", DoseUnits=None)),
    "an error of dose": Case(
        r"rd\.dcm has DoseType 'ERROR'", do.put("rd.dcm", DoseType="ERROR")
    ),
    "two plans": Case(
        r"2 doses are of DoseSummationType PLAN: rd\.dcm, re\.dcm",
        do.copied("rd.dcm", "re.dcm", SOPInstanceUID="1.2.3.4"),
    ),
    "one fraction": Case(
        r"no dose of a whole plan .* rd\.dcm is 'FRACTION'",
        do.put("rd.dcm", DoseSummationType="FRACTION"),
    ),
    "beams without their plan": Case(
        r"only doses of single beams \(rd1\.dcm, rd2\.dcm\)",
        do.beams(1, 2),
    ),
    "a beam is missing": Case(
        r"rp\.dcm has 3 beams, .* are of 2",
        do.both(do.beams(1, 2), do.with_plan(3)),
    ),
    "a beam too many": Case(
        r"rp\.dcm has 1 beams, .* are of 2",
        do.both(do.beams(1, 2), do.with_plan(1)),
    ),
    "no offsets": Case(
        r"rd\.dcm has 0 offsets", do.put("rd.dcm", GridFrameOffsetVector=None)
    ),
    "offsets that turn back": Case(
        r"neither grows nor falls",
        do.put("rd.dcm", **do.reals(0, 2.5, 5, 2, 10, 12.5, 15)),
    ),
    "offsets that stand still": Case(
        r"neither grows nor falls",
        do.put("rd.dcm", **do.reals(0, 2.5, 2.5, 5, 6, 7, 8)),
    ),
    "offsets from nowhere": Case(
        r"begins with 5; expected 0 or, in axial orientation, .* z of -31 mm",
        do.put("rd.dcm", **do.reals(5, 7.5, 10, 12.5, 15, 17.5, 20)),
    ),
    "positions as offsets, feet first": Case(
        r"begins with -16, the first plane's z, .* \(head first, supine\); export it",
        lambda files: (
            files.update(
                {"rd.dcm": writing.dose("FFS")},
            )
            or do.put("rd.dcm", **do.reals(-16, -13.5, -11, -8.5, -6, -3.5, -1))(files)
        ),
    ),
    "fewer offsets than planes": Case(
        r"rd\.dcm has 7 planes of dose but 6 offsets",
        do.put("rd.dcm", **do.reals(0, 2.5, 5, 7.5, 10, 12.5)),
    ),
    "a scaling of 0": Case(
        r"rd\.dcm has a DoseGridScaling of 0", do.put("rd.dcm", DoseGridScaling=0)
    ),
    "no scaling": Case(
        r"rd\.dcm has 0 numbers for DoseGridScaling",
        do.put("rd.dcm", DoseGridScaling=None),
    ),
    "signed dose": Case(r"rd\.dcm has signed pixels", do.signed_dose),
    "a turned dose": Case(
        r"rd\.dcm is turned by 5\.\d\d degrees",
        do.put(
            "rd.dcm", ImageOrientationPatient=[0.9962, 0.0872, 0, -0.0872, 0.9962, 0]
        ),
    ),
    "a dose of another frame of reference": Case(
        r"rd\.dcm has another frame of reference than the CT",
        do.put("rd.dcm", FrameOfReferenceUID="1.2.3.4"),
    ),
    "a dose elsewhere": Case(
        r"dose of rd\.dcm does not overlap the CT",
        do.put("rd.dcm", ImagePositionPatient=[-6, 19, 300]),
    ),
    "a dose cut off": Case(r"^rd\.dcm is cut off", damage=do.cut("rd.dcm", 0.9)),
    "a dose without pixels": Case(
        r"^rd\.dcm has no pixels", do.put("rd.dcm", PixelData=None)
    ),
}
