"""Where the CT lies: orientation, order, spacing, and which of several images it is."""

import numpy as np
from pydicom import uid

from tests.odd_cases import changes as do
from tests.odd_cases import expect, shapes, writer

LAST = shapes.CT.count[2] - 1


def turned(axis: str, degrees: float) -> do.Change:
    """The CT's orientation turned about an axis; its pixels stay."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    cosines = {"x": [1, 0, 0, 0, c, s], "z": [c, s, 0, -s, c, 0]}[axis]
    return do.put("ct/*", ImageOrientationPatient=[f"{v:.6f}" for v in cosines])


def moved(by_mm) -> do.Change:
    """Each slice's position changed by `by_mm(number)`, three numbers."""

    def change(made: writer.Made) -> None:
        for z in range(LAST + 1):
            made_slice = made.files[f"ct/{z}.dcm"]
            place = np.add(
                [float(v) for v in made_slice.ImagePositionPatient], by_mm(z)
            )
            made_slice.ImagePositionPatient = [f"{v:.4f}" for v in place]

    return change


def only(slices: range) -> do.Change:
    """A CT of these slices alone."""

    def change(made: writer.Made) -> None:
        for z in set(range(LAST + 1)) - set(slices):
            del made.files[f"ct/{z}.dcm"]
        first = (*shapes.CT.first_mm[:2], writer.heights(slices)[0])
        truth = writer.truth(
            shapes.Raster(first, shapes.CT.step_mm, (*shapes.CT.count[:2], len(slices)))
        )
        truth.masks = {n: shapes.mask(r)[slices] for n, r in shapes.ROIS.items()}
        made.truth = truth

    return change


def other_series(folder: str = "other", value=None, **elements) -> do.Change:
    """A second CT series, with other pixels."""

    def change(made: writer.Made) -> None:
        series = writer.ct(value=value or (lambda x, y, z: shapes.hu(x, y, z) - 7))
        for name, made_slice in series.items():
            made_slice.SeriesInstanceUID = f"{writer.SERIES}.99"
            made_slice.SOPInstanceUID += ".99"
            for keyword, given in elements.items():
                setattr(made_slice, keyword, given)
            made.files[name.replace("ct/", f"{folder}/")] = made_slice

    return change


def scout(series: str, **elements) -> do.Change:
    """A coronal scout of that series."""

    def change(made: writer.Made) -> None:
        made_scout = next(iter(writer.ct(orientation=writer.CORONAL).values()))
        made_scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        made_scout.SOPInstanceUID = f"{writer.SERIES}.77"
        made_scout.SeriesInstanceUID = series
        for keyword, value in elements.items():
            setattr(made_scout, keyword, value)
        made.files["scout.dcm"] = made_scout

    return change


def references(series: str | None = None, images: str | None = None, frame=None):
    """What the structure set says that it was drawn on; None: not said."""

    def change(made: writer.Made) -> None:
        made_set = made.files["rs.dcm"]
        (item,) = made_set.ReferencedFrameOfReferenceSequence
        item.FrameOfReferenceUID = frame or writer.FRAME
        del item.RTReferencedStudySequence
        if series:
            item.RTReferencedStudySequence = writer.one(
                ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
                ReferencedSOPInstanceUID=writer.STUDY,
                RTReferencedSeriesSequence=writer.one(SeriesInstanceUID=series),
            )
        if images:
            for roi in made_set.ROIContourSequence:
                for contour in roi.ContourSequence:
                    contour.ContourImageSequence = writer.one(
                        ReferencedSOPClassUID=uid.CTImageStorage,
                        ReferencedSOPInstanceUID=images,
                    )

    return change


def scanned(orientation) -> do.Change:
    def change(made: writer.Made) -> None:
        do.remove("ct/*")(made)
        made.files |= writer.ct(orientation=orientation)

    return change


def reversed_names(name: str) -> str:
    return f"ct/{LAST - int(name[3:-4])}.dcm" if name.startswith("ct/") else name


ORIENTATION: dict[str, expect.Case] = {
    "nothing is odd": expect.right("-", lambda made: None),
    **{
        f"all scanned {position}": expect.right("15", do.position(position))
        for position in writer.POSITIONS
        if position != "HFS"
    },
    "CT feet first, dose head first": expect.right(
        "15",
        do.both(do.position("FFS"), lambda made: do.files(rd=writer.dose())(made)),
    ),
    "CT head first, dose feet first and prone": expect.right(
        "15", lambda made: do.files(rd=writer.dose("FFP"))(made)
    ),
    "CT decubitus, dose supine": expect.right(
        "15",
        do.both(do.position("HFDL"), lambda made: do.files(rd=writer.dose())(made)),
    ),
    "no PatientPosition": expect.right("15", do.put("ct/*", PatientPosition=None)),
    "PatientPosition against the orientation": expect.right(
        "15", do.put("ct/*", PatientPosition="FFP")
    ),
    "coronal CT": expect.refused(
        "3, 15", scanned(writer.CORONAL), "coronal", "export the axial series"
    ),
    "sagittal CT": expect.refused(
        "3, 15", scanned(writer.SAGITTAL), "sagittal", "export the axial series"
    ),
    "slices tilted by 10 degrees": expect.refused(
        "6", turned("x", 10), "10.00 degrees"
    ),
    "rows turned by 3 degrees": expect.refused("6", turned("z", 3), "3.00 degrees"),
    "gantry tilt in the positions alone": expect.refused(
        "6", moved(lambda z: (0, 0.8 * z, 0)), "gantry tilt of 9.1 degrees"
    ),
    "rounding noise in the orientation": expect.right("6", turned("z", 0.002)),
    "orientation of three decimals": expect.right(
        "15", do.put("ct/*", ImageOrientationPatient=[0.9999, 0, 0, 0, 0.9999, 0])
    ),
    "orientation of vectors that are no unit vectors": expect.refused(
        "15",
        do.put("ct/*", ImageOrientationPatient=[1, 1, 0, 0, 1, 0]),
        "not two perpendicular unit vectors",
    ),
    "orientation of vectors that are not perpendicular": expect.refused(
        "15",
        do.put("ct/*", ImageOrientationPatient=[1, 0, 0, 0.6, 0.8, 0]),
        "not two perpendicular unit vectors",
    ),
    "no orientation": expect.refused(
        "15", do.put("ct/3.dcm", ImageOrientationPatient=None), "slice 4 of 10"
    ),
    "no position": expect.refused(
        "1",
        do.put("ct/3.dcm", ImagePositionPatient=None),
        "0 numbers for ImagePositionPatient",
    ),
    "position of two numbers": expect.refused(
        "1",
        do.put("ct/3.dcm", ImagePositionPatient=[-46.5, -46]),
        "2 numbers for ImagePositionPatient",
    ),
    "position with exponents and spaces": expect.right(
        "1", do.put("ct/0.dcm", ImagePositionPatient=["-4.65e+01", "-46 ", " -2.25E2"])
    ),
    "one slice of another orientation": expect.refused(
        "7",
        do.put("ct/3.dcm", ImageOrientationPatient=[-1, 0, 0, 0, -1, 0]),
        "differ in matrix, pixel spacing or orientation",
    ),
}

ORDER: dict[str, expect.Case] = {
    "file names run against z": expect.right("1", do.rename(reversed_names)),
    "instance numbers run against z": expect.right(
        "1",
        do.each(
            "ct/*", lambda s: s.__setattr__("InstanceNumber", 99 - s.InstanceNumber)
        ),
    ),
    "all instance numbers alike": expect.right("1", do.put("ct/*", InstanceNumber=1)),
    "no instance numbers": expect.right("1", do.put("ct/*", InstanceNumber=None)),
    "slice locations of the wrong sign": expect.right(
        "1",
        do.each(
            "ct/*",
            lambda s: s.__setattr__("SliceLocation", -s.ImagePositionPatient[2]),
        ),
    ),
    "slices thicker than their distance": expect.right(
        "1", do.put("ct/*", SliceThickness=7.5)
    ),
    "no SliceThickness": expect.right("1", do.put("ct/*", SliceThickness="")),
    "SpacingBetweenSlices that is wrong": expect.right(
        "1", do.put("ct/*", SpacingBetweenSlices=-2.5)
    ),
    "positions with noise of a micrometre": expect.right(
        "4", moved(lambda z: (0.001 * (z % 2), 0, 0.0003 * (z % 3 - 1)))
    ),
    "a slice is missing": expect.refused(
        "4", do.remove("ct/4.dcm"), "a step of 10.00 mm, elsewhere 5.00 mm"
    ),
    "three slices are missing": expect.refused(
        "4", do.remove("ct/4.dcm", "ct/5.dcm", "ct/6.dcm"), "a step of 20.00 mm"
    ),
    "every second slice of the upper half is missing": expect.refused(
        "4", do.remove("ct/5.dcm", "ct/7.dcm"), "a step of 10.00 mm"
    ),
    "the head's slices are missing": expect.noted(
        "4, 26", only(range(7)), "outside the CT", "Bladder"
    ),
    "the feet's slices are missing": expect.noted(
        "4, 26", only(range(2, 10)), "outside the CT", "Rectum"
    ),
    "one slice lies 0.3 mm off": expect.refused(
        "4", moved(lambda z: (0, 0, 0.3 * (z == 4))), "elsewhere 5.00 mm"
    ),
    "distances that change from slice to slice": expect.refused(
        "4", moved(lambda z: (0, 0, 0.02 * z * z)), "a step of"
    ),
    "distances all a little wider than the first": expect.refused(
        "4", moved(lambda z: (0, 0, 0.045 * max(0, z - 4))), "mm from its position"
    ),
    "one slice lies 2 mm to the side": expect.refused(
        "6", moved(lambda z: (2.0 * (z == 4), 0, 0)), "mm beside the slice"
    ),
    "one slice alone": expect.refused(
        "4", do.remove(*(f"ct/{z}.dcm" for z in range(1, 10))), "is the only slice"
    ),
    "a copy of a slice in another folder": expect.noted(
        "5", do.copied("ct/4.dcm", "ct/again/x.dcm"), "a copy of"
    ),
    "a copy of a slice under another UID": expect.noted(
        "5", do.copied("ct/4.dcm", "x.dcm", SOPInstanceUID="2.25.99"), "a copy of"
    ),
    "two time points in one series": expect.refused(
        "5",
        do.both(other_series(), do.put("other/*", SeriesInstanceUID=writer.SERIES)),
        "different images of one series at one position",
    ),
    "other pixels at the position of a slice": expect.refused(
        "5",
        do.both(
            do.copied("ct/4.dcm", "x.dcm", SOPInstanceUID="2.25.99"),
            do.put("x.dcm", RescaleIntercept=-1020),
        ),
        "different images of one series at one position",
    ),
    "two slices of one UID": expect.refused(
        "5",
        do.put("ct/4.dcm", SOPInstanceUID=f"{writer.SERIES}.4"),
        "same SOPInstanceUID at two positions",
    ),
}

CHOICE: dict[str, expect.Case] = {
    "two series, the structure set names one": expect.noted(
        "7", other_series(), "left out 10 images of another CT series"
    ),
    "two series, contours name images of one": expect.noted(
        "7",
        do.both(other_series(), references(images=f"{writer.SERIES}.1")),
        "left out 10 images of another CT series",
    ),
    "two series, told apart by their frames of reference": expect.noted(
        "7, 20",
        do.both(other_series(FrameOfReferenceUID="2.25.8"), references()),
        "left out 10 images of another CT series",
    ),
    "two series that could be meant": expect.refused(
        "7", do.both(other_series(), references()), "2 CT series could be meant"
    ),
    "the structure set names a series that is absent": expect.noted(
        "7, 19", references(series="2.25.12"), "a series that is not here"
    ),
    "a scout in a series of its own": expect.noted("7", scout("2.25.13"), "a scout"),
    "a scout in the CT's series": expect.noted("7", scout(writer.SERIES), "a scout"),
    "a coronal image that is not called a scout": expect.noted(
        "7", scout("2.25.13", ImageType=["DERIVED", "SECONDARY"]), "a scout"
    ),
    "drawn on a scout": expect.refused(
        "7",
        do.both(scout("2.25.13"), references(series="2.25.13")),
        "not an axial image",
    ),
    "a slice of another pixel spacing": expect.refused(
        "2", do.put("ct/4.dcm", PixelSpacing=[3, 4]), "differ in matrix, pixel spacing"
    ),
    "a slice of another matrix": expect.refused(
        "3", do.put("ct/4.dcm", Rows=32, Columns=24), "differ in matrix"
    ),
    "no PixelSpacing": expect.refused(
        "2", do.put("ct/*", PixelSpacing=None), "0 numbers for PixelSpacing"
    ),
    "ImagerPixelSpacing in place of PixelSpacing": expect.refused(
        "2",
        do.put("ct/*", PixelSpacing=None, ImagerPixelSpacing=[4, 3]),
        "0 numbers for PixelSpacing",
    ),
    "PixelSpacing of 0": expect.refused(
        "2", do.put("ct/*", PixelSpacing=[0, 3]), "a PixelSpacing of 0 and 3 mm"
    ),
    "PixelSpacing of three numbers": expect.refused(
        "2", do.put("ct/*", PixelSpacing=[4, 3, 5]), "3 numbers for PixelSpacing"
    ),
    "two frames of reference in the CT": expect.refused(
        "20",
        do.put("ct/4.dcm", FrameOfReferenceUID="2.25.8"),
        "has 2 frames of reference",
    ),
    "no frame of reference in the CT": expect.refused(
        "20", do.put("ct/*", FrameOfReferenceUID=None), "frame of reference"
    ),
    "an MR in place of the CT": expect.refused(
        "7, 9",
        do.put("ct/*", SOPClassUID=uid.MRImageStorage, Modality="MR"),
        "no axial CT images here",
        "MR Image Storage",
    ),
    "a PET beside the CT": expect.noted(
        "7, 16",
        do.both(
            other_series(),
            do.put(
                "other/*",
                SOPClassUID=uid.PositronEmissionTomographyImageStorage,
                Modality="PT",
            ),
        ),
        "skipped 10 files (Positron Emission Tomography Image Storage)",
    ),
    "an enhanced CT": expect.refused(
        "14",
        do.put("ct/*", SOPClassUID=uid.EnhancedCTImageStorage),
        "enhanced (multi-frame) CT",
    ),
    "several frames in a slice": expect.refused(
        "14", do.put("ct/4.dcm", NumberOfFrames=2), "has several frames"
    ),
    "one frame in each slice": expect.right("14", do.put("ct/*", NumberOfFrames=1)),
    "reformatted, derived images": expect.right(
        "7", do.put("ct/*", ImageType=["DERIVED", "SECONDARY", "REFORMATTED"])
    ),
    "no ImageType": expect.right("7", do.put("ct/*", ImageType=None)),
    "two acquisitions after each other": expect.right(
        "7", do.put("ct/[6789].dcm", AcquisitionNumber=2)
    ),
    "secondary captures of the CT": expect.refused(
        "9",
        do.put("ct/*", SOPClassUID=uid.SecondaryCaptureImageStorage),
        "no axial CT images here",
    ),
    "a study of its own for each object": expect.right(
        "37", do.put("rs.dcm", StudyInstanceUID="2.25.14")
    ),
}
