"""A patient's DICOM-RT files, written with pydicom alone, and the truth about them.

Input: shapes and rasters. Output: a Made, to be changed and saved. It shares no code
with the package: values are computed where each pixel lies, from its own header.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pydicom
from pydicom import dataelem, tag, uid

from tests.odd_cases import shapes

ROOT = "2.25.4711"
STUDY, FRAME, SERIES, SET, PLAN, DOSE = (f"{ROOT}.{n}" for n in range(1, 7))
# Rows' and columns' direction for each position on the couch.
POSITIONS = {
    "HFS": (1, 0, 0, 0, 1, 0),
    "HFP": (-1, 0, 0, 0, -1, 0),
    "FFS": (-1, 0, 0, 0, 1, 0),
    "FFP": (1, 0, 0, 0, -1, 0),
    "HFDL": (0, -1, 0, 1, 0, 0),
    "HFDR": (0, 1, 0, -1, 0, 0),
    "FFDL": (0, 1, 0, 1, 0, 0),
    "FFDR": (0, -1, 0, -1, 0, 0),
}
CORONAL, SAGITTAL = (1, 0, 0, 0, 0, -1), (0, 1, 0, 0, 0, -1)
# Whose patient it is: no word of it may come out.
PATIENT = {
    "PatientName": "Quastenflosser^Zyprian",
    "PatientID": "ZQ-553311",
    "PatientBirthDate": "19481102",
    "PatientSex": "M",
}
SECRETS = ("quastenflosser", "zyprian", "553311", "19481102", ROOT)

Data = dict[str, pydicom.Dataset]
PlaceToValue = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclasses.dataclass
class Truth:
    """What is in the patient, on the CT's raster; all arrays [Z, Y, X]."""

    raster: shapes.Raster
    ct: np.ndarray
    masks: dict[str, np.ndarray]
    dose: np.ndarray | None
    known: np.ndarray | None  # where the dose is known


@dataclasses.dataclass
class Made:
    """A folder that is not yet on a disk."""

    files: Data
    truth: Truth
    extra: dict[str, bytes] = dataclasses.field(default_factory=dict)
    # Encodings other than explicit little endian, by file name.
    encodings: dict[str, str] = dataclasses.field(default_factory=dict)
    bare: set[str] = dataclasses.field(default_factory=set)  # without preamble and meta
    # Changes of the bytes on the disk.
    damage: list[Callable[[pathlib.Path], None]] = dataclasses.field(
        default_factory=list
    )

    def named(self, pattern: str) -> list[pydicom.Dataset]:
        """The data sets whose file names match `pattern`."""
        return [
            made
            for name, made in self.files.items()
            if pathlib.PurePath(name).match(pattern)
        ]

    def save(self, folder: pathlib.Path) -> None:
        for name, made in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            syntax = uid.UID(self.encodings.get(name, uid.ExplicitVRLittleEndian))
            _write(path, made, syntax, bare=name in self.bare)
        for name, content in self.extra.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        for change in self.damage:
            change(folder)


def _write(
    path: pathlib.Path, made: pydicom.Dataset, syntax: uid.UID, *, bare: bool
) -> None:
    if bare:
        pydicom.dcmwrite(
            path,
            made,
            implicit_vr=syntax.is_implicit_VR,
            little_endian=syntax.is_little_endian,
            enforce_file_format=False,
        )
        return
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    if syntax == uid.ExplicitVRBigEndian and "PixelData" in made:
        made.PixelData = _swapped(made)
    pydicom.dcmwrite(path, made, enforce_file_format=True)


def _swapped(made: pydicom.Dataset) -> bytes:
    width = made.BitsAllocated // 8
    return np.frombuffer(made.PixelData, f"<u{width}").astype(f">u{width}").tobytes()


def data(**elements: object) -> pydicom.Dataset:
    made = pydicom.Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def one(**elements: object) -> pydicom.Sequence:
    """A sequence of one item."""
    return pydicom.Sequence([data(**elements)])


def common(sop_class: str, modality: str, instance: str, series: str) -> dict:
    return {
        **PATIENT,
        "SpecificCharacterSet": "ISO_IR 100",
        "SOPClassUID": sop_class,
        "SOPInstanceUID": instance,
        "Modality": modality,
        "StudyInstanceUID": STUDY,
        "SeriesInstanceUID": series,
        "StudyDate": "20200105",
        "StudyTime": "101500",
        "StudyID": "1",
        "SeriesNumber": 1,
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
        "OperatorsName": "",
        "Manufacturer": "Odd",
        "ManufacturerModelName": "Odd",
        "SoftwareVersions": "1",
        "InstanceNumber": 1,
    }


def images(
    raster: shapes.Raster, orientation: Sequence[float], value: PlaceToValue
) -> tuple[list[np.ndarray], dict[str, object], list[list[float]]]:
    """The planes of `raster` as a scan of `orientation` stores them.

    Returns each plane's values, the raster's elements, and each plane's position.
    Planes follow along the normal. Orientations run along the patient's axes.
    """
    right, down = np.array(orientation, float).reshape(2, 3)
    normal = np.cross(right, down)
    across, along, through = (int(np.argmax(abs(v))) for v in (right, down, normal))
    last = np.array([raster.axis(n)[-1] for n in range(3)])
    corner = np.where(right + down + normal < 0, last, np.array(raster.first_mm))
    columns, rows = raster.count[across], raster.count[along]
    row, column = np.mgrid[:rows, :columns]
    planes, positions = [], []
    for number in range(raster.count[through]):
        position = corner + normal * number * raster.step_mm[through]
        place = (
            position[:, None, None]
            + right[:, None, None] * column * raster.step_mm[across]
            + down[:, None, None] * row * raster.step_mm[along]
        )
        planes.append(value(*place))
        positions.append([round(float(p), 6) for p in position])
    header = {
        "Rows": rows,
        "Columns": columns,
        "PixelSpacing": [raster.step_mm[along], raster.step_mm[across]],
        "ImageOrientationPatient": list(orientation),
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
    }
    return planes, header, positions


def set_pixels(made: pydicom.Dataset, stored: np.ndarray, bits: int = 16) -> None:
    """Store integers whose type says how many bits are allocated, and if signed."""
    made.BitsAllocated = 8 * stored.dtype.itemsize
    made.BitsStored, made.HighBit = bits, bits - 1
    made.PixelRepresentation = int(stored.dtype.kind == "i")
    made.PixelData = stored.tobytes()
    made["PixelData"].VR = "OW"


def set_hu(
    made: pydicom.Dataset,
    hu: np.ndarray,
    slope: float = 1,
    intercept: float = -1024,
    kind: type = np.uint16,
    bits: int = 16,
) -> None:
    """Store HU by a rescale of one's own."""
    set_pixels(made, np.rint((hu - intercept) / slope).astype(kind), bits)
    made.RescaleSlope, made.RescaleIntercept = slope, intercept


def ct(
    position: str = "HFS",
    raster: shapes.Raster = shapes.CT,
    value: PlaceToValue = shapes.hu,
    orientation: Sequence[float] | None = None,
) -> Data:
    """ct/0.dcm and so on, along the normal."""
    planes, header, positions = images(
        raster, orientation or POSITIONS[position], value
    )
    files = {}
    for number, (plane, place) in enumerate(zip(planes, positions, strict=True)):
        made = data(
            **common(uid.CTImageStorage, "CT", f"{SERIES}.{number + 1}", SERIES),
            **header,
            ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
            ImagePositionPatient=place,
            PatientPosition=position,
            FrameOfReferenceUID=FRAME,
            PositionReferenceIndicator="",
            Laterality="",
            SliceThickness=raster.step_mm[2],
            RescaleType="HU",
            AcquisitionNumber=1,
            KVP=120,
        )
        made.InstanceNumber = number + 1
        set_hu(made, plane)
        files[f"ct/{number}.dcm"] = made
    return files


def contour(
    points: Iterable[tuple[float, float]], z: float, kind: str = "CLOSED_PLANAR"
) -> pydicom.Dataset:
    """A contour through `points` (x, y) in the plane z."""
    numbers = [round(v, 4) for x, y in points for v in (x, y, z)]
    return data(
        ContourGeometricType=kind,
        NumberOfContourPoints=len(numbers) // 3,
        ContourData=numbers,
    )


def with_text(made: pydicom.Dataset, text: str) -> pydicom.Dataset:
    """`made` with these characters as ContourData, unchecked."""
    content = (text + " " * (len(text) % 2)).encode()
    made[0x30060050] = dataelem.RawDataElement(
        tag.Tag(0x30060050), "DS", len(content), content, 0, False, True
    )
    return made


def heights(slices: Iterable[int]) -> list[float]:
    """z in mm of the CT's slices by number, from the feet."""
    return [float(shapes.CT.axis(2)[number]) for number in slices]


def drawn(
    *shaped: tuple[shapes.Shape, Iterable[int]], kind: str = "CLOSED_PLANAR"
) -> list[pydicom.Dataset]:
    """Contours of shapes, each on its slices."""
    return [
        contour(shape.points(), z, kind)
        for shape, slices in shaped
        for z in heights(slices)
    ]


Rois = Mapping[str, Sequence[pydicom.Dataset]]


def plain_rois() -> dict[str, list[pydicom.Dataset]]:
    return {name: drawn(roi) for name, roi in shapes.ROIS.items()}


def structure_set(rois: Rois) -> pydicom.Dataset:
    """An RTSTRUCT, that refers to the CT and each contour to its slice."""
    reference = [
        data(
            ReferencedSOPClassUID=uid.CTImageStorage,
            ReferencedSOPInstanceUID=f"{SERIES}.{n + 1}",
        )
        for n in range(shapes.CT.count[2])
    ]
    made = data(
        **common(uid.RTStructureSetStorage, "RTSTRUCT", SET, f"{SET}.1"),
        FrameOfReferenceUID=FRAME,
        PositionReferenceIndicator="",
        StructureSetLabel="Plan",
        StructureSetDate="20200105",
        StructureSetTime="101500",
        ReferencedFrameOfReferenceSequence=one(
            FrameOfReferenceUID=FRAME,
            RTReferencedStudySequence=one(
                ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
                ReferencedSOPInstanceUID=STUDY,
                RTReferencedSeriesSequence=one(
                    SeriesInstanceUID=SERIES, ContourImageSequence=reference
                ),
            ),
        ),
        ApprovalStatus="UNAPPROVED",
    )
    set_rois(made, rois)
    return made


def set_rois(made: pydicom.Dataset, rois: Rois) -> None:
    """ROIs by number, which no sequence has in the order of another."""
    listed, contoured, observed = [], [], []
    for number, (name, contours) in enumerate(rois.items(), 7):
        listed.append(
            data(
                ROINumber=number,
                ReferencedFrameOfReferenceUID=FRAME,
                ROIName=name,
                ROIGenerationAlgorithm="MANUAL",
            )
        )
        item = data(ROIDisplayColor=[255, 0, 0], ReferencedROINumber=number)
        if contours:
            item.ContourSequence = list(contours)
        contoured.append(item)
        observed.append(
            data(
                ObservationNumber=number,
                ReferencedROINumber=number,
                RTROIInterpretedType="PTV" if "PTV" in name else "ORGAN",
                ROIInterpreter="",
            )
        )
    made.StructureSetROISequence = listed
    made.ROIContourSequence = contoured[::-1]
    made.RTROIObservationsSequence = observed[2:] + observed[:2]


def dose(
    position: str = "HFS",
    raster: shapes.Raster = shapes.DOSE,
    value: PlaceToValue = shapes.dose_gy,
    kind: type = np.uint32,
) -> pydicom.Dataset:
    """An RTDOSE whose frames follow the normal."""
    planes, header, positions = images(raster, POSITIONS[position], value)
    volume = np.stack(planes)
    largest = float(np.iinfo(kind).max)
    scaling = float(f"{volume.max() / largest * 1.001:.8g}")
    made = data(
        **common(uid.RTDoseStorage, "RTDOSE", DOSE, f"{DOSE}.1"),
        **header,
        ImagePositionPatient=positions[0],
        FrameOfReferenceUID=FRAME,
        PositionReferenceIndicator="",
        SliceThickness="",
        NumberOfFrames=len(volume),
        FrameIncrementPointer=0x3004000C,
        GridFrameOffsetVector=[n * raster.step_mm[2] for n in range(len(volume))],
        DoseUnits="GY",
        DoseType="PHYSICAL",
        DoseSummationType="PLAN",
        DoseGridScaling=scaling,
        ReferencedRTPlanSequence=one(
            ReferencedSOPClassUID=uid.RTPlanStorage, ReferencedSOPInstanceUID=PLAN
        ),
    )
    stored = np.rint(volume / scaling).astype(kind)
    set_pixels(made, stored, 8 * stored.dtype.itemsize)
    return made


def plan(beams: Sequence[int] = (1, 2)) -> pydicom.Dataset:
    return data(
        **common(uid.RTPlanStorage, "RTPLAN", PLAN, f"{PLAN}.1"),
        FrameOfReferenceUID=FRAME,
        PositionReferenceIndicator="",
        RTPlanLabel="Plan",
        RTPlanDate="20200105",
        RTPlanTime="101500",
        RTPlanGeometry="PATIENT",
        ApprovalStatus="UNAPPROVED",
        ReferencedStructureSetSequence=one(
            ReferencedSOPClassUID=uid.RTStructureSetStorage,
            ReferencedSOPInstanceUID=SET,
        ),
        FractionGroupSequence=one(
            FractionGroupNumber=1,
            NumberOfFractionsPlanned=20,
            NumberOfBeams=len(beams),
            NumberOfBrachyApplicationSetups=0,
            ReferencedBeamSequence=[data(ReferencedBeamNumber=n) for n in beams],
        ),
        BeamSequence=[_beam(number) for number in beams],
    )


def _beam(number: int) -> pydicom.Dataset:
    """What the standard requires of a beam."""
    first = data(
        ControlPointIndex=0,
        NominalBeamEnergy=6,
        GantryAngle=0,
        GantryRotationDirection="NONE",
        BeamLimitingDeviceAngle=0,
        BeamLimitingDeviceRotationDirection="NONE",
        PatientSupportAngle=0,
        PatientSupportRotationDirection="NONE",
        TableTopEccentricAngle=0,
        TableTopEccentricRotationDirection="NONE",
        TableTopVerticalPosition="",
        TableTopLongitudinalPosition="",
        TableTopLateralPosition="",
        IsocenterPosition=[0, 0, -200],
        CumulativeMetersetWeight=0,
        BeamLimitingDevicePositionSequence=[
            data(RTBeamLimitingDeviceType=kind, LeafJawPositions=[-50, 50])
            for kind in ("X", "Y")
        ],
    )
    return data(
        BeamNumber=number,
        BeamType="STATIC",
        RadiationType="PHOTON",
        TreatmentMachineName="",
        TreatmentDeliveryType="TREATMENT",
        BeamLimitingDeviceSequence=[
            data(RTBeamLimitingDeviceType=kind, NumberOfLeafJawPairs=1)
            for kind in ("X", "Y")
        ],
        NumberOfWedges=0,
        NumberOfCompensators=0,
        NumberOfBoli=0,
        NumberOfBlocks=0,
        FinalCumulativeMetersetWeight=1,
        NumberOfControlPoints=2,
        ControlPointSequence=[
            first,
            data(ControlPointIndex=1, CumulativeMetersetWeight=1),
        ],
    )


def known(dose_raster: shapes.Raster, raster: shapes.Raster = shapes.CT) -> np.ndarray:
    """[Z, Y, X]: where the CT's centres are not beyond the dose's."""
    inside = np.ones(raster.count[::-1], bool)
    for n, place in enumerate(raster.places()):
        low, high = dose_raster.axis(n)[[0, -1]]
        inside &= (low - 1e-6 <= place) & (place <= high + 1e-6)
    return inside


def truth(raster: shapes.Raster = shapes.CT) -> Truth:
    places = raster.places()
    return Truth(
        raster=raster,
        ct=shapes.hu(*places),
        masks={n: shapes.mask(r, raster=raster) for n, r in shapes.ROIS.items()},
        dose=shapes.dose_gy(*places),
        known=known(shapes.DOSE, raster),
    )


def patient(position: str = "HFS") -> Made:
    """CT, rs.dcm, rd.dcm and rp.dcm that nothing is odd about."""
    return Made(
        {
            **ct(position),
            "rs.dcm": structure_set(plain_rois()),
            "rd.dcm": dose(position),
            "rp.dcm": plan(),
        },
        truth(),
        encodings={"rd.dcm": uid.ImplicitVRLittleEndian},
    )
