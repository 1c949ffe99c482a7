"""Ways to spoil or to vary a good patient: data sets before saving, files after."""

import copy
import fnmatch
import pathlib
from collections.abc import Callable

import numpy as np
from pydicom import encaps

from tests.sources.dicom import writing

Change = Callable[[writing.Files], None]


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
