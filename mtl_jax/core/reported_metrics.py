"""Which metrics are reported: a site's own template, or a file that a user edits.

Input: a site (core/sites), and optionally a TOML or YAML file that replaces parts of
its template. Output: a checked Template, or the template as TOML text.
"""

import dataclasses
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mtl_jax.core import documents, errors, metric_names, sites


class Value(NamedTuple):
    """One reported number; NaN only with a note that says why."""

    structure: str  # "" for the whole patient
    metric: str
    unit: str
    reference: float
    prediction: float
    error: float
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Template:
    """Names of the metrics that are reported, in the order of the report."""

    patient: tuple[str, ...]  # for the dose in the whole patient
    dvh: dict[str, tuple[str, ...]]  # for the dose in a structure, by structure
    contours: dict[str, tuple[str, ...]]  # for contours, by structure
    dose_table: dict[str, tuple[str, ...]]  # rows of the dose table, each also in `dvh`


_SCOPES: dict[str, metric_names.Scope] = {
    "patient": "patient", "dvh": "dvh", "contours": "contours", "dose_table": "dvh"
}  # fmt: skip

# {} stands for the names of the part's metrics.
_COMMENTS = {
    "patient": "Metrics of the dose in the whole patient: {}. Numbers in names can be "
    "changed: dose_mae_20gy.",
    "dvh": "Metrics of the dose inside a structure: the dialect, openkbp: or exact:, "
    "then one of {}. D_95 is the minimum dose to the hottest 95 % of the volume, "
    "D_0.1cc that to the hottest 0.1 cubic centimetres, V_20Gy the percentage of the "
    "volume that gets at least 20 Gy. Targets also have target:D_95 (percent of the "
    "prescription), target:HI (homogeneity) and target:CI (conformity). OpenKBP's DVH "
    "score always uses the site's own openkbp: metrics.",
    "contours": "Metrics of a structure's predicted contours: {}.",
    "dose_table": "Rows of the dose table, in this order. Each must also be in [dvh].",
}


def default(site: sites.Site) -> Template:
    """The metrics that `site` reports without a file."""
    table: dict[str, tuple[str, ...]] = {}
    for structure, metric in site.dose_table:
        table[structure] = (*table.get(structure, ()), metric)
    return Template(
        patient=site.dose_metrics,
        dvh={structure.name: structure.dvh for structure in site.structures},
        contours={name: site.contour_metrics for name in site.names},
        dose_table=table,
    )


def render(template: Template, site: sites.Site) -> str:
    """The template as a TOML file to edit, which `read` accepts."""

    def quoted(names: tuple[str, ...], key: str) -> str:
        texts = [f'"{name}"' for name in names]
        line = f"{key} = [{', '.join(texts)}]"
        if len(line) <= 88:
            return line
        wrapped = textwrap.wrap(", ".join(texts), 84, break_on_hyphens=False)
        return "\n".join([f"{key} = [", *(f"  {part}" for part in wrapped), "]"])

    lines = [
        f"# Metrics that are reported for the site {site.name}.",
        "# Parts left out keep the site's metrics; an empty list, [], reports none.",
        "",
        *_comment("patient"),
        quoted(template.patient, "patient"),
    ]
    for part in ("dvh", "contours", "dose_table"):
        lines += ["", *_comment(part), f"[{part}]"]
        lines += [quoted(v, k) for k, v in getattr(template, part).items()]
    return "\n".join(lines) + "\n"


def _comment(part: str) -> list[str]:
    text = _COMMENTS[part].format(metric_names.listing(_SCOPES[part]))
    return textwrap.wrap(
        text, 88, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )


def without_comments(rendered: str) -> str:
    """A rendered template as it counts when two are compared."""
    return "\n".join(x for x in rendered.splitlines() if not x.startswith("#"))


def read(path: Path, site: sites.Site) -> Template:
    """The site's template with the parts that the file at `path` replaces.

    Raises:
        ConfigError: the file cannot be read, or names an unknown part, structure or
            metric; it names the file and the nearest name.
    """
    try:
        content = documents.read(path, documents.TOML_OR_YAML, ", ".join(_SCOPES))
        return _replaced(default(site), content, site)
    except errors.ConfigError as error:
        raise errors.ConfigError(f"metrics file {path}: {error}") from None


def _replaced(
    template: Template, content: Mapping[str, Any], site: sites.Site
) -> Template:
    for part, value in content.items():
        if part not in _SCOPES:
            hint = errors.nearest(part, _SCOPES)
            raise errors.ConfigError(
                f"unknown part {part!r}{hint}; parts: {', '.join(_SCOPES)}"
            )
        if part == "patient":
            template = dataclasses.replace(template, patient=_names(value, part))
            continue
        if not isinstance(value, Mapping):
            raise errors.ConfigError(
                f"[{part}] should be a table of structures, each with a list of metrics"
            )
        lists = {
            site.structure(name).name: _names(metrics, part, name)
            for name, metrics in value.items()
        }
        # The order of the table's rows is the file's; elsewhere it is the site's.
        before = {} if part == "dose_table" else getattr(template, part)
        template = dataclasses.replace(template, **{part: before | lists})
    if "dose_table" not in content:
        return dataclasses.replace(template, dose_table=_still_reported(template))
    for structure, metrics in template.dose_table.items():
        for metric in metrics:
            if metric not in template.dvh[structure]:
                raise errors.ConfigError(
                    f"[dose_table] {structure} has {metric!r}, but [dvh] {structure} "
                    "does not: add it there, or remove it from the table"
                )
    return template


def _still_reported(template: Template) -> dict[str, tuple[str, ...]]:
    """The site's table without the metrics that the file removed from [dvh]."""
    rows = {
        structure: tuple(m for m in metrics if m in template.dvh[structure])
        for structure, metrics in template.dose_table.items()
    }
    return {structure: metrics for structure, metrics in rows.items() if metrics}


def _names(value: Any, part: str, structure: str = "") -> tuple[str, ...]:
    key = f"[{part}] {structure}" if structure else part
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise errors.ConfigError(f"{key} should be a list of names of metrics")
    for name in value:
        try:
            metric_names.parse(name, _SCOPES[part])
        except errors.ConfigError as error:
            raise errors.ConfigError(f"{key}: {error}") from None
        if value.count(name) > 1:
            raise errors.ConfigError(f"{key} has {name!r} more than once")
    return tuple(value)
