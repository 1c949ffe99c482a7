"""The sections of a report as HTML, except the patients' pages."""

from collections.abc import Mapping, Sequence

from mtl_jax.report import content, markup

# Findings of one kind that are visible at once; the others are folded.
VISIBLE = 12
KINDS = {
    "target": "Worst target",
    "failure": "Failure",
    "warning": "Warning",
    "note": "Note",
}
RESULTS = {
    True: ("pass", "Passed"),
    False: ("fail", "Failed"),
    None: ("open", "Not known"),
}


def section(name: str, title: str, body: str) -> str:
    """A section of the page with its heading."""
    return (
        f'<section id="{name}" aria-labelledby="{name}-title">\n'
        f'<h2 id="{name}-title">{markup.text(title)}</h2>\n{body}</section>\n'
    )


def findings(all_findings: Sequence[content.Finding], pages: Mapping[str, str]) -> str:
    """What to look at first; `pages` maps patients to the ids of their pages."""
    items = []
    for kind, label in KINDS.items():
        for number, finding in enumerate(f for f in all_findings if f.kind == kind):
            if number == VISIBLE:
                rest = sum(f.kind == kind for f in all_findings) - VISIBLE
                items.append(f"<li><details><summary>{rest} more</summary><ul>")
            link = ""
            if finding.patient:
                name = markup.text(finding.patient)
                page = pages.get(finding.patient)
                link = f' <a href="#{page}">{name}</a>' if page else f" {name}"
            items.append(
                f'<li class="{kind}"><strong class="mark">{label}</strong> '
                f"{markup.text(finding.text)}{link}</li>\n"
            )
        if sum(f.kind == kind for f in all_findings) > VISIBLE:
            items.append("</ul></details></li>\n")
    none = '<p class="good">Nothing failed, and there are no warnings.</p>\n'
    body = f'<ul class="findings">{"".join(items)}</ul>\n' if items else none
    return section("findings", "Look here first", body)


def cohort(report: content.Report) -> str:
    """Numbers of patients and structures, and the checks of the data."""
    body = markup.facts(report.cohort)
    if report.checks:
        rows = "".join(
            f'<tr><th scope="row">{markup.text(check.name)}</th>'
            f'<td class="{RESULTS[check.passed][0]}">{RESULTS[check.passed][1]}</td>'
            f'<td class="long">{markup.text(check.detail)}</td></tr>\n'
            for check in sorted(report.checks, key=lambda check: check.passed is True)
        )
        failed = sum(check.passed is False for check in report.checks)
        caption = f"{len(report.checks)} checks, {failed} failed"
        body += (
            '<div class="scroll" role="region" tabindex="0" aria-label="Checks">'
            f"<table><caption>Integrity: {caption}</caption><thead><tr>"
            '<th scope="col">Check</th><th scope="col">Result</th>'
            '<th scope="col">Detail</th></tr></thead>\n'
            f"<tbody>{rows}</tbody></table></div>\n"
        )
    body += "".join(markup.table(table) for table in report.cohort_tables)
    return section("cohort", "Cohort and integrity", body or "<p>No data.</p>\n")


def results(report: content.Report, pages: Mapping[str, str]) -> str:
    """The section of tables."""
    body = "".join(markup.table(table, pages) for table in report.tables)
    return section("results", "Results", body or "<p>No tables yet.</p>\n")


def pictures(report: content.Report) -> str:
    """The section of figures."""
    body = "".join(markup.picture(p, n) for n, p in enumerate(report.pictures, 1))
    return section("figures", "Figures", body or "<p>No figures yet.</p>\n")


def provenance(report: content.Report) -> str:
    """The versions, devices and runs that the report is made from."""
    body = markup.facts(report.provenance) or "<p>Not recorded.</p>\n"
    return section("provenance", "How this report was made", body)


def navigation(report: content.Report, pages: Mapping[str, str]) -> str:
    """Links to all sections and patients."""
    counts = {kind: sum(f.kind == kind for f in report.findings) for kind in KINDS}
    failures = f" ({counts['failure']})" if counts["failure"] else ""
    entries = [
        ("findings", f"Look here first{failures}"),
        ("cohort", "Cohort and integrity"),
        ("results", "Results"),
        ("figures", "Figures"),
        ("patients", "Patients"),
    ]
    links = [f'<li><a href="#{name}">{text}</a></li>' for name, text in entries]
    if pages:
        inner = "".join(
            f'<li><a href="#{page}">{markup.text(patient)}</a></li>'
            for patient, page in pages.items()
        )
        links[-1] = links[-1].replace("</li>", f"<ul>{inner}</ul></li>")
    links.append('<li><a href="#provenance">How this report was made</a></li>')
    return f"<ul>{''.join(links)}</ul>\n"
