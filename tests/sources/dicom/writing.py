"""A small patient as DICOM files: data sets by file name, to change and to save.

The patient is a cartoon in patient coordinates (mm), so that the same one can be
scanned in any position: rows and columns differ in number and in spacing.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import pydicom
from pydicom import uid

from mtl_jax.core import geometry, sites
from mtl_jax.sources.dicom import reader

# x -5 to 6.25, y 20 to 34, z -30 to -15 mm.
GRID = geometry.Grid((6, 8, 10), (3.0, 2.0, 1.25), origin_mm=(-5.0, 20.0, -30.0))
# x -6 to 6, y 19 to 34, z -31 to -16 mm: less than the CT at the head and on the left.
DOSE_GRID = geometry.Grid((7, 6, 7), (2.5, 3.0, 2.0), origin_mm=(-6.0, 19.0, -31.0))
SCALING = 1e-4

# ImageOrientationPatient of axial images by PatientPosition.
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

SITE = sites.Site(
    name="small",
    structures=(
        sites.Structure("Rectum", "Rectum", (1, 2, 3)),
        sites.Structure("Bladder", "Bladder", (4, 5, 6)),
    ),
    contoured=("Rectum", "Bladder"),
    prescription_gy=60.0,
    ct_offset_hu=0.0,
)

STUDY, SERIES, FRAME, PLAN, SET = (f"1.2.826.0.1.3680043.10.1.{n}" for n in range(5))
Files = dict[str, pydicom.Dataset]


def hu() -> np.ndarray:
    """The CT [Z, Y, X] in HU: whole numbers of which no two slices are alike."""
    return np.random.default_rng(7).integers(-1000, 1500, GRID.shape).astype(np.float32)


def dose_at(points_mm: np.ndarray) -> np.ndarray:
    """The dose in Gy at points [..., 3] (x, y, z): linear, so known between voxels."""
    return points_mm @ np.array([0.5, -0.25, 0.125]) + 40.0


def centres(grid: geometry.Grid) -> np.ndarray:
    """Voxel centres [Z, Y, X, 3] (x, y, z) in mm."""
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    return grid.to_mm(index)


def box(x: tuple[float, float], y: tuple[float, float], z: float) -> list[float]:
    """The corners of a rectangle as ContourData."""
    corners = ((x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1]))
    return [value for corner in corners for value in (*corner, z)]


def sequence(*items: Mapping[str, object]) -> list[pydicom.Dataset]:
    return [dataset(**item) for item in items]


def dataset(**elements: object) -> pydicom.Dataset:
    made = pydicom.Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def common(kind: str, modality: str, instance: str) -> dict[str, object]:
    return {
        "SOPClassUID": kind,
        "SOPInstanceUID": instance,
        "Modality": modality,
        "PatientID": "P1",
        "PatientName": "Qz",
        "StudyInstanceUID": STUDY,
        "SeriesInstanceUID": f"{STUDY}.{instance.split('.')[-1]}",
        "FrameOfReferenceUID": FRAME,
    }


def raster(grid: geometry.Grid, position: str) -> dict[str, object]:
    """The geometry of the plane z = 0 of `grid`, as a scan in `position` writes it."""
    right, down = np.array(POSITIONS[position]).reshape(2, 3)
    sizes = np.array([grid.spacing_mm[2], grid.spacing_mm[1], 0])
    extent = (np.array([grid.shape[2], grid.shape[1], 1]) - 1) * sizes
    corner = np.array(grid.origin_mm) + np.where(right + down < 0, extent, 0)
    rows_by = float(abs(down) @ sizes)
    columns_by = float(abs(right) @ sizes)
    swapped = right[0] == 0
    return {
        "ImagePositionPatient": corner.tolist(),
        "ImageOrientationPatient": list(POSITIONS[position]),
        "PixelSpacing": [rows_by, columns_by],
        "Rows": grid.shape[2] if swapped else grid.shape[1],
        "Columns": grid.shape[1] if swapped else grid.shape[2],
        "PatientPosition": position,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
    }


def pixels(volume: np.ndarray, position: str) -> np.ndarray:
    """`volume` [Z, Y, X] as planes [Z, rows, columns] of a scan in `position`."""
    right, down = np.array(POSITIONS[position]).reshape(2, 3)
    planes = volume.transpose(0, 2, 1) if right[0] == 0 else volume
    if down.sum() < 0:
        planes = planes[:, ::-1]
    return planes[:, :, ::-1] if right.sum() < 0 else planes


def set_pixels(made: pydicom.Dataset, values: np.ndarray, bits: int) -> None:
    """Store `values`, whose type says how many bits are allocated and if signed."""
    made.BitsAllocated = 8 * values.dtype.itemsize
    made.BitsStored, made.HighBit = bits, bits - 1
    made.PixelRepresentation = int(values.dtype.kind == "i")
    made.PixelData = values.tobytes()
    made["PixelData"].VR = "OW"


def ct(position: str = "HFS") -> Files:
    """Slices ct0.dcm (at the feet) and so on; instance numbers say nothing."""
    files = {}
    planes = pixels(hu() + 1024, position).astype(np.uint16)
    for z, plane in enumerate(planes):
        made = dataset(
            **common(uid.CTImageStorage, "CT", f"{SERIES}.9.{z}"),
            **raster(GRID, position),
            ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
            InstanceNumber=(z * 5) % 6,
            SliceThickness=9.0,
            RescaleSlope=1,
            RescaleIntercept=-1024,
            RescaleType="HU",
        )
        made.SeriesInstanceUID = SERIES
        made.ImagePositionPatient[2] = GRID.origin_mm[2] + z * GRID.spacing_mm[0]
        set_pixels(made, plane, 12)
        files[f"ct{z}.dcm"] = made
    return files


def contour(data: Sequence[object], kind: str = "CLOSED_PLANAR") -> pydicom.Dataset:
    return dataset(
        ContourGeometricType=kind,
        NumberOfContourPoints=len(data) // 3,
        ContourData=list(data),
    )


def slices(*numbers: int) -> list[float]:
    """z in mm of slices by number."""
    return [GRID.origin_mm[2] + number * GRID.spacing_mm[0] for number in numbers]


def structure_set(rois: Mapping[str, Sequence[pydicom.Dataset]]) -> pydicom.Dataset:
    """An RTSTRUCT; items of its sequences are linked by number, in different orders."""
    made = dataset(
        **common(uid.RTStructureSetStorage, "RTSTRUCT", SET),
        ReferencedFrameOfReferenceSequence=sequence(
            {
                "FrameOfReferenceUID": FRAME,
                "RTReferencedStudySequence": sequence(
                    {
                        "RTReferencedSeriesSequence": sequence(
                            {"SeriesInstanceUID": SERIES}
                        )
                    }
                ),
            }
        ),
        StructureSetROISequence=sequence(
            *(
                {
                    "ROINumber": 10 * n + 3,
                    "ROIName": name,
                    "ReferencedFrameOfReferenceUID": FRAME,
                }
                for n, name in enumerate(rois)
            )
        ),
        ROIContourSequence=sequence(
            *(
                {"ReferencedROINumber": 10 * n + 3, "ContourSequence": list(contours)}
                for n, contours in reversed(list(enumerate(rois.values())))
            )
        ),
        RTROIObservationsSequence=sequence(
            *(
                {"ReferencedROINumber": 10 * n + 3, "RTROIInterpretedType": "ORGAN"}
                for n in reversed(range(len(rois)))
            )
        ),
    )
    del made.FrameOfReferenceUID
    return made


def rectum() -> list[pydicom.Dataset]:
    """Slices 1 to 4: 3 rows (2 to 4) by 5 columns (2 to 6), a hole of 2 in row 3."""
    return [
        contour(data)
        for z in slices(1, 2, 3, 4)
        for data in (box((-2.6, 2.6), (23, 29.5), z), box((-0.5, 1.5), (25, 27), z))
    ]


def bladder() -> list[pydicom.Dataset]:
    """Slice 5, row 6, columns 7 to 9: the last column is outside the dose."""
    return [contour(box((3, 7), (30.5, 33.5), z)) for z in slices(5, 4)]


def masks() -> dict[str, np.ndarray]:
    """The two structures by hand."""
    found = {name: np.zeros(GRID.shape, bool) for name in SITE.names}
    found["Rectum"][1:5, 2:5, 2:7] = True
    found["Rectum"][1:5, 3, 4:6] = False
    found["Bladder"][4:6, 6, 7:10] = True
    return found


def dose(position: str = "HFS", grid: geometry.Grid = DOSE_GRID) -> pydicom.Dataset:
    """An RTDOSE; frames go along the normal, to the feet in some positions."""
    made = dataset(
        **common(uid.RTDoseStorage, "RTDOSE", f"{PLAN}.7"),
        **raster(grid, position),
        NumberOfFrames=grid.shape[0],
        FrameIncrementPointer=0x3004000C,
        DoseUnits="GY",
        DoseType="PHYSICAL",
        DoseSummationType="PLAN",
        DoseGridScaling=SCALING,
        GridFrameOffsetVector=[n * grid.spacing_mm[0] for n in range(grid.shape[0])],
        ReferencedRTPlanSequence=sequence({"ReferencedSOPInstanceUID": PLAN}),
    )
    planes = pixels(dose_at(centres(grid)), position)
    right, down = np.array(POSITIONS[position]).reshape(2, 3)
    if np.cross(right, down)[2] < 0:
        planes = planes[::-1]
        made.ImagePositionPatient[2] += (grid.shape[0] - 1) * grid.spacing_mm[0]
    set_pixels(made, np.rint(planes / SCALING).astype(np.uint32), 32)
    return made


def plan(beams: int = 2) -> pydicom.Dataset:
    """An RTPLAN with treatment beams 1 and so on, and a setup beam 99."""
    numbers = [*range(1, beams + 1), 99]
    return dataset(
        **common(uid.RTPlanStorage, "RTPLAN", PLAN),
        ReferencedStructureSetSequence=sequence({"ReferencedSOPInstanceUID": SET}),
        FractionGroupSequence=sequence(
            {
                "ReferencedBeamSequence": sequence(
                    *({"ReferencedBeamNumber": number} for number in numbers)
                )
            }
        ),
        BeamSequence=sequence(
            *(
                {
                    "BeamNumber": number,
                    "TreatmentDeliveryType": "SETUP" if number == 99 else "TREATMENT",
                }
                for number in numbers
            )
        ),
    )


def patient(position: str = "HFS") -> Files:
    """The CT, rs.dcm with Rectum and Bladder, and rd.dcm."""
    rois = {"Rectum": rectum(), "Bladder": bladder()}
    return {
        **ct(position),
        "rs.dcm": structure_set(rois),
        "rd.dcm": dose(position),
    }


def save(
    files: Files, folder: pathlib.Path, syntax: str = uid.ImplicitVRLittleEndian
) -> pathlib.Path:
    """Write `files` into `folder`, with the transfer syntax `syntax`."""
    for name, made in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        made.file_meta = pydicom.dataset.FileMetaDataset()
        made.file_meta.TransferSyntaxUID = syntax
        pydicom.dcmwrite(path, made, enforce_file_format=True, overwrite=True)
    return folder


def read(folder: pathlib.Path, *, show_paths=True, **settings) -> reader.Reading:
    """Read a patient; messages name files by their paths, as tests know them."""
    options = settings.pop("options", reader.Options())
    options = dataclasses.replace(options, show_paths=show_paths)
    return reader.read(folder, patient_id="p1", site=SITE, options=options, **settings)


def read_files(files: Files, folder: pathlib.Path, **settings) -> reader.Reading:
    """Save `files` and read them back as a patient."""
    return read(save(files, folder), **settings)
