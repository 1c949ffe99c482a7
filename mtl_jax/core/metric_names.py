"""Names of metrics: what one may be called, what it means, and its unit.

A DVH metric carries its dialect: `openkbp:D_0.1cc`, `exact:D_95`, `exact:V_20Gy`. What
the dialects are is in metrics/dvh; docs/reference/metrics.md defines them all.
"""

import dataclasses
import functools
import re
from typing import Literal

from mtl_jax.core import errors

About = Literal["patient", "dvh", "contours"]

DIALECTS = ("openkbp", "exact")


@dataclasses.dataclass(frozen=True)
class Metric:
    """A parsed name."""

    name: str
    about: About  # the dose in the whole patient, in a structure, or contours
    kind: str  # the name without dialect and number, such as D_cc
    amount: float  # the number in the name; 0 where it has none
    unit: str  # of the metric's value: Gy, %, mm, px, 1
    dialect: str = ""  # of DVH metrics


@dataclasses.dataclass(frozen=True)
class _Form:
    """A family of names that differ by a number."""

    about: About
    kind: str
    pattern: str  # {} stands for the number
    unit: str
    most: float = float("inf")  # the largest number that makes sense
    examples: tuple[str, ...] = ()  # numbers, to suggest a name


_FORMS = (
    _Form("patient", "dose_error", "dose_error", "Gy"),
    _Form("patient", "dose_mae_body", "dose_mae_body", "Gy"),
    _Form("patient", "dose_mae_isodose", "dose_mae_{}gy", "Gy", examples=("5",)),
    _Form("dvh", "D_mean", "D_mean", "Gy"),
    _Form("dvh", "D_max", "D_max", "Gy"),
    _Form("dvh", "D_min", "D_min", "Gy"),
    _Form("dvh", "D_percent", "D_{}", "Gy", 100, ("1", "2", "50", "95", "98", "99")),
    _Form("dvh", "D_cc", "D_{}cc", "Gy", examples=("0.1", "1", "2")),
    _Form("dvh", "V_Gy", "V_{}Gy", "%", examples=("20", "30")),
    _Form("contours", "dice", "dice", "1"),
    _Form("contours", "hd100", "hd100", "mm"),
    _Form("contours", "hd95", "hd95", "mm"),
    _Form("contours", "hd100_volumes", "hd100_volumes", "mm"),
    _Form("contours", "surface_dice", "surface_dice_{}mm", "1", examples=("2",)),
    _Form("contours", "hd100_slices", "hd100_slices", "px"),
)


@functools.cache
def parse(name: str, about: About) -> Metric:
    """What `name` means; a ConfigError says what such names look like."""
    dialect, _, bare = name.rpartition(":")
    if (dialect in DIALECTS) if about == "dvh" else not dialect:
        for form in _FORMS:
            match = re.fullmatch(form.pattern.format(r"(\d+(?:\.\d+)?)"), bare)
            if form.about != about or match is None:
                continue
            amount = float(match[1]) if match.groups() else 0.0
            if amount > form.most or (form.kind == "D_cc" and amount == 0):
                break
            return Metric(name, about, form.kind, amount, form.unit, dialect)
    raise errors.ConfigError(
        f"unknown metric {name!r}{errors.nearest(name, known(about))}; "
        f"there are {forms(about)}"
    )


def forms(about: About) -> str:
    """What names look like, with X for a number."""
    patterns = [form.pattern.format("X") for form in _FORMS if form.about == about]
    if about == "dvh":
        patterns[-1] += f", each after {' or '.join(f'{d}:' for d in DIALECTS)}"
    return ", ".join(patterns)


def known(about: About) -> list[str]:
    """Names to choose from: every form, those with a number for common numbers."""
    names = [
        form.pattern.format(number)
        for form in _FORMS
        if form.about == about
        for number in form.examples or ("",)
    ]
    if about != "dvh":
        return names
    return [f"{dialect}:{name}" for dialect in DIALECTS for name in names]
