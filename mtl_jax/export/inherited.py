"""Values of the CT that exported objects inherit, made valid where that is allowed.

Input: the CT's header. Output: a header whose values are of their types (PS3.5 6.2),
and a sentence for each element that was mended or stays invalid; no sentence has a
value. What the standard lets be empty (type 2) is emptied if it cannot be read; what
links objects (UIDs, the patient's id and name) stays as the CT has it.
"""

import datetime
import re

import pydicom
from pydicom import charset, datadict, dataelem, multival, tag, uid

CHARACTERS = "SpecificCharacterSet"
TEXTS = ("PatientName", "PatientID", "StudyID", "AccessionNumber")
DATES = ("PatientBirthDate", "StudyDate")
UIDS = ("StudyInstanceUID", "FrameOfReferenceUID", "SeriesInstanceUID")
LENGTHS = {"PatientID": 64, "StudyID": 16, "AccessionNumber": 16}
SEXES = {"MALE": "M", "FEMALE": "F", "OTHER": "O", "M": "M", "F": "F", "O": "O"}
LATIN, UNICODE = "ISO_IR 100", "ISO_IR 192"
_TIME = re.compile(r"(?:[01]\d|2[0-3])(?:[0-5]\d(?:[0-5]\d(?:\.\d{1,6})?)?)?")
EMPTIED, KEPT = "left empty", "kept as it is, since it links to the CT"


def mend(header: pydicom.Dataset) -> tuple[str, ...]:
    """Make the values of `header` valid, in place; what was not, in sentences."""
    sentences = [*_characters(header)]
    for keyword in DATES:
        sentences += _replace(header, keyword, _date(_text(header, keyword)))
    sentences += _replace(header, "StudyTime", _time(_text(header, "StudyTime")))
    sex = _text(header, "PatientSex")
    sentences += _replace(header, "PatientSex", SEXES.get(sex.upper(), ""))
    for keyword, most in LENGTHS.items():
        value = _text(header, keyword)
        if len(value) <= most and "\\" not in value:
            continue
        if keyword == "PatientID":
            sentences.append(_sentence(keyword, KEPT))
        else:
            sentences += _replace(header, keyword, "")
    for keyword in UIDS:
        if not uid.UID(_text(header, keyword)).is_valid:
            sentences.append(_sentence(keyword, KEPT))
    return tuple(sentences)


def _sentence(keyword: str, what: str) -> str:
    return f"the CT's {keyword} is not valid in DICOM: {what}"


def _text(header: pydicom.Dataset, keyword: str) -> str:
    value = header.get(keyword)
    several = isinstance(value, multival.MultiValue)
    return "\\".join(map(str, value)) if several else str(value or "").strip(" \0")


def _replace(header: pydicom.Dataset, keyword: str, valid: str) -> list[str]:
    """Set `keyword` to a `valid` value; a sentence if it had another one."""
    if _text(header, keyword) == valid:
        return []
    header[tag.Tag(keyword)] = dataelem.DataElement(
        tag.Tag(keyword), datadict.dictionary_VR(keyword), valid
    )
    return [_sentence(keyword, "written as the standard has it" if valid else EMPTIED)]


def _date(text: str) -> str:
    """`text` as a value of type DA, if it is a date from the year on; else ''."""
    digits = re.sub(r"(?<=\d)[-./](?=\d)", "", text)
    try:
        return datetime.datetime.strptime(digits, "%Y%m%d").strftime("%Y%m%d")
    except ValueError:
        return ""


def _time(text: str) -> str:
    """`text` as a value of type TM, if it is a time; else ''."""
    digits = re.sub(r"(?<=\d):(?=\d)", "", text)
    return digits if _TIME.fullmatch(digits) else ""


def _characters(header: pydicom.Dataset) -> list[str]:
    """Declare the character set of texts if theirs is unknown, or not stated.

    Their bytes stay, as systems compare them with the CT's.
    """
    stated = _text(header, CHARACTERS)
    known = all(part in charset.python_encoding for part in stated.split("\\"))
    texts = {keyword: _text(header, keyword) for keyword in TEXTS}
    everything = "".join(texts.values())
    if known and (stated or everything.isascii()):
        return []
    unicode = _as_unicode(everything)
    declared = LATIN if unicode is None or everything.isascii() else UNICODE
    header.SpecificCharacterSet = declared
    for keyword, text in texts.items():
        if keyword in header:
            setattr(
                header, keyword, (declared == UNICODE and _as_unicode(text)) or text
            )
    doubt = "" if everything.isascii() else "; look at the patient's name"
    return [_sentence(CHARACTERS, f"written as {declared}{doubt}")]


def _as_unicode(text: str) -> str | None:
    """`text` if its bytes are UTF-8; pydicom took them for Latin-1 without a set."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return None
