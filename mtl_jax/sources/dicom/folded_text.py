"""Text in the one form in which names are compared, whatever the way to write them.

Input: text. Output: small letters without accents, in Latin letters where a plain
transcription is known, each with its place in the text that it comes from.
"""

import functools
import re
import unicodedata
from collections.abc import Iterator, Sequence

# Letters that Unicode does not decompose.
_LATIN = dict(zip("øłđðıŧħ", "olddith", strict=True))
_LATIN |= {"æ": "ae", "œ": "oe", "þ": "th"}
_CYRILLIC = dict(
    zip("абвгдезиклмнопрстуфыэієґ", "abvgdeziklmnoprstufyeieg", strict=True)
)
_CYRILLIC |= {"ж": "zh", "х": "kh", "ц": "ts", "ч": "ch", "ш": "sh", "щ": "shch"}
_CYRILLIC |= {"ъ": "", "ь": "", "ю": "yu", "я": "ya"}
_GREEK = dict(zip("αβγδεζηικλμνξοπρστυφχω", "abgdeziiklmnxoprstyfxo", strict=True))
_GREEK |= {"θ": "th", "ψ": "ps", "χ": "ch"}
_PLAIN = {**_LATIN, **_CYRILLIC, **_GREEK}
# A small letter before a capital, and letters beside digits.
_PARTS = re.compile(
    r"(?<=[^\W\d_A-Z])(?=[A-Z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])"
)
_BETWEEN = re.compile(r"[\W_]+")


def _fold(text: str) -> Iterator[tuple[str, int]]:
    """Signs of `text` as they are compared, each with its place."""
    for place, character in enumerate(text):
        if character.isascii():
            yield character.lower(), place
            continue
        for sign in unicodedata.normalize("NFKD", character).casefold():
            # Marks and signs without a width, such as a soft hyphen.
            if unicodedata.category(sign) not in ("Mn", "Mc", "Me", "Cf"):
                for plain in _PLAIN.get(sign, sign):
                    yield plain, place


def fold(text: str) -> str:
    """`text` as it is compared.

    >>> fold("MÜLLER-Øß")
    'muller-oss'
    """
    return "".join(sign for sign, _ in _fold(text))


def without_transcriptions(text: str) -> str:
    """Folded text with a, o, u for ae, oe, ue: `Mueller` is then `Müller` too."""
    return re.sub("(?<=[aou])e", "", text)


def spellings(value: str) -> set[str]:
    """`value`, and as a system has it that takes UTF-8 for Latin-1, or drops signs."""
    value = unicodedata.normalize("NFC", value)
    made = {value, re.sub(r"[^\x00-\x7f]", "", value)}
    for written, read in (("utf-8", "latin-1"), ("latin-1", "utf-8")):
        try:
            made.add(value.encode(written).decode(read))
        except UnicodeError:
            continue
    return made


def whole_words(value: str) -> list[str]:
    """The words of `value`, folded."""
    return [word for word in _BETWEEN.split(fold(value)) if word]


def words(value: str) -> set[str]:
    """The words of `value`, and longer parts of these: `QX778123` has `778123`."""
    found = set(whole_words(value))
    for word in _BETWEEN.split(value):
        parts = map(fold, _PARTS.split(word))
        found |= {part for part in parts if len(part) >= 4}
    return found


class Folded:
    """A text as it is compared, with the way back."""

    def __init__(
        self, original: str, signs: Sequence[tuple[str, int]] | None = None
    ) -> None:
        """Fold `original`, or take its folded `signs` with their places."""
        signs = list(_fold(original)) if signs is None else signs
        self.original = original
        self.text = "".join(sign for sign, _ in signs)
        self._places = [place for _, place in signs]

    def without_transcriptions(self) -> "Folded":
        """The same with a, o, u for ae, oe, ue."""
        signs = list(zip(self.text, self._places, strict=True))
        kept = [
            (sign, place)
            for before, (sign, place) in zip(f" {self.text}", signs, strict=False)
            if not (sign == "e" and before in "aou")
        ]
        return Folded(self.original, kept)

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where `text[start:end]` is in the original, with marks that belong to it."""
        last = self._places[end - 1] + 1
        while last < len(self.original) and not list(_fold(self.original[last])):
            last += 1
        return self._places[start], last

    @functools.cached_property
    def compact(self) -> "Compact":
        """The letters and digits alone."""
        kept = [i for i, sign in enumerate(self.text) if sign.isalnum()]
        return Compact("".join(self.text[i] for i in kept), kept, self.text)

    def tokens(self) -> Iterator[tuple[int, int]]:
        """Spans of words: of letters and digits, of letters alone, of camel case."""
        for match in re.finditer(r"[^\W_]+|[^\W\d_]+", self.text):
            yield match.span()
            bounds = [match.start(), *self._inner(*match.span()), match.end()]
            for number, start in enumerate(bounds):
                yield from ((start, end) for end in bounds[number + 1 :])

    def _inner(self, start: int, end: int) -> Iterator[int]:
        """Where a part begins inside a word: at a digit, a letter or a capital."""
        for i in range(start + 1, end):
            before, here = self._sign(i - 1), self._sign(i)
            after = self._sign(i + 1) if i + 1 < end else ""
            new_kind = before.isdigit() != here.isdigit()
            capital = here.isupper() and (before.islower() or after.islower())
            if new_kind or capital:
                yield i

    def _sign(self, index: int) -> str:
        return self.original[self._places[index]]


class Compact:
    """The letters and digits of a folded text, with the way back to it."""

    def __init__(self, text: str, places: list[int], outer_text: str) -> None:
        self.text = text
        self._places = places
        self._outer = outer_text

    def outer(self, start: int, end: int) -> tuple[int, int]:
        """Where `text[start:end]` is in the folded text."""
        return self._places[start], self._places[end - 1] + 1

    def is_one_piece(self, start: int, end: int) -> bool:
        """Whether nothing is between the signs."""
        first, last = self.outer(start, end)
        return last - first == end - start

    def is_in_number(self, start: int, end: int) -> bool:
        """Whether a digit is directly before or after."""
        first, last = self.outer(start, end)
        return self._outer[max(first - 1, 0) : first].isdigit() or (
            self._outer[last : last + 1].isdigit()
        )
