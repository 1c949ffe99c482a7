"""A user's own site, in a TOML or YAML file.

Input: a path. Output: a Site, or a ConfigError; `plain` gives the values of a Site.
docs/reference/site-files.md lists the keys; configs/sites/ has a site to copy.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mtl_jax.core import anatomy, documents, errors, metric_names

SUFFIXES = documents.TOML_OR_YAML
SITE_KEYS = ("name", "prescription_gy", "ct_offset_hu", "contoured", "structures")
STRUCTURE_KEYS = ("tg263", "aliases", "target_gy", "dvh", "volume_cc", "colour")

# For structures without their own colour; distinct for most eyes (Okabe and Ito).
COLOURS = (
    (0, 158, 115), (240, 228, 66), (86, 180, 233), (230, 159, 0), (204, 121, 167),
    (0, 114, 178), (153, 153, 153), (213, 94, 0), (148, 103, 189), (140, 86, 75),
    (255, 152, 150), (152, 223, 138), (158, 218, 229), (219, 219, 141), (247, 182, 210),
)  # fmt: skip


def read(path: Path) -> anatomy.Site:
    """The site that the file at `path` describes.

    Raises:
        ConfigError: it names the file, the structure and the expected value.
    """
    try:
        return parse(documents.read(path, SUFFIXES, ", ".join(SITE_KEYS)))
    except errors.ConfigError as error:
        raise errors.ConfigError(f"site file {path}: {error}") from None


def parse(content: Mapping[Any, Any]) -> anatomy.Site:
    """The site in a file's `content`; ConfigError if it is invalid."""
    _check_keys(content, SITE_KEYS, needed=tuple(set(SITE_KEYS) - {"ct_offset_hu"}))
    structures = _structures(content["structures"])
    contoured = _names(content["contoured"], "contoured")
    if not contoured:
        raise errors.ConfigError("contoured is empty: list the structures")
    by_name = {structure.name: structure for structure in structures}
    for name in contoured:
        if name not in by_name:
            raise errors.ConfigError(
                f"contoured has {name!r}, which is not one of the structures"
                f"{errors.nearest(name, by_name)}"
            )
    return anatomy.Site(
        name=_word(content["name"], "name"),
        structures=structures,
        contoured=contoured,
        prescription_gy=_positive(content["prescription_gy"], "prescription_gy"),
        ct_offset_hu=_number(content.get("ct_offset_hu", 0.0), "ct_offset_hu"),
        dose_metrics=anatomy.DOSE_METRICS,
        contour_metrics=anatomy.CONTOUR_METRICS,
        dose_table=tuple(
            (name, metric) for name in contoured for metric in by_name[name].dvh
        ),
    )


def plain(site: anatomy.Site) -> dict[str, Any]:
    """Plain values of `site`; `parse` is the inverse if it came from a file."""
    return {
        "name": site.name,
        "prescription_gy": site.prescription_gy,
        "ct_offset_hu": site.ct_offset_hu,
        "contoured": list(site.contoured),
        "structures": {s.name: _plain(s) for s in site.structures},
    }


def _plain(structure: anatomy.Structure) -> dict[str, Any]:
    values = {name: getattr(structure, name) for name in STRUCTURE_KEYS}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if value is not None
    }


def _structures(content: Any) -> tuple[anatomy.Structure, ...]:
    if not isinstance(content, Mapping) or not content:
        raise errors.ConfigError("structures should list names, each with its keys")
    if len(content) > anatomy.MOST_STRUCTURES:
        raise errors.ConfigError(
            f"structures has {len(content)} entries: give at most "
            f"{anatomy.MOST_STRUCTURES}"
        )
    made: list[anatomy.Structure] = []
    for name, values in content.items():
        _word(name, "the name of a structure")
        try:
            made.append(_structure(name, {} if values is None else values, len(made)))
        except errors.ConfigError as error:
            raise errors.ConfigError(f"structure {name}: {error}") from None
    sides = {structure.tg263: structure.name for structure in made}
    _check_unlike(made)
    return tuple(
        dataclasses.replace(s, mirror=sides.get(anatomy.opposite(s.tg263) or ""))
        for s in made
    )


def _structure(name: str, values: Any, position: int) -> anatomy.Structure:
    if not isinstance(values, Mapping):
        raise errors.ConfigError(f"should hold {', '.join(STRUCTURE_KEYS)}")
    _check_keys(values, STRUCTURE_KEYS)
    target, volume = values.get("target_gy"), values.get("volume_cc")
    if volume is not None:
        volume = _several(volume, "volume_cc", 2, "low and high", _positive)
        if volume[0] >= volume[1]:
            raise errors.ConfigError(
                f"volume_cc is {list(volume)}: give the lower volume first"
            )
    colour = values.get("colour", COLOURS[position])
    return anatomy.Structure(
        name=name,
        tg263=_word(values.get("tg263", name), "tg263"),
        colour=_several(colour, "colour", 3, "red, green, blue, 0 to 255", _channel),
        aliases=_names(values.get("aliases", []), "aliases"),
        target_gy=None if target is None else _positive(target, "target_gy"),
        dvh=_metrics(values.get("dvh", [])),
        volume_cc=volume,
    )


def _check_unlike(structures: Sequence[anatomy.Structure]) -> None:
    """ConfigError if two structures share a name."""
    known: dict[anatomy.Key, str] = {}
    for structure in structures:
        for key in structure.keys:
            other = known.setdefault(key, structure.name)
            if other != structure.name:
                raise errors.ConfigError(
                    f"structures {other} and {structure.name} share a name "
                    f"({key.letters}{key.side and f', side {key.side}'}): each needs "
                    "its own name, tg263 and aliases"
                )


def _check_keys(
    content: Mapping[Any, Any], known: tuple[str, ...], needed: tuple[str, ...] = ()
) -> None:
    for key in content:
        if key not in known:
            raise errors.ConfigError(
                f"unknown key {key!r}{errors.nearest(key, known)}; "
                f"there are {', '.join(known)}"
            )
    if missing := [key for key in known if key in needed and key not in content]:
        raise errors.ConfigError(f"lacks {', '.join(missing)}")


def _word(value: Any, key: str) -> str:
    """`value`, if it can be part of keys, columns and file names."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", value):
        raise errors.ConfigError(
            f"{key} is {value!r}: give a letter, then letters, digits, '_' and '-'"
        )
    return value


def _number(value: Any, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise errors.ConfigError(f"{key} is {value!r}: give a number")
    if not abs(value) < 1e9:
        raise errors.ConfigError(f"{key} is {value!r}: give a finite number")
    return float(value)


def _positive(value: Any, key: str) -> float:
    if not _number(value, key) > 0:
        raise errors.ConfigError(f"{key} is {value!r}: give a number above 0")
    return float(value)


def _channel(value: Any, key: str) -> int:
    if type(value) is not int or not 0 <= value <= 255:
        raise errors.ConfigError(f"{key} has {value!r}: give 0 to 255")
    return value


def _several(
    value: Any, key: str, count: int, words: str, each: Callable[[Any, str], Any]
) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple) or len(value) != count:
        raise errors.ConfigError(f"{key} is {value!r}: give [{words}]")
    return tuple(each(item, key) for item in value)


def _names(value: Any, key: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise errors.ConfigError(f"{key} should be a list of names")
    if repeated := [name for name in value if value.count(name) > 1]:
        raise errors.ConfigError(f"{key} has {repeated[0]!r} more than once")
    return tuple(value)


def _metrics(value: Any) -> tuple[str, ...]:
    for name in _names(value, "dvh"):
        metric_names.parse(name, "dvh")
    return tuple(value)
