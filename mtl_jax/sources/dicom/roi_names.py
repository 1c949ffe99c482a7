"""Assigns the ROIs of a structure set to the structures of a site, by name.

Input: the ROI names of an RTSTRUCT, and a user's mapping, if there is one. Output: the
ROI of each structure, and the unused ROIs. Whole names are compared, never parts of
them: a margin (PRV), a ring or `Rectum_opt` is no rectum.
"""

import dataclasses
import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import yaml

from mtl_jax.core import anatomy, documents, errors, sites

# ROI name -> structure of the site, or None: it is none of them.
Mapped = Mapping[str, str | None]
# An ROI's name -> the name as messages show it.
Shown = Callable[[str], str]

# A target by its type and dose: PTV_6000, PTV 60, ptv60Gy (TG-263 has cGy).
_DOSED = re.compile(r"([A-Z]*TV)[ _]*(?:(\d+(?:\.\d+)?)[ _]*(C?GY)?)?", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Assigned:
    """The ROIs of one structure set that are structures of a site."""

    structures: dict[str, str]  # structure name -> ROI name as in the file
    unused: tuple[str, ...]  # ROIs that match no structure and are not in the mapping

    def require(self, required: Iterable[str], shown: Shown = str) -> "Assigned":
        """Itself; a SourceError if one of the structures `required` has no ROI.

        `shown` makes of an ROI's name what the message has in its place.
        """
        missing = [name for name in required if name not in self.structures]
        unused = [shown(name) for name in self.unused]
        if missing:
            raise errors.SourceError(
                f"no ROI is called {', '.join(missing)}. "
                f"{_unmatched_rois(unused)}. If one of them is {missing[0]}, add "
                "this line to the mapping file: "
                f"{_line(_nearest(missing[0], unused) or 'NAME', missing[0])}"
            )
        return self


def assign(
    names: Sequence[str],
    site: sites.Site,
    mapping: Mapped | None = None,
    shown: Shown = str,
) -> Assigned:
    """The ROI of each structure of `site` among the `names` of one structure set.

    The mapping comes first. A structure that it does not assign is the ROI with exactly
    its TG-263 name, else with another of its names (core/sites), whatever the case, the
    signs between words and the position of the side. ROIs of the mapping need not be
    among `names`: one file serves a whole cohort. `shown` makes of an ROI's name what
    messages have in its place.

    Raises:
        SourceError: two ROIs claim one structure, or the mapping names a structure that
            the site does not have; with the names found, and what to write.
    """
    mapping = {} if mapping is None else mapping
    _check_structures(mapping, site)
    unmapped = [name for name in names if name not in mapping]
    chosen: dict[str, str] = {}
    clashes: dict[str, list[str]] = {}
    for structure in site.structures:
        mapped = [name for name in names if mapping.get(name) == structure.name]
        exact = [name for name in unmapped if name == structure.tg263]
        similar = [name for name in unmapped if _is(name, structure, site)]
        matches = mapped or exact or similar
        if len(matches) > 1:
            clashes[structure.name] = matches
        elif matches:
            chosen[structure.name] = matches[0]
    if clashes:
        raise errors.SourceError(_ambiguous(clashes, names, shown))
    used = set(chosen.values())
    return Assigned(chosen, tuple(name for name in unmapped if name not in used))


def by_name(name: str, site: sites.Site) -> str | None:
    """The structure that an ROI called `name` is without a mapping; None if none."""
    for structure in site.structures:
        if name == structure.tg263:
            return structure.name
    for structure in site.structures:
        if _is(name, structure, site):
            return structure.name
    return None


def _is(name: str, structure: sites.Structure, site: sites.Site) -> bool:
    key = anatomy.key(name)
    return key in structure.keys or _is_target(name, structure, site)


def _is_target(name: str, structure: sites.Structure, site: sites.Site) -> bool:
    """Whether `name` is the target's type and dose, or a type that no other has."""
    target, match = _DOSED.fullmatch(structure.tg263), _DOSED.fullmatch(name.strip())
    if structure.target_gy is None or not target or not match:
        return False
    kind, dose, unit = match.groups()
    if kind.upper() != target[1].upper():
        return False
    if dose is None:
        targets = [_DOSED.fullmatch(other.tg263) for other in site.structures]
        return [m[1].upper() for m in targets if m].count(kind.upper()) == 1
    scales = {None: (1, 100), "GY": (1,), "CGY": (100,)}[unit and unit.upper()]
    return any(abs(float(dose) - structure.target_gy * s) < 1e-6 for s in scales)


def load_mapping(path: Path, site: sites.Site) -> dict[str, str | None]:
    """The mapping in a YAML or JSON file: ROI names, each with a structure or null.

    Raises:
        ConfigError: the file cannot be read, names an ROI twice, holds something else
            than names, or a structure that `site` does not have.
    """
    try:
        content = documents.read(path, documents.YAML_OR_JSON, "ROI names")
        for name, structure in content.items():
            if not isinstance(name, str):
                raise errors.ConfigError(f"{name!r} should be a name: put it in quotes")
            if structure is not None and not isinstance(structure, str):
                raise errors.ConfigError(
                    f"{_quoted(name)} has {structure!r}: give one of "
                    f"{', '.join(site.names)}, or null for none of them"
                )
        _check_structures(content, site)
    except errors.MtlError as error:
        raise errors.ConfigError(f"mapping file {path}: {error}") from None
    return {unicodedata.normalize("NFC", name): of for name, of in content.items()}


def unmatched(mapping: Mapped, names: Iterable[str]) -> tuple[str, ...]:
    """ROIs of the mapping that no patient of a cohort has: perhaps misspelt."""
    known = set(names)
    return tuple(name for name in mapping if name not in known)


def survey(counts: Mapping[str, int], site: sites.Site) -> str:
    """A mapping file to fill in, from the number of patients with each ROI name.

    Every line is a comment: unedited, the file changes nothing.
    """
    matches = {name: by_name(name, site) for name in counts}
    by_count = sorted(counts, key=lambda name: (-counts[name], name))
    lines = [
        f"# ROI names of a cohort, and their structures of site {site.name}:",
        f"# {', '.join(site.names)}.",
        "# Remove the # from lines that are to apply. null: none of these structures.",
        "",
        "# Recognised:",
        *(
            _commented(name, matches[name], counts)
            for name in by_count
            if matches[name]
        ),
        "",
        "# Not known; a structure other than null is a guess:",
    ]
    for name in by_count:
        if not matches[name]:
            guess = _nearest(name, site.names)
            lines.append(_commented(name, guess, counts))
    return "\n".join(lines) + "\n"


def _commented(name: str, structure: str | None, counts: Mapping[str, int]) -> str:
    number = counts[name]
    patients = "1 patient" if number == 1 else f"{number} patients"
    return f"# {_line(name, structure)}  # {patients}"


def _line(name: str, structure: str | None) -> str:
    """A line of a mapping file."""
    return f"{_quoted(name)}: {structure or 'null'}"


def _quoted(name: str) -> str:
    """A name as YAML and a message show it, on one line."""
    text = yaml.safe_dump(
        name, default_style='"', allow_unicode=True, width=float("inf")
    )
    return text.strip()


def _nearest(name: str, candidates: Sequence[str]) -> str | None:
    """The most similar of `candidates`, whatever its case."""
    by_casefold = {candidate.casefold(): candidate for candidate in candidates}
    close = difflib.get_close_matches(name.casefold(), by_casefold, n=1, cutoff=0.5)
    return by_casefold[close[0]] if close else None


def _unmatched_rois(names: Sequence[str]) -> str:
    listing = ", ".join(_quoted(name) for name in names)
    return f"ROIs that match nothing: {listing or 'none'}"


def _check_structures(mapping: Mapped, site: sites.Site) -> None:
    for name, structure in mapping.items():
        if structure is not None and structure not in site.names:
            raise errors.SourceError(
                f"{_quoted(name)} is mapped to {structure!r}, which site "
                f"{site.name} does not have{errors.nearest(structure, site.names)}; "
                f"it has {', '.join(site.names)}"
            )


def _ambiguous(
    clashes: Mapping[str, Sequence[str]], names: Sequence[str], shown: Shown
) -> str:
    texts = []
    for structure, matches in clashes.items():
        quoted = ", ".join(_quoted(shown(name)) for name in matches)
        if len(set(matches)) < len(matches):
            texts.append(
                f"several ROIs of one name are {structure} ({quoted}): rename or "
                "remove all but one"
            )
            continue
        lines = ", ".join(_line(shown(name), None) for name in matches[1:])
        texts.append(
            f"{len(matches)} ROIs are {structure} ({quoted}): leave one, for example "
            f"by a mapping file with {lines}"
        )
    listing = ", ".join(_quoted(shown(name)) for name in names)
    return f"{'; '.join(texts)}. ROIs found: {listing}"
