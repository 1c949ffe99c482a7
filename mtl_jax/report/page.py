"""Writes a report as one HTML file.

Input: a content.Report. Output: an HTML file, made of the template `report.html`, the
style sheet `report.css` and the scripts in the `.js` files.
"""

import string
from importlib import resources
from pathlib import Path

from mtl_jax.core import files
from mtl_jax.report import content, markup, patient_pages, sections

SCRIPTS = (
    "isolines.js", "volume.js", "painting.js", "viewer.js", "histogram.js", "report.js",
)  # fmt: skip


def write(report: content.Report, path: Path) -> None:
    """Write `report` to `path` (.html), completely or not at all.

    Equal reports give equal bytes. Slice viewers make the file large: with a hundred
    patients, give viewers only to those that a reader would open.

    Raises:
        RecordError: a figure cannot be read, or a table's rows do not fit its headers.
    """
    with files.whole(path) as partial:
        partial.write_text(html(report), encoding="utf-8")


def html(report: content.Report) -> str:
    """The complete HTML page of `report`."""
    pages = patient_pages.page_ids(report.patients)
    parts = (
        sections.findings(report.findings, pages),
        sections.cohort(report),
        sections.results(report, pages),
        sections.pictures(report),
        patient_pages.section(report, pages),
        sections.provenance(report),
    )
    return string.Template(_file("report.html")).substitute(
        title=markup.text(report.title),
        summary=markup.text(report.summary),
        style=_file("report.css"),
        navigation=sections.navigation(report, pages),
        main="".join(parts),
        settings=markup.embedded_json(patient_pages.settings(report.site)),
        script="\n".join(_file(name) for name in SCRIPTS),
    )


def _file(name: str) -> str:
    """The text of a file in this folder."""
    folder = resources.files("mtl_jax.report")
    return folder.joinpath(name).read_text(encoding="utf-8")
