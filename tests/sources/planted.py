"""A small cohort full of identifying data, and a search for that data in any output.

Names, ids, dates, UIDs and hospitals stand in headers, ROI names, file names, folder
names and the files beside the patients' folders.
"""

import base64
import pathlib
import re
import zlib

import pydicom

from mtl_jax.sources.clinical import pseudonyms
from mtl_jax.sources.phantom import dicom_cohort
from tfds_builders.prostate import make_dummy_data

FOLDERS = {
    "ZAPHODSKY_Marvin_QX778123": "train",
    "Trillianova_1953-04-17": "train",
    "QX778125": "validation",
    "Slartibart, Fast (QX778126)": "test",
    "Deepthoughter": "test",  # refused: no structure set
    "Vogonsen": "train",  # refused: no ROI can be a femur
    "Magratheanu": "train",  # refused: its CT is cut off
}
REFUSED = 3
FAMILY = [re.split(r"[ _,]", name)[0] for name in FOLDERS]
SECRETS = (
    *FAMILY,
    *("Marvin", "QX77812", "19530417", "1953-04-17", "20190911", "2019-09-11"),
    *("Halfrunt", "Milliways", "ACC55512", "1.2.826.0.1.3680043", "Lamuella"),
)
MAPPING = make_dummy_data.MAPPING + (
    '"GTV Marvin QX778123": null\n"PTV 19530417": PTV_6000\n"Blase": Bladder\n'
)


def write(folder: pathlib.Path) -> pathlib.Path:
    """Write the cohort, with its mapping file and splits, into `folder`."""
    for number, name in enumerate(FOLDERS):
        patient = folder / name
        dicom_cohort.write_patient(
            patient,
            make_dummy_data.pelvis(number),
            patient_id=f"QX77812{number}",
            naming="clinic",
        )
        for path in sorted(patient.iterdir()):
            _plant(path, patient / f"study 20190911/{FAMILY[number]}_{path.name}", name)
    for path in (folder / "Deepthoughter").rglob("*RS.*"):
        path.unlink()
    ct = next((folder / "Magratheanu").rglob("*CT.*"))
    ct.write_bytes(ct.read_bytes()[:-200])
    (folder / "notes of Dr Halfrunt.txt").write_text("Marvin")
    (folder / "mapping.yaml").write_text(MAPPING)
    rows = [f'"{name}",{split}' for name, split in FOLDERS.items()]
    (folder / "splits.csv").write_text("\n".join(["patient,split", *rows, ""]))
    return folder


def _plant(path: pathlib.Path, target: pathlib.Path, name: str) -> None:
    """Move a file to `target`, with identifying values in all usual attributes."""
    dicom = pydicom.dcmread(path)
    dicom.PatientName = name.replace("_", "^")
    dicom.OtherPatientIDs = "Lamuella"
    dicom.PatientBirthDate = "19530417"
    dicom.StudyDate = dicom.SeriesDate = dicom.ContentDate = "20190911"
    dicom.AccessionNumber = "ACC55512"
    dicom.InstitutionName = "Milliways"
    dicom.ReferringPhysicianName = "Halfrunt^Gag"
    dicom.StudyDescription = dicom.SeriesDescription = f"Plan of {name}"
    dicom.PatientComments = "Marvin"
    for roi in dicom.get("StructureSetROISequence", []):
        if roi.ROIName in ("Rectal wall", "RectumWall"):
            roi.ROIName = f"GTV {name.split('_')[0]} 2019-09-11"
        if "Vogonsen" in name and "Fem" in roi.ROIName + roi.ROIName.title():
            roi.ROIName = "Vogonsen bone 19530417"
    target.parent.mkdir(exist_ok=True)
    dicom.save_as(target, enforce_file_format=True)
    path.unlink()


def leaks(*outputs: pathlib.Path | str) -> list[str]:
    """The secrets in texts, and in files and folders, including unpacked content."""
    leaked = []
    for output in outputs:
        if isinstance(output, str):
            leaked += [f"text: {secret}" for secret in _secrets(output.encode())]
            continue
        paths = [p for p in output.rglob("*") if p.is_file()] or [output]
        for path in paths:
            name = path.relative_to(output).as_posix().encode()
            for part in (name, *_unpacked(path.read_bytes())):
                leaked += [f"{path.name}: {secret}" for secret in _secrets(part)]
    return leaked


def _secrets(content: bytes) -> list[str]:
    folded = content.lower()
    return [
        secret
        for secret in SECRETS
        if any(secret.lower().encode(code) in folded for code in ("utf-8", "utf-16-le"))
    ]


def _unpacked(content: bytes):
    """The content, its decoded base64 text, and its zlib streams, as of a PNG."""
    yield content
    for match in re.finditer(rb"[A-Za-z0-9+/]{40,}={0,2}", content):
        raw = match.group()
        yield base64.b64decode(raw[: len(raw) // 4 * 4])
    for match in re.finditer(rb"\x78[\x01\x5e\x9c\xda]", content):
        try:
            yield zlib.decompressobj().decompress(content[match.start() :])
        except zlib.error:
            continue


def key_file(folder: pathlib.Path) -> pathlib.Path:
    """Where the cohort's key file is."""
    return pseudonyms.key_file(folder)
