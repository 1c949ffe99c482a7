"""Masks what identifies a patient in text from the data.

Input: a text, and the identifying values of a patient's files. Output: the text with
asterisks. ROI names are foreign text: they may hold a name, an id, a date or a UID.
`Identifiers.hide` masks these before such text is in a message or a file, and
`errors.printable` escapes its control characters.

Both are compared in one form (`folded_text`): small letters without accents, with the
usual transcriptions (ue for ü), whatever the signs between the parts.
"""

import bisect
import itertools
import re
from collections.abc import Iterable, Iterator

import pydicom
from pydicom import datadict

from mtl_jax.core import errors
from mtl_jax.sources.dicom import dates_in_text, elements, folded_text, ordinary_words

MASK = "*"
# The standard's names of persons: the patient, relatives, physicians, operators.
PERSONS = tuple(
    keyword
    for tag, keyword in sorted((tag, k) for k, tag in datadict.keyword_dict.items())
    if datadict.dictionary_VR(tag) == "PN"
)
# Ids and numbers of the patient (PS3.15 table E.1-1).
IDS = (
    *("PatientID", "OtherPatientIDs", "AccessionNumber", "StudyID", "AdmissionID"),
    *("MedicalRecordLocator", "PatientTelephoneNumbers"),
    *("InsurancePlanIdentification", "RequestedProcedureID", "ServiceEpisodeID"),
    *("ScheduledProcedureStepID", "PerformedProcedureStepID"),
    *("FillerOrderNumberImagingServiceRequest",),
    *("PlacerOrderNumberImagingServiceRequest",),
)
# What tells of the patient, or where it was, in words that ROIs may have too.
OTHERS = (
    *("PatientAddress", "IssuerOfPatientID", "IssuerOfAdmissionID", "MilitaryRank"),
    *("PatientComments", "AdditionalPatientHistory", "PatientInstitutionResidence"),
    *("BranchOfService", "Occupation", "RegionOfResidence", "EthnicGroup"),
    *("PatientReligiousPreference", "CountryOfResidence", "CurrentPatientLocation"),
    *("InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName"),
    *("StationName", "DeviceSerialNumber", "PerformedStationName", "PlateID"),
    *("PerformedStationAETitle", "PerformedLocation", "ScheduledStationName"),
    *("ScheduledStationAETitle", "RequestingService", "ResponsibleOrganization"),
    *("GantryID", "DetectorID", "CassetteID", "DeviceID"),
)
PATIENT_NAMES = frozenset(word for word in PERSONS if word.startswith("Patient"))
PATIENT_NAMES |= {"OtherPatientNames"}
DATES = ("PatientBirthDate", "StudyDate", "SeriesDate", "AcquisitionDate")
AGE, OTHER_IDS = "PatientAge", "OtherPatientIDsSequence"
KEYWORDS = (*PERSONS, *IDS, *OTHERS, *DATES, AGE, OTHER_IDS)

# From this length on, a value is hidden also inside of a longer word.
LONG = 4
# From this length on, it is also found with other signs between its parts.
SPREAD = 5
# Numbers of fewer digits tell nothing: `CTV 60`. Elsewhere than in an id, four do not
# either: they are doses in cGy, or numbers of files.
DIGITS_OF_PATIENT, DIGITS = 4, 5
# An id that is written in parts has more: `60_54_50` are doses.
DIGITS_IN_PARTS = 7
_UID = re.compile(r"\d+(?:\.\d+){3,}|\d+(?:[._ -]\d+){5,}")
_IN_PARTS = re.compile(r"\d+(?:[^\w]|_)\d[\d\W_]*\d")
_COMPONENTS = re.compile(r"[\s^=,;_/\\.]+")

Span = tuple[int, int]


class Identifiers:
    """The identifying values of one patient's files."""

    def __init__(self, folder: str = "") -> None:
        """Start with the name of the patient's folder."""
        self._long: dict[str, set[str]] = {}  # by their first signs
        self._short: set[str] = set()
        self._names: list[str] = []  # of persons, in order
        self._dates: set[dates_in_text.Date] = set()
        self._ages: set[str] = set()
        self._add(folder, of_patient=False, is_name=True)

    def add(self, values: Iterable[str]) -> None:
        """Add `values` of the patient, the words in them, and the dates."""
        for value in values:
            self._add(value, of_patient=True, is_name=True)

    def add_path(self, path: str) -> None:
        """Add the words of a folder's or file's name, but those that ROIs have."""
        self._add(path, of_patient=False)

    def add_element(self, keyword: str, value: str) -> None:
        """Add the `value` of one of KEYWORDS."""
        if keyword == AGE:
            self._ages.add(value)
            return
        is_own = keyword in PATIENT_NAMES or keyword in IDS
        self._add(value, of_patient=is_own, is_name=keyword in PERSONS)

    def add_header(
        self, header: pydicom.Dataset, known: set[tuple[str, bytes]]
    ) -> None:
        """Add the elements of `header`; those in `known`, which grows, are there."""
        for keyword in KEYWORDS:
            if keyword not in header:
                continue
            raw = header.get_item(keyword, keep_deferred=True)
            content = raw.value if raw is not None else None
            if isinstance(content, bytes):
                if (keyword, content) in known:
                    continue
                known.add((keyword, content))
            try:
                self._add_value(header, keyword)
            except errors.SourceError:  # no text: the bytes as they are
                if isinstance(content, bytes):
                    self.add_element(keyword, content.decode("latin-1"))

    def _add_value(self, header: pydicom.Dataset, keyword: str) -> None:
        """Add an element of `header`; a SourceError if it cannot be read."""
        for item in elements.items(header, keyword, "a file"):
            self.add([elements.text(item, "PatientID", "a file")])
        for value in elements.text(header, keyword, "a file").split("\\"):
            self.add_element(keyword, value)

    def update(self, others: "Identifiers") -> None:
        """Add the values of `others`."""
        for start, values in others._long.items():
            self._long.setdefault(start, set()).update(values)
        self._short |= others._short
        self._dates |= others._dates
        self._ages |= others._ages
        self._names = sorted({*self._names, *others._names})

    def _add(self, value: str, *, of_patient: bool, is_name: bool = False) -> None:
        """Add `value` and its parts: the patient's own, a person's name, or another."""
        self._dates |= set(dates_in_text.known(value))
        parts = folded_text.whole_words(value)
        # A patient may be called Hand or Li, and a phantom Prostate Test or LUNG1-002.
        is_made_up = all(map(ordinary_words.contains, parts)) or any(
            part[-1].isdigit() for part in parts
        )
        keeps = is_made_up or not (of_patient and is_name)
        for number in _IN_PARTS.findall(value):
            digits = re.sub(r"\D", "", number)
            if len(digits) >= DIGITS_IN_PARTS:
                self._add_number(digits, of_patient=of_patient)
        for spelling in folded_text.spellings(value):
            for word in folded_text.words(spelling):
                self._add_word(word, of_patient=of_patient, keeps_ordinary=keeps)
            if is_name:
                self._add_name(spelling)
        for part in (value, *_COMPONENTS.split(value)):
            for spelling in folded_text.spellings(part):
                self._add_joined(spelling, of_patient=of_patient)

    def _add_joined(self, value: str, *, of_patient: bool) -> None:
        """Add `value` without what is between its words."""
        parts = folded_text.whole_words(value)
        whole = "".join(parts)
        # Of a patient also what is ordinary in its parts alone: LUNG1-002.
        if of_patient and len(parts) > 1:
            self._add_word(whole, of_patient=True, keeps_ordinary=False)
        elif not all(map(ordinary_words.contains, parts)):
            self._add_word(whole, of_patient=of_patient, keeps_ordinary=True)
        # Of names the first two, in both orders: `Li^Bo` is also `BoLi`.
        for one, two in itertools.permutations(parts[:2] if of_patient else (), 2):
            if len(one + two) >= LONG and not (one + two).isdigit():
                self._add_word(one + two, of_patient=True, keeps_ordinary=True)

    def _add_number(self, digits: str, *, of_patient: bool) -> None:
        least = DIGITS_OF_PATIENT if of_patient else DIGITS
        for number in {digits, digits.lstrip("0")} if of_patient else {digits}:
            if len(number) >= least:
                self._long.setdefault(number[:2], set()).add(number)

    def _add_word(self, word: str, *, of_patient: bool, keeps_ordinary: bool) -> None:
        if word.isdigit():
            self._add_number(word, of_patient=of_patient)
            return
        if ordinary_words.is_technical(word):
            return
        if keeps_ordinary and ordinary_words.contains(word):
            return
        words = {word, folded_text.without_transcriptions(word)}
        for each in words:
            if len(each) >= LONG or (len(each) > 1 and not each.isascii()):
                self._long.setdefault(each[:2], set()).add(each)
            elif len(each) > 1 or (each and not each.isascii()):
                self._short.add(each)

    def _add_name(self, value: str) -> None:
        """Add the words of a person's name, whose beginnings tell it too."""
        for word in folded_text.words(value):
            if word.isalpha() and len(word) > LONG and word not in self._names:
                bisect.insort(self._names, word)

    def hide(self, text: str) -> str:
        """`text` with dates, UIDs and the known values as asterisks.

        Values of four and more characters are hidden wherever they are, shorter ones
        where they stand alone, and the beginning of a person's name too, which a system
        may have cut.
        """
        plain = folded_text.Folded(text)
        spans = [plain.span(*match.span()) for match in _UID.finditer(plain.text)]
        found = dates_in_text.find(plain.text, self._dates, self._ages)
        spans += [plain.span(*span) for span in found]
        for form in (plain, plain.without_transcriptions()):
            spans += [form.span(*span) for span in self._in(form)]
        return _masked(text, spans)

    def _in(self, form: folded_text.Folded) -> Iterator[Span]:
        """Spans of the known values in `form`."""
        compact = form.compact
        for start in range(len(compact.text)):
            for value in self._long.get(compact.text[start : start + 2], ()):
                if compact.text.startswith(value, start) and _is_meant(
                    compact, start, value
                ):
                    yield compact.outer(start, start + len(value))
        for start, end in form.tokens():
            token = form.text[start:end]
            if token in self._short or self._is_cut_name(token):
                yield start, end

    def _is_cut_name(self, token: str) -> bool:
        if len(token) < LONG or ordinary_words.contains(token):
            return False
        place = bisect.bisect_left(self._names, token)
        return place < len(self._names) and self._names[place].startswith(token)


def _is_meant(compact: folded_text.Compact, start: int, value: str) -> bool:
    """Whether what reads as `value` is it, and not the end of one word and more."""
    end = start + len(value)
    if value.isdigit() and len(value) < DIGITS and compact.is_in_number(start, end):
        return False
    return len(value) >= SPREAD or compact.is_one_piece(start, end)


def _masked(text: str, spans: list[Span]) -> str:
    """`text` with an asterisk in place of each of the `spans`, which may overlap."""
    parts, last = [], 0
    for start, end in sorted(spans):
        if start >= last:
            parts += [text[last:start], MASK]
        last = max(last, end)
    return "".join((*parts, text[last:]))
