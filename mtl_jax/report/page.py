"""Writes a report: the parts put together, in one file.

`report.html` is the frame, `report.css` the looks, the `.js` files what moves.
"""

import string
from importlib import resources
from pathlib import Path

from mtl_jax.core import files
from mtl_jax.report import content, markup, patient_pages, sections

SCRIPTS = (
    "isolines.js", "volume.js", "painting.js", "viewer.js", "histogram.js", "report.js",
)  # fmt: skip


def write(study: content.Study, path: Path) -> None:
    """Write `study` to `path` (.html), whole or not at all.

    The same study gives the same bytes. A hundred patients are a large file: give only
    those a viewer that a reader would open.

    Raises:
        RecordError: a picture cannot be read, or a table's rows do not fit its headers.
    """
    with files.whole(path) as partial:
        partial.write_text(html(study), encoding="utf-8")


def html(study: content.Study) -> str:
    """The whole page."""
    pages = patient_pages.page_ids(study.patients)
    parts = (
        sections.findings(study.findings, pages),
        sections.cohort(study),
        sections.results(study, pages),
        sections.pictures(study),
        patient_pages.section(study, pages),
        sections.provenance(study),
    )
    return string.Template(_file("report.html")).substitute(
        title=markup.text(study.title),
        summary=markup.text(study.summary),
        style=_file("report.css"),
        navigation=sections.navigation(study, pages),
        main="".join(parts),
        settings=markup.embedded_json(patient_pages.settings(study.site)),
        script="\n".join(_file(name) for name in SCRIPTS),
    )


def _file(name: str) -> str:
    """The text of a file beside this one."""
    folder = resources.files("mtl_jax.report")
    return folder.joinpath(name).read_text(encoding="utf-8")
