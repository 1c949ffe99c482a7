"""The content of a report, as plain records.

The study and the cohort command fill them in; `page` writes them as HTML.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from mtl_jax.core import sites
from mtl_jax.report import packed_volumes, render

# Increasing dose in Gy, and the percentage of the volume that receives at least it.
Curve = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Table:
    """A plain table of texts; a cell in `**` is printed bold."""

    title: str
    caption: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]


# The first column names the rows. A render.Table also has groups, marks and rules.
AnyTable = Table | render.Table


@dataclasses.dataclass(frozen=True)
class Fact:
    """A term and its value, such as "training patients" and "40"."""

    term: str
    value: str


@dataclasses.dataclass(frozen=True)
class Finding:
    """A result that a reader should look at before the averages."""

    kind: Literal["target", "failure", "warning", "note"]
    text: str
    patient: str = ""  # links to the patient's page


@dataclasses.dataclass(frozen=True)
class Check:
    """A check of the data, and its result."""

    name: str
    passed: bool | None  # None: could not be checked
    detail: str = ""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure: a PNG, and texts that describe it."""

    title: str
    caption: str
    alt: str
    path: Path


@dataclasses.dataclass(frozen=True)
class PatientPage:
    """One patient; `histograms` are by role ("" is the reference) and structure."""

    patient_id: str
    note: str = ""
    scores: AnyTable | None = None
    slices: packed_volumes.PackedVolumes | None = None
    histograms: Mapping[str, Mapping[str, Curve]] = dataclasses.field(
        default_factory=dict
    )


@dataclasses.dataclass(frozen=True)
class Report:
    """A whole report, in the order of its pages."""

    title: str
    site: sites.Site
    summary: str = ""  # a sentence or two below the title
    findings: Sequence[Finding] = ()
    cohort: Sequence[Fact] = ()
    cohort_tables: Sequence[AnyTable] = ()
    checks: Sequence[Check] = ()
    tables: Sequence[AnyTable] = ()
    pictures: Sequence[Picture] = ()
    patients: Sequence[PatientPage] = ()
    provenance: Sequence[Fact] = ()
