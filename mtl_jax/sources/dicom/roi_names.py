"""Which ROI of a structure set is which structure of a site, by name.

Input: the ROI names of an RTSTRUCT, and a user's mapping, if there is one. Output: the
ROI of each structure, and the unused ROIs. Whole names are compared, never parts of
them: a margin (PRV), a ring or `Rectum_opt` is no rectum.
"""

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import yaml

from mtl_jax.core import anatomy, documents, errors, sites

# ROI name -> structure of the site, or None: it is none of them.
Mapped = Mapping[str, str | None]

# A target by its type and dose: PTV_6000, PTV 60, ptv60Gy (TG-263 has cGy).
_DOSED = re.compile(r"([A-Z]*TV)[ _]*(?:(\d+(?:\.\d+)?)[ _]*(C?GY)?)?", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Assigned:
    """The ROIs of one structure set that are structures of a site."""

    structures: dict[str, str]  # structure name -> ROI name as in the file
    unused: tuple[str, ...]  # ROIs that match no structure and are not in the mapping

    def require(self, wanted: Iterable[str]) -> "Assigned":
        """Itself; a SourceError if one of the structures `wanted` has no ROI."""
        missing = [name for name in wanted if name not in self.structures]
        if missing:
            raise errors.SourceError(
                f"no ROI is called {', '.join(missing)}. {_found(self.unused)}. If one "
                f"of them is {missing[0]}, write so in the mapping file: "
                f"{_line(_nearest(missing[0], self.unused) or 'NAME', missing[0])}"
            )
        return self


def assign(
    names: Sequence[str], site: sites.Site, mapping: Mapped | None = None
) -> Assigned:
    """The ROI of each structure of `site` among the `names` of one structure set.

    The mapping comes first. What it leaves open is the ROI with exactly the structure's
    TG-263 name, else the one with another of its names (core/sites) whatever its case,
    its signs between words and the place of its side. ROIs of the mapping need not be
    among `names`: one file serves a whole cohort.

    Raises:
        SourceError: two ROIs claim one structure, or the mapping names a structure that
            the site does not have; with the names found, and what to write.
    """
    mapping = {} if mapping is None else mapping
    _check_structures(mapping, site)
    free = [name for name in names if name not in mapping]
    chosen: dict[str, str] = {}
    clashes: dict[str, list[str]] = {}
    for structure in site.structures:
        mapped = [name for name in names if mapping.get(name) == structure.name]
        exact = [name for name in free if name == structure.tg263]
        alike = [name for name in free if _is(name, structure, site)]
        claims = mapped or exact or alike
        if len(claims) > 1:
            clashes[structure.name] = claims
        elif claims:
            chosen[structure.name] = claims[0]
    if clashes:
        raise errors.SourceError(_ambiguous(clashes, names))
    taken = set(chosen.values())
    return Assigned(chosen, tuple(name for name in free if name not in taken))


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
    """Whether `name` is the target's type and dose; or its type, if no other has it."""
    own, given = _DOSED.fullmatch(structure.tg263), _DOSED.fullmatch(name.strip())
    if structure.target_gy is None or not own or not given:
        return False
    kind, dose, unit = given.groups()
    if kind.upper() != own[1].upper():
        return False
    if dose is None:
        kinds = [_DOSED.fullmatch(one.tg263) for one in site.structures]
        return [one[1].upper() for one in kinds if one].count(kind.upper()) == 1
    scales = {None: (1, 100), "GY": (1,), "CGY": (100,)}[unit and unit.upper()]
    return any(abs(float(dose) - structure.target_gy * one) < 1e-6 for one in scales)


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
    return dict(content)


def unmatched(mapping: Mapped, names: Iterable[str]) -> tuple[str, ...]:
    """ROIs of the mapping that no patient of a cohort has: perhaps misspelt."""
    known = set(names)
    return tuple(name for name in mapping if name not in known)


def survey(counts: Mapping[str, int], site: sites.Site) -> str:
    """A mapping file to fill in, from how many patients have each ROI name.

    Every line is a comment, so that the file as it stands changes nothing.
    """
    known = {name: by_name(name, site) for name in counts}
    often = sorted(counts, key=lambda name: (-counts[name], name))
    lines = [
        f"# ROI names of a cohort, and the structures of site {site.name} that they "
        "are:",
        f"# {', '.join(site.names)}.",
        "# Take the # off a line to have it your way; null: it is none of them.",
        "",
        "# Taken by their names:",
        *(_commented(name, known[name], counts) for name in often if known[name]),
        "",
        "# Not known; where something stands beside one, it is a guess:",
    ]
    for name in often:
        if not known[name]:
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
    written = yaml.safe_dump(
        name, default_style='"', allow_unicode=True, width=float("inf")
    )
    return written.strip()


def _nearest(name: str, among: Sequence[str]) -> str | None:
    """The most similar of `among`, its case left aside."""
    folded = {one.casefold(): one for one in among}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    return folded[close[0]] if close else None


def _found(names: Sequence[str]) -> str:
    shown = ", ".join(_quoted(name) for name in names)
    return f"ROIs that match nothing: {shown or 'none'}"


def _check_structures(mapping: Mapped, site: sites.Site) -> None:
    for name, structure in mapping.items():
        if structure is not None and structure not in site.names:
            raise errors.SourceError(
                f"{_quoted(name)} is mapped to {structure!r}, which site "
                f"{site.name} does not have{errors.nearest(structure, site.names)}; "
                f"it has {', '.join(site.names)}"
            )


def _ambiguous(clashes: Mapping[str, Sequence[str]], names: Sequence[str]) -> str:
    texts = []
    for structure, claims in clashes.items():
        claimed = ", ".join(_quoted(name) for name in claims)
        if len(set(claims)) < len(claims):
            texts.append(
                f"several ROIs of one name are {structure} ({claimed}): rename or "
                "remove all but one"
            )
            continue
        other = ", ".join(_line(name, None) for name in claims[1:])
        texts.append(
            f"{len(claims)} ROIs are {structure} ({claimed}): leave one, by a mapping "
            f"file with {other}, say"
        )
    shown = ", ".join(_quoted(name) for name in names)
    return f"{'; '.join(texts)}. ROIs found: {shown}"
