"""Records of a treatment site and its structures, and how their names are compared.

The sites themselves are in core/sites; core/site_files reads a user's own.
"""

import dataclasses
import re
from typing import NamedTuple

from mtl_jax.core import errors

# Bits of core/records.Example.masks, without that of the possible-dose mask.
MOST_STRUCTURES = 15

# Reported for every site, unless a file says otherwise (core/reported_metrics).
CONTOUR_METRICS = ("dice", "hd100", "hd95", "surface_dice_2mm", "hd100_slices")
GAMMA_METRICS = (
    "gamma_2pct_2mm_global",
    "gamma_2pct_2mm_local",
    "gamma_3pct_3mm_global",
    "gamma_3pct_3mm_local",
)
BAND_METRICS = (
    "dose_mae_10to30pct",
    "dose_mae_30to50pct",
    "dose_mae_50to70pct",
    "dose_mae_70to90pct",
    "dose_mae_from90pct",
    "dose_mae_from5mm_inside",
    "dose_mae_0to5mm_inside",
    "dose_mae_0to5mm_outside",
    "dose_mae_5to10mm_outside",
    "dose_mae_10to20mm_outside",
    "dose_mae_20to40mm_outside",
    "dose_mae_from40mm_outside",
)
DOSE_METRICS = (
    "dose_error", "dose_mae_body", "dose_mae_5gy", *GAMMA_METRICS, *BAND_METRICS
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Structure:
    """A contoured region: an organ at risk (OAR) or a target (PTV)."""

    name: str
    tg263: str  # name after AAPM TG-263
    colour: tuple[int, int, int]  # RGB, 0 to 255, in pictures and RTSTRUCT
    aliases: tuple[str, ...] = ()  # other names, compared by `key`
    target_gy: float | None = None  # prescription of a target; None: an OAR
    mirror: str | None = None  # the structure on the other side, if any
    dvh: tuple[str, ...] = ()  # DVH metrics that are reported
    # Plausible volumes, low and high, in cubic centimetres; None: not known.
    volume_cc: tuple[float, float] | None = None

    @property
    def keys(self) -> frozenset["Key"]:
        """The keys of all its names."""
        keys = (key(name) for name in (self.name, self.tg263, *self.aliases))
        return frozenset(k for k in keys if k)


@dataclasses.dataclass(frozen=True)
class Site:
    """A treatment site."""

    name: str
    structures: tuple[Structure, ...]  # stored, in this order
    contoured: tuple[str, ...]  # by the paper's networks, in this order
    prescription_gy: float  # networks predict dose / prescription
    ct_offset_hu: float  # stored CT value = HU + offset
    dose_metrics: tuple[str, ...] = ()  # reported of the dose in the whole patient
    contour_metrics: tuple[str, ...] = ()  # reported of each contoured structure
    # Rows of the paper's table of DVH errors: structure and metric, in its order.
    dose_table: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(structure.name for structure in self.structures)

    def mirrored(self, names: tuple[str, ...]) -> list[int]:
        """For each of `names`, the position of its mirror among them, or its own.

        Raises:
            ConfigError: a structure's mirror is not among them.
        """
        mirrors = [self.structure(name).mirror or name for name in names]
        if missing := [mirror for mirror in mirrors if mirror not in names]:
            raise errors.ConfigError(
                f"left and right cannot swap: {', '.join(missing)} is not among "
                f"{', '.join(names)}; add it to data.structures"
            )
        return [names.index(mirror) for mirror in mirrors]

    def structure(self, name: str) -> Structure:
        """The structure called `name`; a ConfigError names the nearest one."""
        for structure in self.structures:
            if structure.name == name:
                return structure
        raise errors.ConfigError(
            f"site {self.name} has no structure {name!r}"
            f"{errors.nearest(name, self.names)}; it has {', '.join(self.names)}"
        )


class Key(NamedTuple):
    """The part of a name that is compared."""

    letters: str  # and digits, without case
    side: str  # L, R or nothing


_SIDES = {"l": "L", "lt": "L", "left": "L", "r": "R", "rt": "R", "right": "R"}
# Separators of words. Names with other characters are other structures: in TG-263, ~
# marks a part, a leading _ an optimisation structure, ! and ^ cuts and versions.
_BETWEEN = re.compile(r"[\s_.,()/-]+")
# A small letter before a capital, and the last of several capitals before a small one.
_CAMEL = re.compile(
    r"(?<=[a-zß-öø-ÿ])(?=[A-ZÀ-ÖØ-Þ])|(?<=[A-ZÀ-ÖØ-Þ])(?=[A-ZÀ-ÖØ-Þ][a-zß-öø-ÿ])"
)


def key(name: str) -> Key | None:
    """The letters and digits of `name` without case, and its side; None if it has none.

    `Left Femur`, `FEMUR_LT` and `femurL` have the same key; L, Lt, Left (R, Rt, Right)
    are a side as the first or last word. `_Femur_L`, `~Femur_L`, `Femur_L!` have none.
    """
    spaced = _CAMEL.sub(" ", name.strip())
    words = [word.casefold() for word in _BETWEEN.split(spaced) if word]
    if not words or name.strip().startswith("_") or not all(map(str.isalnum, words)):
        return None
    side = ""
    for end in (-1, 0):
        if len(words) > 1 and words[end] in _SIDES:
            side += _SIDES[words.pop(end)]
    return Key("".join(words), side)


def opposite(tg263: str) -> str | None:
    """The TG-263 name of the other side; None if the name has no side."""
    swapped = {"_L": "_R", "_R": "_L"}.get(tg263[-2:])
    return swapped and tg263[:-2] + swapped
