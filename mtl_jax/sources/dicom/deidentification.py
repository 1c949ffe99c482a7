"""Masks what identifies a patient in text from the data.

Input: a text, and the identifying values of a patient's files. Output: the text with
asterisks. Paths, ROI names and code strings are foreign text: they may hold a name, an
id, a date or a UID. `Identifiers.hide` masks these before such text is in a message,
and `errors.printable` escapes its control characters.
"""

import re
from collections.abc import Iterable

MASK = "*"
# Elements that name the patient, or lead to the patient.
KEYWORDS = (
    "PatientName",
    "PatientID",
    "OtherPatientNames",
    "OtherPatientIDs",
    "PatientBirthDate",
    "PatientAddress",
    "AccessionNumber",
    "StudyID",
    "ReferringPhysicianName",
    "InstitutionName",
)
_UID = r"\d+(?:\.\d+){3,}"
_DATE = (
    r"(?<!\d)(?:19|20)\d\d(?P<sep>[-_./]?)(?:0[1-9]|1[0-2])(?P=sep)"
    r"(?:0[1-9]|[12]\d|3[01])(?!\d)"
)
_PATTERN = re.compile(f"{_UID}|{_DATE}")


class Identifiers:
    """The identifying values of one patient's files."""

    def __init__(self, folder: str = "") -> None:
        """Start with the whole name of the patient's folder."""
        self._values = {folder.lower()}

    def add(self, values: Iterable[str]) -> None:
        """Add `values` and the words in them."""
        for value in values:
            words = re.split(r"[\W_]+", value)
            self._values |= {word.lower() for word in (value.strip(), *words)}

    def hide(self, text: str) -> str:
        """`text` with dates, UIDs and the known values as an asterisk.

        Values of four and more characters are hidden wherever they are, shorter ones
        where they stand alone; numbers of up to three digits tell nothing.
        """
        for value in sorted(self._values, key=len, reverse=True):
            if len(value) < 2 or (len(value) < 4 and value.isdigit()):
                continue
            pattern = re.escape(value)
            if len(value) < 4:
                pattern = rf"(?<![^\W_]){pattern}(?![^\W_])"
            text = re.sub(pattern, MASK, text, flags=re.IGNORECASE)
        return _PATTERN.sub(MASK, text)
