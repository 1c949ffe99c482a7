"""What a report says: plain records, filled in by whoever ran the study."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from mtl_jax.core import sites
from mtl_jax.report import render, slice_viewer

# Dose in Gy, rising, and the percentage of the volume that gets at least that.
Curve = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Table:
    """Headers and rows of text; a cell in `**` is printed bold."""

    title: str
    caption: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]


# The first column names the rows. Tables of study/tables keep groups, marks and rules.
AnyTable = Table | render.Table


@dataclasses.dataclass(frozen=True)
class Fact:
    """A term and what it is: "training patients", "40"."""

    term: str
    value: str


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that a reader should look at before the averages."""

    kind: Literal["failure", "warning", "note"]
    text: str
    patient: str = ""  # its page is linked


@dataclasses.dataclass(frozen=True)
class Check:
    """Something that was looked at, and what was found."""

    name: str
    passed: bool | None  # None: could not be checked
    detail: str = ""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure: a PNG, and what it shows in words."""

    title: str
    caption: str
    alt: str
    path: Path


@dataclasses.dataclass(frozen=True)
class PatientPage:
    """One patient; `histograms` are by "" (the reference) or role, and structure."""

    patient_id: str
    note: str = ""
    scores: AnyTable | None = None
    slices: slice_viewer.Viewer | None = None
    histograms: Mapping[str, Mapping[str, Curve]] = dataclasses.field(
        default_factory=dict
    )


@dataclasses.dataclass(frozen=True)
class Study:
    """A whole report, in the order of its pages."""

    title: str
    site: sites.Site
    summary: str = ""  # a sentence or two under the title
    findings: Sequence[Finding] = ()
    cohort: Sequence[Fact] = ()
    cohort_tables: Sequence[AnyTable] = ()
    checks: Sequence[Check] = ()
    tables: Sequence[AnyTable] = ()
    pictures: Sequence[Picture] = ()
    patients: Sequence[PatientPage] = ()
    provenance: Sequence[Fact] = ()
