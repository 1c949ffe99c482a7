"""Dates in text, recognised by their value in the forms in which people write them.

Input: folded text (`folded_text`), and dates and ages that are known to be the
patient's. Output: where dates and these ages are. Numbers that are no day of the years
1900 to 2099 are left: `PTV_5040`, `CTV 60/54`.
"""

import re
from collections.abc import Collection, Iterator

Date = tuple[int, int, int]  # year, month, day

# English, German, French, Italian, Spanish, Portuguese and Dutch, without accents;
# not `set` and `out`, which are words.
_MONTHS = (
    "jan january januar jaenner janvier gennaio gen enero ene janeiro januari",
    "feb february februar fevrier febbraio febrero fevereiro fev februari",
    "mar march marz maerz mars marzo marco maart mrz mrt",
    "apr april avril avr aprile abril abr",
    "may mai maggio mag mayo maio mei",
    "jun june juni juin giugno giu junio junho",
    "jul july juli juillet juil luglio lug julio julho",
    "aug august aout agosto ago augustus",
    "sep sept september septembre settembre septiembre setembro",
    "oct okt october oktober octobre ottobre ott octubre outubro",
    "nov november novembre noviembre novembro",
    "dec dez december dezember decembre dicembre dic diciembre dezembro",
)
_ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii")
_NUMBER = {
    word: number
    for number, names in enumerate(_MONTHS, 1)
    for word in (*names.split(), _ROMAN[number - 1])
}
_NAME = "|".join(sorted(_NUMBER.keys() - set(_ROMAN), key=len, reverse=True))
_YEAR, _DAY, _TWO = r"(?P<y>(?:19|20)\d\d)", r"(?P<d>\d\d?)", r"(?P<y>\d\d)"
_MONTH, _WORD = r"(?P<m>\d\d?)", rf"(?P<m>(?:{_NAME})(?![a-z]))"
_LATIN = rf"(?P<m>{'|'.join(sorted(_ROMAN, key=len, reverse=True))})"
_SIGNS, _ANY = r"[^a-z0-9]{1,3}", r"(?:[^a-z0-9]{0,3}|(?<=\d)(?:st|nd|rd|th) ?)"
_OF = rf"(?:{_ANY}(?:of|de|del)?{_ANY})"
_TIGHT = r"(?P<sign>[-./_ ])"

_FORMS = tuple(
    re.compile(rf"(?<!\d){form}(?!\d)")
    for form in (
        # With a year of four digits, and any signs between.
        rf"{_YEAR}{_SIGNS}{_MONTH}{_SIGNS}{_DAY}",
        rf"{_YEAR}{_SIGNS}{_DAY}{_SIGNS}{_MONTH}",
        rf"{_DAY}{_SIGNS}{_MONTH}{_SIGNS}{_YEAR}",
        rf"{_MONTH}{_SIGNS}{_DAY}{_SIGNS}{_YEAR}",
        rf"{_DAY}[-./_ ]{_LATIN}[-./_ ]{_YEAR}",
        # With a month in words.
        rf"{_DAY}{_OF}{_WORD}{_OF}{_YEAR}",
        rf"{_DAY}{_OF}{_WORD}{_OF}{_TWO}",
        rf"(?<![a-z]){_WORD}{_ANY}{_DAY}(?:st|nd|rd|th)?{_SIGNS}{_YEAR}",
        rf"(?<![a-z]){_WORD}{_ANY}(?P<d>\d\d){_YEAR}",
        rf"{_YEAR}{_ANY}{_WORD}{_ANY}{_DAY}",
        rf"(?<![a-z]){_WORD}{_ANY}{_YEAR}",
        # Two digits each, with one sign between.
        rf"(?P<d>\d\d){_TIGHT}(?P<m>\d\d)(?P=sign){_TWO}",
        rf"(?P<m>\d\d){_TIGHT}(?P<d>\d\d)(?P=sign){_TWO}",
        rf"{_TWO}{_TIGHT}(?P<m>\d\d)(?P=sign)(?P<d>\d\d)",
        # Digits alone, perhaps with a time.
        r"(?P<y>(?:19|20)\d\d)(?P<m>\d\d)(?P<d>\d\d)(?:\d{4}(?:\d\d)?)?",
        r"(?P<y>(?:19|20)\d\d)(?P<d>\d\d)(?P<m>\d\d)",
        r"(?P<d>\d\d)(?P<m>\d\d)(?P<y>(?:19|20)\d\d)",
        r"(?P<m>\d\d)(?P<d>\d\d)(?P<y>(?:19|20)\d\d)",
        r"(?P<y>\d\d)(?P<m>\d\d)(?P<d>\d\d)",
        r"(?P<d>\d\d)(?P<m>\d\d)(?P<y>\d\d)",
        r"(?P<m>\d\d)(?P<d>\d\d)(?P<y>\d\d)",
    )
)
_MOST_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_AGE = re.compile(r"0*(\d{1,3})([dwmy])")
_UNITS = {
    "d": "d|days?|tage?|jours?",
    "w": "w|weeks?|wochen?",
    "m": "m|mo|months?|monate?|mois",
    "y": "y|j|yo|yrs?|years?|jahre?|ans|anni|anos|jaar",
}


def _month(text: str) -> int:
    return int(text) if text.isdigit() else _NUMBER[text]


def _is_day(match: re.Match[str]) -> bool:
    parts = match.groupdict()
    month, day = _month(parts["m"]), int(parts.get("d") or 1)
    return 1 <= month <= 12 and 1 <= day <= _MOST_DAYS[month - 1]


def known(value: str) -> Iterator[Date]:
    """The dates of a value of type DA, DT or of the older form with points."""
    digits = re.sub(r"[.-]", "", value.strip())
    if re.match(r"(?:19|20)\d{6}", digits):
        date = int(digits[:4]), int(digits[4:6]), int(digits[6:8])
        if 1 <= date[1] <= 12 and 1 <= date[2] <= 31:
            yield date


def find(
    text: str, dates: Collection[Date] = (), ages: Collection[str] = ()
) -> Iterator[tuple[int, int]]:
    """Where in the folded `text` a date is, of any person; spans may overlap.

    Of the known `dates` also forms that alone could be something else: 4/2/50, 2/1950.
    `ages` are values of type AS, such as 075Y.
    """
    for form in _FORMS:
        match = form.search(text)
        while match:  # also from the middle of one that is no day
            if _is_day(match):
                yield match.span()
            match = form.search(text, match.start() + 1)
    for year, month, day in dates:
        y, m, d = rf"(?:{year}|{year % 100:02d})", f"0?{month}", f"0?{day}"
        orders = ((d, m, y), (m, d, y), (y, m, d), (m, str(year)), (str(year), m))
        for parts in orders:
            form = rf"(?<!\d){_SIGNS.join(parts)}(?!\d)"
            yield from (match.span() for match in re.finditer(form, text))
    for age in ages:
        if match := _AGE.fullmatch(age.strip().lower()):
            number, unit = match.groups()
            form = rf"(?<!\d)0*{number}[^a-z0-9]?(?:{_UNITS[unit]})(?![a-z])"
            yield from (match.span() for match in re.finditer(form, text))
