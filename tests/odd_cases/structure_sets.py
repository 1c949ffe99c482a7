"""What the structure set says of its ROIs: links, names, frames of reference."""

import copy
from collections.abc import Callable

import pydicom
from pydicom import uid

from tests.odd_cases import changes as do
from tests.odd_cases import expect, shapes, writer

MISSING = {"allow_missing": True}
MISMATCH = {"allow_frame_mismatch": True}


def sequences(*keywords: str) -> do.Change:
    """The ROIs' items, each altered by the function given."""
    return do.put("rs.dcm", **dict.fromkeys(keywords))


def roi_items(made: writer.Made, name: str) -> list[pydicom.Dataset]:
    """The items of the ROI called `name` in the three sequences."""
    made_set = made.files["rs.dcm"]
    (listed,) = (i for i in made_set.StructureSetROISequence if i.ROIName == name)
    others = (made_set.ROIContourSequence, made_set.RTROIObservationsSequence)
    number = listed.ROINumber
    return [
        listed,
        *(i for items in others for i in items if i.ReferencedROINumber == number),
    ]


def numbered(new) -> do.Change:
    """Other ROI numbers: `new(number)`."""

    def change(made: writer.Made) -> None:
        made_set = made.files["rs.dcm"]
        for item in made_set.StructureSetROISequence:
            item.ROINumber = new(item.ROINumber)
        for items in (made_set.ROIContourSequence, made_set.RTROIObservationsSequence):
            for item in items:
                item.ReferencedROINumber = new(item.ReferencedROINumber)

    return change


def without_contour_item(name: str) -> do.Change:
    """The ROI is listed, but not in ROIContourSequence, as RayStation writes it."""

    def change(made: writer.Made) -> None:
        item = roi_items(made, name)[1]
        made_set = made.files["rs.dcm"]
        made_set.ROIContourSequence = [
            i for i in made_set.ROIContourSequence if i is not item
        ]

    return change


def renamed(**names: str | None) -> do.Change:
    """Other ROI names."""

    def change(made: writer.Made) -> None:
        for old, new in names.items():
            item = roi_items(made, old)[0]
            del item.ROIName
            if new is not None:
                item.ROIName = new

    return change


def added(**contours) -> do.Change:
    """More ROIs."""

    def change(made: writer.Made) -> None:
        rois = {**writer.plain_rois(), **contours}
        writer.set_rois(made.files["rs.dcm"], rois)

    return change


def same_name(*contours: list[pydicom.Dataset]) -> do.Change:
    """Further ROIs that are called Rectum too."""

    def change(made: writer.Made) -> None:
        others = {f"Rectum {n}": each for n, each in enumerate(contours)}
        writer.set_rois(made.files["rs.dcm"], {**writer.plain_rois(), **others})
        renamed(**dict.fromkeys(others, "Rectum"))(made)

    return change


def frame(of_roi: str | None, of_set: str | None) -> do.Change:
    """Frames of reference that ROIs and the structure set state."""

    def change(made: writer.Made) -> None:
        made_set = made.files["rs.dcm"]
        for item in made_set.StructureSetROISequence:
            del item.ReferencedFrameOfReferenceUID
            if of_roi:
                item.ReferencedFrameOfReferenceUID = of_roi
        if of_set:
            made_set.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = of_set
        else:
            del made_set.ReferencedFrameOfReferenceSequence

    return change


def frame_of(name: str, of_roi: str) -> do.Change:
    """The frame of reference that one ROI states."""

    def change(made: writer.Made) -> None:
        roi_items(made, name)[0].ReferencedFrameOfReferenceUID = of_roi

    return change


def second_frame(made: writer.Made) -> None:
    """The structure set refers to an MR too."""
    frames = made.files["rs.dcm"].ReferencedFrameOfReferenceSequence
    frames.insert(0, writer.data(FrameOfReferenceUID="2.25.8"))


def undefined_lengths(made: writer.Made) -> None:
    """Sequences and items that end with a delimiter."""
    made_set = made.files["rs.dcm"]
    for keyword in ("StructureSetROISequence", "ROIContourSequence"):
        made_set[keyword].is_undefined_length = True
        for item in made_set[keyword].value:
            item.is_undefined_length_sequence_item = True


def images(uid_of: Callable[[int], str]) -> do.Change:
    """The contours of each ROI, by their number, refer to the CT slices `uid_of`."""

    def refer(made: writer.Made) -> None:
        for item in made.files["rs.dcm"].ROIContourSequence:
            for number, contour in enumerate(item.ContourSequence):
                contour.ContourImageSequence = writer.one(
                    ReferencedSOPClassUID=uid.CTImageStorage,
                    ReferencedSOPInstanceUID=uid_of(number),
                )

    return refer


foreign_images = images("2.25.77.{}".format)
# Each contour refers to a slice that it does not lie on.
shuffled_images = images(lambda n: f"{writer.SERIES}.{(n * 3) % 10 + 1}")


def no_image_references(made: writer.Made) -> None:
    (item,) = made.files["rs.dcm"].ReferencedFrameOfReferenceSequence
    del item.RTReferencedStudySequence


def twin(**elements) -> do.Change:
    """A second structure set, with another rectum."""

    def change(made: writer.Made) -> None:
        other = writer.structure_set(
            {
                **writer.plain_rois(),
                "Rectum": writer.drawn((shapes.Box((0, 9), (16, 33)), range(1, 9))),
            }
        )
        other.SOPInstanceUID = "2.25.78"
        for keyword, value in elements.items():
            setattr(other, keyword, value)
        made.files["rt.dcm"] = other

    return change


def of_no_listed_roi(made: writer.Made) -> None:
    item = copy.deepcopy(made.files["rs.dcm"].ROIContourSequence[0])
    item.ReferencedROINumber = 99
    made.files["rs.dcm"].ROIContourSequence.append(item)


def spread(made: writer.Made) -> None:
    """The rectum's contours in two items of ROIContourSequence."""
    _, contoured, _ = roi_items(made, "Rectum")
    half = writer.data(ReferencedROINumber=contoured.ReferencedROINumber)
    half.ContourSequence = contoured.ContourSequence[4:]
    contoured.ContourSequence = contoured.ContourSequence[:4]
    made.files["rs.dcm"].ROIContourSequence.append(half)


ALL_SYNONYMS = {
    "German": {"Rectum": "Rektum", "Bladder": "Harnblase", "Prostate": "Prostata"},
    "Spanish": {"Rectum": "Recto", "Bladder": "Vejiga"},
    "Italian": {"Rectum": "Retto", "Bladder": "Vescica"},
    "capitals": {name: name.upper() for name in shapes.ROIS},
    "sides first": {"Femur_L": "Left Femur", "Femur_R": "RT FEMUR"},
    "joined": {"Femur_L": "FemurLeft", "Bladder": "urinary_bladder"},
}

LINKS: dict[str, expect.Case] = {
    "ROI numbers with gaps, falling": expect.right(
        "17", numbered(lambda n: 900 - 7 * n)
    ),
    "ROI numbers of 0 and less": expect.right("17", numbered(lambda n: n - 9)),
    "two ROIs of one number": expect.refused(
        "17", numbered(lambda n: min(n, 11)), "two ROIs of one ROINumber"
    ),
    "no observations": expect.right("17", sequences("RTROIObservationsSequence")),
    "contours of one ROI in two items": expect.right("17", spread),
    "contours of an ROI that is not listed": expect.noted(
        "17", of_no_listed_roi, "contours of no listed ROI: 1"
    ),
    "an ROI without contours that nobody needs": expect.right("18", added(Couch=[])),
    "an organ without contours": expect.noted(
        "18",
        do.both(do.rois(Femur_L=[]), do.mask("Femur_L", None)),
        "Femur_L: not contoured",
    ),
    "an organ that is listed but not in ROIContourSequence": expect.noted(
        "18",
        do.both(without_contour_item("Femur_L"), do.mask("Femur_L", None)),
        "Femur_L: not contoured",
    ),
    "all ROIs without contours": expect.refused(
        "18",
        do.rois(**dict.fromkeys(shapes.ROIS, ())),
        "no contour of this site's structures",
    ),
    "no ROIContourSequence": expect.refused(
        "18", sequences("ROIContourSequence"), "holds no contours"
    ),
    "no StructureSetROISequence": expect.refused(
        "17", sequences("StructureSetROISequence"), "lists no ROI"
    ),
    "contours that refer to no image": expect.right("19", no_image_references),
    "contours that refer to images that are absent": expect.noted(
        "19", foreign_images, "images that are not in the CT series"
    ),
    "contours that refer to other slices than theirs": expect.right(
        "19", shuffled_images
    ),
    "another frame of reference": expect.refused(
        "20", frame("2.25.8", "2.25.8"), "in another frame of reference"
    ),
    "another frame of reference, allowed": expect.right(
        "20", frame("2.25.8", "2.25.8"), options=MISMATCH
    ),
    "the frame of reference in the structure set alone": expect.right(
        "20", frame(None, writer.FRAME)
    ),
    "the frame of reference in the ROIs alone": expect.right(
        "20", frame(writer.FRAME, None)
    ),
    "no frame of reference": expect.refused(
        "20", frame(None, None), "frame of reference"
    ),
    "no frame of reference, allowed": expect.right(
        "20", frame(None, None), options=MISMATCH
    ),
    "one ROI of another frame of reference": expect.refused(
        "20", frame_of("PTV_6000", "2.25.8"), "has PTV_6000 in another frame"
    ),
    "a second frame of reference that no ROI uses": expect.right("20", second_frame),
    "a rejected structure set": expect.noted(
        "37", do.put("rs.dcm", ApprovalStatus="REJECTED"), "marked as rejected"
    ),
    "an approved structure set": expect.right(
        "37", do.put("rs.dcm", ApprovalStatus="APPROVED")
    ),
    "sequences of undefined length": expect.right("17", undefined_lengths),
    "no structure set": expect.refused("37", do.remove("rs.dcm"), "no RTSTRUCT here"),
    "two structure sets, the plan names one": expect.noted(
        "37", twin(), "left out other structure sets"
    ),
    "two structure sets without a plan": expect.refused(
        "37",
        do.both(twin(), do.remove("rp.dcm")),
        "several RTSTRUCTs could be meant",
    ),
    "two structure sets of one UID": expect.refused(
        "37", twin(SOPInstanceUID=writer.SET), "have the same SOPInstanceUID"
    ),
    "the structure set twice": expect.noted(
        "37", do.copied("rs.dcm", "again/rs.dcm"), "a copy of"
    ),
    "structure set in implicit little endian": expect.right(
        "31", do.encoded("rs.dcm", uid.ImplicitVRLittleEndian)
    ),
    "structure set in a series of the CT": expect.right(
        "31", do.put("rs.dcm", SeriesInstanceUID=writer.SERIES)
    ),
}

NAMES: dict[str, expect.Case] = {
    **{
        f"names: {words}": expect.right("29", renamed(**names))
        for words, names in ALL_SYNONYMS.items()
    },
    "spaces around names": expect.right("29", renamed(Rectum=" Rectum  ")),
    "an organ of an unknown name": expect.refused(
        "29",
        renamed(Femur_L="Femoral Head Lef"),
        "no ROI is called Femur_L",
        "Femoral Head Lef",
    ),
    "an organ of an unknown name, in the mapping": expect.right(
        "29",
        renamed(Femur_L="Femoral Head Lef"),
        mapping={"Femoral Head Lef": "Femur_L"},
    ),
    **{
        f"an organ's name with an umlaut in the mapping, {words}": expect.right(
            "29, 43",
            do.both(
                do.put("rs.dcm", SpecificCharacterSet=charset), renamed(Femur_L=name)
            ),
            mapping={"Hüftkopf li": "Femur_L"},
        )
        for words, charset, name in (
            ("Latin-1", "ISO_IR 100", "Hüftkopf li"),
            ("UTF-8", "ISO_IR 192", "Hüftkopf li"),
            ("decomposed", "ISO_IR 192", "Hu\u0308ftkopf li"),
        )
    },
    "an organ is missing": expect.refused(
        "29", do.rois(Femur_L=None), "no ROI is called Femur_L"
    ),
    "an organ is missing, allowed": expect.noted(
        "29",
        do.both(do.rois(Femur_L=None), do.mask("Femur_L", None)),
        "no ROI is called Femur_L",
        options=MISSING,
    ),
    "a target is missing": expect.noted(
        "29",
        do.both(do.rois(PTV_6000=None), do.mask("PTV_6000", None)),
        "no ROI is called PTV_6000",
    ),
    "target named by Gy": expect.right("29", renamed(PTV_6000="PTV 60Gy")),
    "two names of one organ": expect.refused(
        "29",
        do.both(
            added(rectum=writer.drawn((shapes.Box((0, 9), (16, 33)), range(1, 9)))),
            renamed(Rectum="RECTUM"),
        ),
        "2 ROIs are Rectum",
    ),
    "two names of one organ, one by TG-263 and one by another name": expect.right(
        "29", added(Rektum=writer.drawn((shapes.Box((0, 9), (16, 33)), range(1, 9))))
    ),
    "two ROIs of one name": expect.refused(
        "29",
        same_name(writer.drawn((shapes.Box((0, 9), (16, 33)), range(1, 9)))),
        "several ROIs of one name are Rectum",
    ),
    "two ROIs of one name, one empty": expect.right("29", same_name([])),
    "margins, rings and help structures": expect.right(
        "30",
        added(
            **{
                name: writer.drawn((shapes.Box((0, 9), (16, 33)), range(1, 9)))
                for name in (
                    *("Rectum_PRV05", "opt_Rectum", "Rectum-PTV", "zRectum", "Ring"),
                    *("_Rectum", "Rectum!", "~Femur_L", "Femur_Head_L", "CTV_6000"),
                )
            }
        ),
    ),
    "only a margin of the organ": expect.refused(
        "30",
        renamed(Rectum="Rectum_PRV05"),
        "no ROI is called Rectum",
        "Rectum_PRV05",
    ),
    "300 further ROIs": expect.right(
        "29",
        added(
            **{
                f"Help {n}": writer.drawn((shapes.Box((0, 9), (16, 33)), range(4, 6)))
                for n in range(300)
            }
        ),
    ),
    "an ROI without a name": expect.right(
        "29", do.both(added(Nameless=[]), renamed(Nameless=None))
    ),
    "an ROI name with a line break and an escape sequence": expect.right(
        "29", do.both(added(Odd=[]), renamed(Odd="Rec\x1b[31mtum\nx"))
    ),
    "an ROI name of 200 characters": expect.right(
        "29", do.both(added(Odd=[]), renamed(Odd="R" * 200))
    ),
    "an ROI named after the patient": expect.refused(
        "43",
        renamed(Femur_L="Quastenflosser Zyprian 19481102"),
        "no ROI is called Femur_L",
    ),
}
