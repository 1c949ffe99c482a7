"""A cohort in which everything that can tell who a patient is does, in 40 forms.

Two kinds of persons, dates and ids are planted. The `known` ones stand in their plain
form in an element of the headers or in a folder's name, and in all forms in names of
ROIs. The `hidden` ones stand in all forms in elements that nothing reads, in private
elements and in names of files and folders.
"""

import dataclasses
import datetime
import html
import pathlib
import random
import re
import unicodedata
from collections.abc import Callable, Iterator

import pydicom
import pydicom.config
from pydicom import datadict

from mtl_jax.sources.phantom import dicom_cohort
from tests.sources import planted
from tfds_builders.prostate import make_dummy_data

SPLITS = ("train", "validation", "test", "train", "train")


@dataclasses.dataclass(frozen=True)
class Person:
    given: str
    surname: str

    @property
    def dicom(self) -> str:
        return f"{self.surname}^{self.given}"


def _transcribed(text: str) -> str:
    for sign, plain in zip("äöüÄÖÜ", ("ae", "oe", "ue", "Ae", "Oe", "Ue"), strict=True):
        text = text.replace(sign, plain)
    return text


def _bare(text: str) -> str:
    return unicodedata.normalize("NFD", text).encode("ascii", "ignore").decode()


def _wide(text: str) -> str:
    return "".join(chr(ord(s) + 0xFEE0) if "!" <= s <= "~" else s for s in text)


NAME_FORMS: dict[str, Callable[[Person], str]] = {
    "plain": lambda p: p.surname,
    "capitals": lambda p: p.surname.upper(),
    "small": lambda p: p.surname.lower(),
    "decomposed": lambda p: unicodedata.normalize("NFD", p.surname),
    "transcribed": lambda p: _transcribed(p.surname),
    "transcribed, capitals": lambda p: _transcribed(p.surname).upper(),
    "without dots": lambda p: _bare(p.surname),
    "full width": lambda p: _wide(_bare(p.surname)),
    "as in DICOM": lambda p: p.dicom,
    "given first": lambda p: f"{p.given} {p.surname}",
    "joined": lambda p: p.surname + p.given,
    "underscores": lambda p: f"{p.given}_{_transcribed(p.surname)}",
    "initial": lambda p: f"{p.given[0]}. {p.surname}",
    "cut": lambda p: _bare(p.surname)[:7],
    "UTF-8 as Latin-1": lambda p: p.surname.encode().decode("latin-1"),
    "lost letters": lambda p: p.surname.encode("ascii", "replace").decode(),
    "soft hyphen": lambda p: f"{p.surname[:3]}\u00ad{p.surname[3:]}",
    "with a number": lambda p: f"{p.surname}2",
}
# Forms of any date, and two that are clear only of a date that the headers have.
DATE_FORMS: dict[str, str] = {
    "DA": "{d:%Y%m%d}",
    "ISO": "{d:%Y-%m-%d}",
    "points": "{d:%d.%m.%Y}",
    "slashes": "{d:%m/%d/%Y}",
    "day first": "{d:%d%m%Y}",
    "six digits": "{d:%y%m%d}",
    "six digits, day first": "{d:%d%m%y}",
    "English": "{d:%d-%b-%Y}",
    "English, joined": "{d:%d%b%Y}",
    "American": "{d:%B} {d.day}, {d:%Y}",
    "German": "{d.day}. {german} {d:%Y}",
    "short year": "{d:%d.%m.%y}",
    "spaces": "{d:%d %m %Y}",
}
KNOWN_DATE_FORMS = {"one digit": "{d.day}/{d.month}/{d:%y}", "month": "{d:%m/%Y}"}
ID_FORMS: dict[str, Callable[[str], str]] = {
    "as it is": lambda i: i,
    "digits": lambda i: re.sub(r"\D", "", i),
    "dashes": lambda i: i.replace("/", "-"),
    "spaces": lambda i: re.sub(r"\D", " ", i),
    "underscores": lambda i: re.sub(r"\D", "_", i),
    "in a word": lambda i: f"ID{re.sub(r'[^0-9]', '', i)}x",
    "points": lambda i: re.sub(r"\D", ".", i),
}
FORMS = (*NAME_FORMS, *DATE_FORMS, *KNOWN_DATE_FORMS, *ID_FORMS)
GERMAN = "Januar Februar März April Mai Juni Juli August September Oktober November"
GERMAN_MONTHS = (*GERMAN.split(), "Dezember")


@dataclasses.dataclass
class Identity:
    """Persons, dates and ids, none of which is like another's or an ordinary word."""

    persons: list[Person]
    dates: list[datetime.date]
    ids: list[str]

    def forms(self, own: datetime.date | None = None) -> list[str]:
        """All in all forms; of the date `own` also those that alone tell nothing."""
        made = [form(p) for p in self.persons for form in NAME_FORMS.values()]
        for date in self.dates:
            texts = [*DATE_FORMS.values()]
            texts += KNOWN_DATE_FORMS.values() if date == own else []
            german = GERMAN_MONTHS[date.month - 1]
            made += [text.format(d=date, german=german) for text in texts]
        return made + [form(i) for i in self.ids for form in ID_FORMS.values()]


def draw(rng: random.Random, persons: int, dates: int, ids: int) -> Identity:
    def name() -> str:
        parts = ["".join(rng.choice(s) for s in ("qxzv", "äöü", "kwj")) for _ in "123"]
        return "".join(parts).capitalize() + rng.choice(("berg", "son", "ska"))

    return Identity(
        [Person(name()[:5], name()) for _ in range(persons)],
        [
            datetime.date(
                rng.randint(1931, 1969), rng.randint(1, 12), rng.randint(1, 28)
            )
            for _ in range(dates)
        ],
        [
            f"{rng.randint(10, 99)}/{rng.randint(100, 999)}-{rng.randint(100, 999)}"
            for _ in range(ids)
        ],
    )


def _texts(hidden: Identity) -> Iterator[tuple[str, str]]:
    """Keyword and value for each text element that nothing reads."""
    forms = hidden.forms()
    count = 0
    for tag, (vr, _, _, retired, keyword) in sorted(datadict.DicomDictionary.items()):
        if (
            tag >> 16 > 2
            and vr in ("LO", "SH", "ST", "LT", "UT", "UC")
            and keyword
            and not retired
        ):
            count += 1
            yield keyword, forms[count % len(forms)].replace("\\", "")


def _plant(made: pydicom.Dataset, known: Identity, hidden: Identity) -> None:
    patient, mother, operator, physician, interpreter = known.persons[:5]
    kept = {keyword: made.get(keyword) for keyword in ("StructureSetLabel",)}
    for keyword, value in _texts(hidden):
        if keyword not in made or keyword in ("StudyDescription", "SeriesDescription"):
            setattr(made, keyword, value[:16])
    for keyword, value in kept.items():
        if value:
            setattr(made, keyword, value)
    made.SpecificCharacterSet = "ISO_IR 192"
    made.PatientName, made.PatientMotherBirthName = patient.dicom, mother.dicom
    made.OperatorsName = [operator.dicom]
    made.PhysiciansOfRecord = [physician.dicom]
    made.PatientBirthDate = known.dates[0].strftime("%Y%m%d")
    made.PatientID, made.AccessionNumber, made.StudyID = known.ids[:3]
    made.OtherPatientIDs, made.AdmissionID = known.ids[3:5]
    made.StationName, made.PatientAge = "XWQ4711", "087Y"
    block = made.private_block(0x0099, "QZ", create=True)
    for offset, text in enumerate(hidden.forms()[:200]):
        block.add_new(offset, "LO", text)
    for item in made.get("RTROIObservationsSequence", []):
        item.ROIInterpreter = interpreter.dicom


def _roi(made: pydicom.Dataset, name: str) -> None:
    """Add an ROI without contours."""
    number = 1000 + len(made.StructureSetROISequence)
    roi, contour = pydicom.Dataset(), pydicom.Dataset()
    roi.ROINumber = contour.ReferencedROINumber = number
    roi.ROIName = name
    roi.ReferencedFrameOfReferenceUID = made.StructureSetROISequence[
        0
    ].ReferencedFrameOfReferenceUID
    made.StructureSetROISequence.append(roi)
    made.ROIContourSequence.append(contour)


STATION_AND_AGE = ("XWQ4711", "xwq-4711", "87Y", "087y", "87 Jahre")


def write(folder: pathlib.Path, ordinary: list[str]) -> list[str]:
    """Write the cohort into `folder`; all that was planted.

    Its last two patients are to be refused: one for its code strings and names of ROIs,
    one for a file that is cut off. All patients have ROIs with the names `ordinary`.
    """
    with pydicom.config.disable_value_validation():
        return _write(folder, ordinary)


def _write(folder: pathlib.Path, ordinary: list[str]) -> list[str]:
    rng = random.Random(25)
    secrets: list[str] = []
    rows = []
    for number, split in enumerate(SPLITS):
        known, hidden = draw(rng, 6, 4, 6), draw(rng, 3, 2, 3)
        folder_person = known.persons[5]
        # Of this id, only the folder's name has the number.
        name = f"QZSUB_{folder_person.surname}_{known.ids[5].replace('/', '-')}"
        rows.append(f'"{name}",{split}')
        patient = folder / name
        pelvis = make_dummy_data.pelvis(number)
        dicom_cohort.write_patient(patient, pelvis, patient_id=f"P{number}")
        forms = known.forms(own=known.dates[0])
        safe = [re.sub(r"[/\\\0]", "-", text) for text in hidden.forms()]
        inner = patient / safe[0] / safe[9]
        inner.mkdir(parents=True)
        for place, path in enumerate(sorted(patient.glob("*.dcm"))):
            made = pydicom.dcmread(path)
            _plant(made, known, hidden)
            if made.Modality == "RTSTRUCT":
                for text in (*forms, *STATION_AND_AGE, *ordinary):
                    named = text if text in ordinary else f"GTV {text}"[:64]
                    _roi(made, named)
                if number == 3:  # no ROI can be the rectum
                    for roi in made.StructureSetROISequence:
                        if roi.ROIName == "Rectum":
                            roi.ROIName = f"R {forms[0]}"
            if number == 3 and made.Modality == "RTDOSE":
                made.DoseSummationType = hidden.persons[0].surname[:16].upper()
            path.unlink()
            made.save_as(inner / f"{safe[1 + place]} {place}.dcm")
        for place, text in enumerate(safe):
            (inner / f"{text} {place} report.pdf").write_text(text)
        if number == 4:
            cut = next(inner.glob("*.dcm"))
            cut.write_bytes(cut.read_bytes()[:-100])
        secrets += [*forms, *hidden.forms(), *STATION_AND_AGE]
    mapping = make_dummy_data.MAPPING + f'"GTV {secrets[0]}": null\n'
    (folder / "mapping.yaml").write_text(mapping, encoding="utf-8")
    text = "\n".join(["patient,split", *rows, ""])
    (folder / "splits.csv").write_text(text, encoding="utf-8")
    return secrets


def read(*outputs: pathlib.Path | str) -> tuple[str, str]:
    """All text in outputs: files below folders, their names, and packed content.

    The second is what looks like text in files that are not text.
    """
    parts: list[str] = []
    binary: list[str] = []
    for output in outputs:
        if isinstance(output, str):
            parts.append(output)
            continue
        for path in sorted(p for p in output.rglob("*") if p.is_file()):
            parts.append(path.relative_to(output).as_posix())
            content = path.read_bytes()
            packed = planted._unpacked(content) if path.suffix == ".png" else [content]
            for part in packed:
                try:
                    parts.append(part.decode())
                except UnicodeDecodeError:
                    binary.append(part.decode("utf-8", "ignore"))
    return _plain(parts), _plain(binary)


def _plain(parts: list[str]) -> str:
    """The parts, and what JSON and HTML make of what is no ASCII."""
    text = "\n".join(parts)
    plain = re.sub(r"\\u([0-9a-f]{4})", lambda match: chr(int(match[1], 16)), text)
    return f"{plain}\n{html.unescape(plain)}"


def leaks(secrets: list[str], text: str, binary: str) -> list[str]:
    """Which of the secrets are in what `read` gives, whatever their case and form.

    Three characters occur by chance in what is no text, so they are not sought there.
    """
    longer = [secret for secret in secrets if len(secret) > 3]
    return sorted({*_found(secrets, text), *_found(longer, binary)})


def _found(secrets: list[str], text: str) -> set[str]:
    folded = unicodedata.normalize("NFKC", text).casefold()
    by_start: dict[str, set[str]] = {}
    for secret in secrets:
        needle = unicodedata.normalize("NFKC", secret).casefold()
        by_start.setdefault(needle[:3], set()).add(needle)
    found = set()
    for place in range(len(folded)):
        for needle in by_start.get(folded[place : place + 3], ()):
            if folded.startswith(needle, place) and _is_meant(folded, place, needle):
                found.add(needle)
    return found


def _is_meant(text: str, place: int, needle: str) -> bool:
    """Whether it is no part of a number or a digest, by chance."""
    if len(needle) > 5 and not needle.isdigit():
        return True
    end = place + len(needle)
    before, after = text[max(place - 1, 0) : place], text[end : end + 1]
    return not (
        before.isalnum() or before in ("_", ".") or after.isalnum() or after == "_"
    )
