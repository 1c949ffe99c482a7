"""Names of metrics: their spelling, their meaning and their unit.

Input: a name from a template or a file. Output: a Metric, or a ConfigError. `FORMS` is
the table of all names; the rule that computes a form stands under the same key in
`metrics/dose_metrics`, `metrics/dvh`, `metrics/target_coverage` or
`metrics/contour_metrics`.

A DVH metric carries its dialect: `openkbp:D_0.1cc`, `exact:D_95`, `exact:V_20Gy`. One
relative to a target's prescription has `target:` there: `target:D_95`, `target:HI`.
metrics/dvh explains the dialects; docs/reference/metrics.md defines all metrics.
"""

import dataclasses
import functools
import re
from typing import Literal

from mtl_jax.core import errors

# The dose in the whole patient, the dose in a structure, or a structure's contours.
Scope = Literal["patient", "dvh", "contours"]

DIALECTS = ("openkbp", "exact")
TARGET = "target"


@dataclasses.dataclass(frozen=True)
class Form:
    """One metric, or a family of metrics that differ by a number."""

    scope: Scope
    pattern: str  # of the name; {} stands for a number
    unit: str  # of the metric's value: Gy, %, mm, px, 1
    title: str = ""  # in tables; "": the name itself
    higher_is_better: bool = False  # then a perfect prediction has 1 (100 %), else 0
    most: float = float("inf")  # the largest number that makes sense
    zero: bool = True  # whether the number may be 0
    examples: tuple[str, ...] = ()  # numbers, apart by blanks, to suggest a name
    of_target: bool = False  # among DVH metrics: `target:` replaces the dialect
    slow: bool = False  # computed of the dose as configured, not of its variants

    @property
    def names(self) -> list[str]:
        """Names to choose from, without a dialect; with numbers, the common ones."""
        return [self.pattern.format(*n.split()) for n in self.examples or ("",)]

    @property
    def numbers(self) -> int:
        """How many numbers the name has."""
        return self.pattern.count("{}")

    @property
    def perfect(self) -> float:
        """The value of a perfect prediction, of a metric that has no reference."""
        return (100.0 if self.unit == "%" else 1.0) if self.higher_is_better else 0.0


# By kind, in the order in which messages list them.
FORMS = {
    "dose_error": Form("patient", "dose_error", "Gy"),
    "dose_mae_body": Form("patient", "dose_mae_body", "Gy"),
    "dose_mae_isodose": Form("patient", "dose_mae_{}gy", "Gy", examples=("5",)),
    "dose_mae_band": Form(
        "patient",
        "dose_mae_{}to{}pct",
        "Gy",
        "{} to {} % of the prescription",
        examples=("10 30", "30 50", "50 70", "70 90"),
        slow=True,
    ),
    "dose_mae_top_band": Form(
        "patient",
        "dose_mae_from{}pct",
        "Gy",
        "from {} % of the prescription",
        examples=("90",),
        slow=True,
    ),
    "dose_mae_inside": Form(
        "patient",
        "dose_mae_{}to{}mm_inside",
        "Gy",
        "{} to {} mm inside the targets",
        examples=("0 5",),
        slow=True,
    ),
    "dose_mae_far_inside": Form(
        "patient",
        "dose_mae_from{}mm_inside",
        "Gy",
        "from {} mm inside the targets",
        examples=("5",),
        slow=True,
    ),
    "dose_mae_outside": Form(
        "patient",
        "dose_mae_{}to{}mm_outside",
        "Gy",
        "{} to {} mm outside the targets",
        examples=("0 5", "5 10", "10 20", "20 40"),
        slow=True,
    ),
    "dose_mae_far_outside": Form(
        "patient",
        "dose_mae_from{}mm_outside",
        "Gy",
        "from {} mm outside the targets",
        examples=("40",),
        slow=True,
    ),
    "gamma_global": Form(
        "patient",
        "gamma_{}pct_{}mm_global",
        "%",
        "Gamma, {} % / {} mm, global",
        higher_is_better=True,
        zero=False,
        examples=("2 2", "3 3"),
        slow=True,
    ),
    "gamma_local": Form(
        "patient",
        "gamma_{}pct_{}mm_local",
        "%",
        "Gamma, {} % / {} mm, local",
        higher_is_better=True,
        zero=False,
        examples=("2 2", "3 3"),
        slow=True,
    ),
    "D_mean": Form("dvh", "D_mean", "Gy"),
    "D_max": Form("dvh", "D_max", "Gy"),
    "D_min": Form("dvh", "D_min", "Gy"),
    "D_percent": Form(
        "dvh", "D_{}", "Gy", most=100, examples=("1", "2", "50", "95", "98", "99")
    ),
    "D_cc": Form("dvh", "D_{}cc", "Gy", zero=False, examples=("0.1", "1", "2")),
    "V_Gy": Form("dvh", "V_{}Gy", "%", examples=("20", "30")),
    "coverage": Form(
        "dvh", "D_{}", "%", most=100, examples=("95", "98"), of_target=True
    ),
    "homogeneity": Form("dvh", "HI", "1", of_target=True),
    "conformity": Form("dvh", "CI", "1", of_target=True),
    "dice": Form("contours", "dice", "1", "Dice", higher_is_better=True),
    "hd100": Form("contours", "hd100", "mm", "Hausdorff distance"),
    "hd95": Form("contours", "hd95", "mm", "95 % Hausdorff distance"),
    "hd100_volumes": Form("contours", "hd100_volumes", "mm"),
    "surface_dice": Form(
        "contours",
        "surface_dice_{}mm",
        "1",
        "Surface Dice at {} mm",
        higher_is_better=True,
        examples=("2",),
    ),
    "hd100_slices": Form(
        "contours", "hd100_slices", "px", "Hausdorff distance, mean over slices"
    ),
}


@dataclasses.dataclass(frozen=True)
class Metric:
    """A parsed name."""

    name: str
    kind: str  # the key of FORMS
    form: Form
    amounts: tuple[float, ...] = ()  # the numbers in the name
    dialect: str = ""  # of DVH metrics

    @property
    def amount(self) -> float:
        """The first number in the name; 0 where it has none."""
        return self.amounts[0] if self.amounts else 0.0

    @property
    def unit(self) -> str:
        """Of the metric's value: Gy, %, mm, px, 1."""
        return self.form.unit

    @property
    def title(self) -> str:
        """The metric as tables call it."""
        title = self.form.title.format(*(f"{a:g}" for a in self.amounts))
        return title or self.name


@functools.cache
def parse(name: str, scope: Scope) -> Metric:
    """The metric called `name`; a ConfigError says what such names look like.

    >>> metric = parse("exact:V_20Gy", "dvh")
    >>> metric.kind, metric.amount, metric.unit, metric.dialect
    ('V_Gy', 20.0, '%', 'exact')
    """
    dialect, _, bare = name.rpartition(":")
    if dialect in _dialects(scope):
        for kind, form in FORMS.items():
            if form.of_target != (dialect == TARGET):
                continue
            numbers = [r"(\d+(?:\.\d+)?)"] * form.numbers
            match = re.fullmatch(form.pattern.format(*numbers), bare)
            if form.scope != scope or match is None:
                continue
            amounts = tuple(float(number) for number in match.groups())
            if any(a > form.most or (a == 0 and not form.zero) for a in amounts):
                break
            return Metric(name, kind, form, amounts, dialect)
    raise errors.ConfigError(
        f"unknown metric {name!r}{errors.nearest(name, known(scope))}; "
        f"there are {patterns(scope)}"
    )


def _dialects(scope: Scope) -> tuple[str, ...]:
    return (*DIALECTS, TARGET) if scope == "dvh" else ("",)


def is_of_contours(structure: str, name: str) -> bool:
    """Whether the metric `name` of `structure` is one of contours, not of a dose."""
    return bool(structure) and ":" not in name


def is_score(structure: str, name: str) -> bool:
    """Whether a row of `name` is summarised by its value, not by its error.

    These are the metrics that have no value of their own for the reference.
    """
    if is_of_contours(structure, name):
        return True
    found = "" if structure else kind(name, "patient")
    return bool(found) and FORMS[found].higher_is_better


@functools.cache
def kind(name: str, scope: Scope) -> str:
    """The kind of the metric called `name`; "" for one of another version."""
    try:
        return parse(name, scope).kind
    except errors.ConfigError:
        return ""


def patterns(scope: Scope) -> str:
    """What names look like, with X for a number."""
    plain, of_targets = (
        [form.pattern.replace("{}", "X") for form in forms] for forms in _forms(scope)
    )
    if scope == "dvh":
        plain[-1] += f", each after {' or '.join(f'{d}:' for d in DIALECTS)}"
    return ", ".join([*plain, *(f"{TARGET}:{pattern}" for pattern in of_targets)])


def known(scope: Scope) -> list[str]:
    """Names to choose from: every form, those with a number for common numbers."""
    plain, of_targets = (
        [name for form in forms for name in form.names] for forms in _forms(scope)
    )
    if scope == "dvh":
        plain = [f"{dialect}:{name}" for dialect in DIALECTS for name in plain]
    return [*plain, *(f"{TARGET}:{name}" for name in of_targets)]


def _forms(scope: Scope) -> tuple[list[Form], list[Form]]:
    """The forms of a scope, and those of them that follow `target:`."""
    forms = [form for form in FORMS.values() if form.scope == scope]
    return (
        [form for form in forms if not form.of_target],
        [form for form in forms if form.of_target],
    )


def listing(scope: Scope) -> str:
    """An example of each form, without a dialect, and its unit in parentheses."""
    return ", ".join(
        f"{form.names[0]} ({form.unit})" if form.unit != "1" else form.names[0]
        for form in FORMS.values()
        if form.scope == scope and not form.of_target
    )
