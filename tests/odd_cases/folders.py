"""The folder: other files in it, whose they are, texts and private elements."""

import pathlib

import pydicom
from pydicom import uid

from tests.odd_cases import changes as do
from tests.odd_cases import expect, writer

BESIDE = ("rs.dcm", "rd.dcm", "rp.dcm")


def beside(name: str, sop_class: str, modality: str) -> do.Change:
    """Another object of the patient."""

    def change(made: writer.Made) -> None:
        made.files[name] = writer.data(
            **writer.common(
                sop_class, modality, f"2.25.50.{len(made.files)}", "2.25.51"
            )
        )

    return change


def named(**names: str) -> do.Change:
    """The patient's name by file, and the character set that it is in."""

    def change(made: writer.Made) -> None:
        for name, value in names.items():
            for dataset in made.named("ct/*" if name == "ct" else f"{name}.dcm"):
                charset, _, text = value.partition("|")
                dataset.SpecificCharacterSet = charset.split("\\")
                dataset.PatientName = text

    return change


def private(dataset: pydicom.Dataset) -> None:
    block = dataset.private_block(0x0029, "ODD HEADER", create=True)
    block.add_new(0x10, "OB", b"\0\1\2\3")
    block.add_new(0x11, "LO", "Quastenflosser")
    inner = writer.data()
    inner.private_block(0x0029, "ODD HEADER", create=True).add_new(1, "DS", "1.5")
    block.add_new(0x12, "SQ", [inner])


def broken_private(dataset: pydicom.Dataset) -> None:
    """A private element of a number that is no number, and one of a wrong length."""
    dataset.private_block(0x0029, "ODD HEADER", create=True)
    for element, vr, content in (
        (0x1010, "DS", b"x,y,zz"),
        (0x1011, "US", b"\1\2\3\4\5\6"),
    ):
        dataset[0x0029, element] = pydicom.dataelem.RawDataElement(
            pydicom.tag.Tag(0x0029, element), vr, len(content), content, 0, False, True
        )


def zeros_at_the_end(made: writer.Made) -> None:
    def damage(folder: pathlib.Path) -> None:
        with (folder / "ct/4.dcm").open("ab") as file:
            file.write(bytes(512))

    made.damage.append(damage)


def class_in_meta(made: writer.Made) -> None:
    """Data sets without SOPClassUID, whose file meta has it."""

    def damage(folder: pathlib.Path) -> None:
        for path in (*folder.glob("ct/*"), *folder.glob("*.dcm")):
            dataset = pydicom.dcmread(path)
            del dataset.SOPClassUID
            pydicom.dcmwrite(path, dataset, enforce_file_format=False)

    made.damage.append(damage)


EVERYWHERE = ("ct/*", *BESIDE)


def everywhere(**elements: object) -> do.Change:
    return do.both(*(do.put(pattern, **elements) for pattern in EVERYWHERE))


FILES: dict[str, expect.Case] = {
    "no suffixes": expect.right(
        "16", do.rename(lambda name: name.removesuffix(".dcm"))
    ),
    "suffixes of other kinds of files": expect.right(
        "16", do.rename(lambda name: name.replace(".dcm", ".txt"))
    ),
    "capitals, spaces and umlauts in file names": expect.right(
        "16", do.rename(lambda name: f"Ä ö/{name.upper()}.IMA")
    ),
    "deeply nested folders": expect.right(
        "16", do.rename(lambda name: f"a/b/c/d/e/f/g/h/{len(name)}/{name}")
    ),
    "each file in a folder of its own": expect.right(
        "16", do.rename(lambda name: f"{name.replace('/', '-')}.d/I0001")
    ),
    "all files at the top": expect.right(
        "16", do.rename(lambda name: name.replace("/", "-"))
    ),
    "a DICOMDIR": expect.noted(
        "16",
        beside("DICOMDIR", uid.MediaStorageDirectoryStorage, ""),
        "skipped 1 file (Media Storage Directory Storage)",
    ),
    "texts, pictures and archives": expect.noted(
        "16",
        do.both(
            do.extra("report.pdf", b"%PDF-1.7"),
            do.extra("Thumbs.db", b"\xd0\xcf\x11\xe0"),
            do.extra("readme.txt", b"hello"),
            do.extra("ct.zip", b"PK\3\4"),
        ),
        "skipped 4 files (no DICOM)",
    ),
    "hidden files of macOS": expect.noted(
        "16",
        do.both(
            do.extra(".DS_Store", b"\0\0\0\1Bud1"),
            do.extra("ct/._0.dcm", b"\0\5\x16\7\0\2\0\0Mac OS X"),
        ),
        "skipped 2 files (no DICOM)",
    ),
    "a structured report and a PDF in DICOM": expect.noted(
        "16",
        do.both(
            beside("sr", uid.BasicTextSRStorage, "SR"),
            beside("pdf", uid.EncapsulatedPDFStorage, "DOC"),
        ),
        "skipped 1 file (Encapsulated PDF Storage)",
    ),
    "treatment records and RT images": expect.noted(
        "16",
        do.both(
            beside("rt", uid.RTBeamsTreatmentRecordStorage, "RTRECORD"),
            beside("ri", uid.RTImageStorage, "RTIMAGE"),
        ),
        "skipped 1 file (RT Image Storage)",
    ),
    "a registration": expect.noted(
        "16",
        beside("reg", uid.SpatialRegistrationStorage, "REG"),
        "skipped 1 file (Spatial Registration Storage)",
    ),
    "an object of an unknown kind": expect.noted(
        "16", beside("x", "2.25.999", "OT"), "an unknown kind of DICOM"
    ),
    "an empty file": expect.noted(
        "16", do.extra("notes", b""), "skipped 1 file (no DICOM)"
    ),
    "an empty file that is called DICOM": expect.refused(
        "16", do.extra("x.dcm", b""), "cannot be read as DICOM"
    ),
    "a text that is called DICOM": expect.refused(
        "16", do.extra("x.dcm", b"a letter"), "cannot be read as DICOM"
    ),
    "a mark of DICOM and nothing else": expect.refused(
        "16", do.extra("x", bytes(128) + b"DICM\2\0"), "cannot be read as DICOM"
    ),
    "padding at the end of the files": expect.right(
        "13", everywhere(DataSetTrailingPadding=bytes(64))
    ),
    "zeros after the end of a file": expect.right("13", zeros_at_the_end),
    "the SOP class in the file meta alone": expect.right("13", class_in_meta),
    "the patient's name in names of files and folders": expect.noted(
        "43, 44",
        do.both(
            do.rename(
                lambda name: f"Quastenflosser, Zyprian 2.11.1948/ZQ-553311 {name}"
            ),
            do.extra("Quastenflosser 19481102.pdf", b"%PDF"),
        ),
        "skipped 1 file (no DICOM)",
    ),
    "nothing at all": expect.refused(
        "16", do.remove("ct/*", *BESIDE), "no RTSTRUCT here"
    ),
    "no CT": expect.refused("16", do.remove("ct/*"), "no axial CT images here"),
}

IDENTITY: dict[str, expect.Case] = {
    **{
        f"{kind} of another {field}": expect.refused(
            "identity",
            do.put(name, **{field: value}),
            f"files of several patients (their {field} differs)",
        )
        for kind, name, field, value in (
            ("structure set", "rs.dcm", "PatientID", "QX-1"),
            ("structure set", "rs.dcm", "PatientName", "Xaver^Yvo"),
            ("structure set", "rs.dcm", "PatientBirthDate", "19481103"),
            ("structure set", "rs.dcm", "PatientSex", "F"),
            ("dose", "rd.dcm", "PatientID", "QX-1"),
            ("plan", "rp.dcm", "PatientName", "Xaver^Yvo"),
            ("slice", "ct/4.dcm", "PatientName", "Xaver^Yvo"),
        )
    },
    **{
        f"structure set without {field}": expect.noted(
            "identity", do.put("rs.dcm", **{field: ""}), f"the {field}, which other"
        )
        for field in writer.PATIENT
    },
    "sex O, elsewhere M": expect.noted(
        "identity", do.put("rs.dcm", PatientSex="O"), "PatientSex"
    ),
    "no identity in any file": expect.right(
        "43, identity", everywhere(**dict.fromkeys(writer.PATIENT, ""))
    ),
    "name in capitals": expect.right(
        "identity", do.put("rs.dcm", PatientName="QUASTENFLOSSER^ZYPRIAN")
    ),
    "name in another order, without carets": expect.right(
        "identity", do.put("rs.dcm", PatientName="Zyprian Quastenflosser")
    ),
    "second name in one file alone": expect.right(
        "identity", do.put("rs.dcm", PatientName="Quastenflosser^Zyprian^Max")
    ),
    "PatientID with spaces": expect.right(
        "identity", do.put("rs.dcm", PatientID=" ZQ-553311 ")
    ),
    "birth date with points": expect.right(
        "identity",
        do.both(
            do.put("rs.dcm", PatientBirthDate="1948110211"),
            do.replaced("rs.dcm", b"1948110211", b"1948.11.02"),
        ),
    ),
}

TEXTS: dict[str, expect.Case] = {
    "umlaut in Latin-1 and in UTF-8": expect.right(
        "identity",
        named(
            ct="ISO_IR 100|Müller^Jörg",
            rs="ISO_IR 192|Müller^Jörg",
            rd="ISO_IR 100|Müller^Jörg",
            rp="ISO_IR 192|Müller^Jörg",
        ),
    ),
    "umlaut transcribed in one file": expect.right(
        "identity",
        named(
            ct="ISO_IR 100|Müller^Jörg",
            rs="ISO_IR 6|Mueller^Joerg",
            rd="ISO_IR 100|Müller^Jörg",
            rp="ISO_IR 100|Müller^Jörg",
        ),
    ),
    "Japanese name of three groups": expect.right(
        "43",
        named(
            **dict.fromkeys(
                ("ct", "rs", "rd", "rp"),
                "\\ISO 2022 IR 87|Yamada^Tarou=山田^太郎=やまだ^たろう",
            )
        ),
    ),
    "Korean, Greek and Cyrillic in UTF-8": expect.right(
        "43",
        named(**dict.fromkeys(("ct", "rs", "rd", "rp"), "ISO_IR 192|김^Ωμέγα Жук")),
    ),
    "a character set that does not exist": expect.right(
        "43", everywhere(SpecificCharacterSet="ISO_IR 999")
    ),
    "no character set": expect.right("43", everywhere(SpecificCharacterSet=None)),
    "private elements": expect.right(
        "45", do.both(*(do.each(pattern, private) for pattern in EVERYWHERE))
    ),
    "private elements that cannot be read": expect.right(
        "45", do.both(*(do.each(pattern, broken_private) for pattern in EVERYWHERE))
    ),
    "elements of unknown type that are not of the standard": expect.right(
        "45", do.each("ct/*", lambda d: d.add_new(0x00091001, "UN", b"\0" * 9))
    ),
    "dates, names and institutions in all files": expect.right(
        "43",
        everywhere(
            InstitutionName="Klinikum Quastenflosser",
            OperatorsName="Zyprian",
            PatientComments="19481102",
            StationName="ZQ-553311",
        ),
    ),
}
