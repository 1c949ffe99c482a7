"""The sections of a report before its patients, as HTML."""

from collections.abc import Mapping, Sequence

from mtl_jax.report import content, markup

# Findings of a kind that are seen at once; the rest is folded away.
MOST = 12
KINDS = {"failure": "Failure", "warning": "Warning", "note": "Note"}
RESULTS = {True: ("pass", "Passed"), False: ("fail", "Failed"), None: ("open", "Open")}


def section(name: str, title: str, body: str) -> str:
    """A section of the page, named by its heading."""
    return (
        f'<section id="{name}" aria-labelledby="{name}-title">\n'
        f'<h2 id="{name}-title">{markup.text(title)}</h2>\n{body}</section>\n'
    )


def findings(given: Sequence[content.Finding], pages: Mapping[str, str]) -> str:
    """What to look at first; `pages` are the ids of the patients' pages."""
    items = []
    for kind, word in KINDS.items():
        for number, finding in enumerate(f for f in given if f.kind == kind):
            if number == MOST:
                rest = sum(f.kind == kind for f in given) - MOST
                items.append(f"<li><details><summary>{rest} more</summary><ul>")
            link = ""
            if finding.patient:
                name = markup.text(finding.patient)
                page = pages.get(finding.patient)
                link = f' <a href="#{page}">{name}</a>' if page else f" {name}"
            items.append(
                f'<li class="{kind}"><strong class="mark">{word}</strong> '
                f"{markup.text(finding.text)}{link}</li>\n"
            )
        if sum(f.kind == kind for f in given) > MOST:
            items.append("</ul></details></li>\n")
    none = '<p class="good">Nothing failed, and nothing looks odd.</p>\n'
    body = f'<ul class="findings">{"".join(items)}</ul>\n' if items else none
    return section("findings", "Look here first", body)


def cohort(study: content.Study) -> str:
    """Numbers of patients, structures, and what was checked."""
    body = markup.facts(study.cohort)
    if study.checks:
        rows = "".join(
            f'<tr><th scope="row">{markup.text(check.name)}</th>'
            f'<td class="{RESULTS[check.passed][0]}">{RESULTS[check.passed][1]}</td>'
            f"<td>{markup.text(check.detail)}</td></tr>\n"
            for check in sorted(study.checks, key=lambda check: check.passed is True)
        )
        failed = sum(check.passed is False for check in study.checks)
        caption = f"{len(study.checks)} checks, {failed} failed"
        body += (
            '<div class="scroll" role="region" tabindex="0" aria-label="Checks">'
            f"<table><caption>Integrity: {caption}</caption><thead><tr>"
            '<th scope="col">Check</th><th scope="col">Result</th>'
            '<th scope="col">Found</th></tr></thead>\n'
            f"<tbody>{rows}</tbody></table></div>\n"
        )
    body += "".join(markup.table(table) for table in study.cohort_tables)
    return section("cohort", "Cohort and integrity", body or "<p>Not given.</p>\n")


def results(study: content.Study, pages: Mapping[str, str]) -> str:
    """The tables."""
    body = "".join(markup.table(table, pages) for table in study.tables)
    return section("results", "Results", body or "<p>No tables yet.</p>\n")


def pictures(study: content.Study) -> str:
    """The figures."""
    body = "".join(markup.picture(p, n) for n, p in enumerate(study.pictures, 1))
    return section("figures", "Figures", body or "<p>No figures yet.</p>\n")


def provenance(study: content.Study) -> str:
    """How the report came about."""
    body = markup.facts(study.provenance) or "<p>Not given.</p>\n"
    return section("provenance", "How this was made", body)


def navigation(study: content.Study, pages: Mapping[str, str]) -> str:
    """Links to all sections and patients."""
    counts = {kind: sum(f.kind == kind for f in study.findings) for kind in KINDS}
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
    links.append('<li><a href="#provenance">How this was made</a></li>')
    return f"<ul>{''.join(links)}</ul>\n"
