"""The report is one valid HTML file with the given content and nothing else."""

import base64
import dataclasses
import gzip
import html.parser
import re

import numpy as np
import pytest
from PIL import Image

from mtl_jax.core import errors, geometry, records, sites
from mtl_jax.report import content, markup, packed_volumes, page, render
from mtl_jax.sources.phantom import head_and_neck

SITE = sites.OPENKBP
SHAPE = (7, 40, 36)
HOSTILE = '</script><script>alert(1)</script>"><img src=x onerror=alert(2)>&amp;'
SCOPES = {"row", "col", "rowgroup", "colgroup"}
VOID = {"meta", "link", "img", "input", "br"}


@pytest.fixture
def patient(rng) -> records.Patient:
    """A block of a body off the grid's centre, with a cord, a target and a dose."""
    ct = np.zeros(SHAPE, np.float32)
    body = (slice(1, 6), slice(8, 35), slice(5, 31))
    ct[body] = rng.uniform(24, 2500, ct[body].shape)
    cord, target = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    cord[1:6, 25:28, 15:18] = True
    target[2:4, 12:20, 20:28] = True
    dose = np.zeros(SHAPE, np.float32)
    dose[body] = rng.uniform(0, 73, dose[body].shape)
    structures = {"SpinalCord": cord, "PTV70": target}
    grid = geometry.Grid(SHAPE, (3.0, 2.0, 2.5))
    return records.Patient("pt_1", grid, ct, structures, dose, ct > 0)


def predictions(patient: records.Patient) -> dict[str, records.PredictedVolumes]:
    moved = np.roll(patient.structures["SpinalCord"], 2, 1)
    return {
        "DL-Baseline": records.PredictedVolumes(None, {"SpinalCord": moved}),
        "Multi": records.PredictedVolumes(
            patient.dose_gy * np.float32(0.9), {"SpinalCord": moved}
        ),
    }


def study(patient, tmp_path, text="plain") -> content.Report:
    """A report with every kind of content, and `text` as each text in it."""
    path = tmp_path / "figure.png"
    Image.fromarray(np.arange(1200, dtype=np.uint8).reshape(30, 40)).save(path)
    columns = (
        render.Column("Row"),
        render.Column(text, text),
        render.Column("n", text),
    )
    rows = tuple(
        (render.Cell(name), render.Cell(1.5, 0.25, mark="†", best=name == "b"),
         render.Cell(note=text))
        for name in (text, "b", "pt_2")
    )  # fmt: skip
    table = render.Table("t", text, (text, text), columns, rows, rules=(1,))
    dose = np.array([0.0, 20.0, 40.0])
    curves = {"SpinalCord": (dose, np.array([100.0, 50.0, 0.0]))}
    patients = [
        content.PatientPage(
            name,
            note=text,
            scores=table,
            slices=packed_volumes.pack(patient, predictions(patient), site=SITE),
            histograms={"": curves, "Multi": curves, text: curves},
        )
        for name in ("pt_1", "pt_2")
    ]
    return content.Report(
        title=text,
        site=SITE,
        summary=text,
        findings=[
            content.Finding("note", text),
            content.Finding("failure", text, "pt_2"),
            content.Finding("warning", text, text),
        ],
        cohort=[content.Fact(text, text)],
        cohort_tables=[table],
        checks=[
            content.Check("disjoint", True, text),
            content.Check(text, False),
            content.Check("later", None),
        ],
        tables=[table],
        pictures=[content.Picture(text, text, text, path)],
        patients=patients,
        provenance=[content.Fact(text, text)],
    )


class Reader(html.parser.HTMLParser):
    """Elements as (tag, attributes, path of open elements), and texts."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None], tuple[str, ...]]] = []
        self.texts: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"{tag} has an attribute twice: {attrs}"
        self.elements.append((tag, dict(attrs), tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        self.texts.append(data)

    def every(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes, _ in self.elements if tag in tags]


@pytest.mark.parametrize("text", ["plain", HOSTILE])
def test_the_page_is_sound_whatever_it_is_told(patient, tmp_path, text):
    read = Reader(page.html(study(patient, tmp_path, text)))
    assert not read.open
    ids = [a["id"] for _, a, _ in read.elements if "id" in a]
    assert len(ids) == len(set(ids))
    named = [a["for"] for a in read.every("label", "output") if "for" in a]
    named += [
        a["aria-labelledby"] for _, a, _ in read.elements if "aria-labelledby" in a
    ]
    named += [a["href"].removeprefix("#") for a in read.every("a")]
    assert named and set(named) <= set(ids)
    assert all(a.get("alt") for a in read.every("img")) and read.every("img")
    assert all(a.get("aria-label") for a in read.every("canvas"))
    assert all(a.get("scope") in SCOPES for a in read.every("th"))
    assert len(read.every("table")) == len(read.every("caption"))
    for landmark in ("main", "header", "nav", "footer", "h1"):
        assert len(read.every(landmark)) == 1
    labelled = {a["for"] for a in read.every("label") if "for" in a}
    for tag, attributes, path in read.elements:
        if tag in ("input", "select"):
            assert attributes.get("id") in labelled or "label" in path
    # Settings and code; volumes' header and data and a histogram of two patients.
    assert len(read.every("script")) == 2 + 2 * 3
    assert not any(key.startswith("on") for _, a, _ in read.elements for key in a)
    assert not any(a.get("src") == "x" for a in read.every("img"))
    assert text in "".join(read.texts)


def test_nothing_comes_from_a_network(patient, tmp_path):
    source = page.html(study(patient, tmp_path))
    assert set(re.findall(r"https?://[^\s\"'<>]+", source)) == {
        "http://www.w3.org/2000/svg"  # a name, not an address
    }
    read = Reader(source)
    assert all(a["src"].startswith("data:") for a in read.every("img"))
    assert [a["href"] for a in read.every("link")] == ["data:,"]
    assert not [a for a in read.every("script", "iframe", "object") if "src" in a]
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|import\(", source)
    (policy,) = [a for a in read.every("meta") if "http-equiv" in a]
    assert "default-src 'none'" in policy["content"]


def test_failures_come_first(patient, tmp_path):
    source = page.html(study(patient, tmp_path))
    sections = re.findall(r'<section id="([a-z]+)"', source)
    assert sections[0] == "findings"
    kinds = re.findall(r'<li class="(failure|warning|note)">', source)
    assert kinds == ["failure", "warning", "note"]
    assert '<a href="#patient-pt_2">pt_2</a>' in source
    checks = re.findall(r'<td class="(pass|fail|open)">', source)
    assert checks == ["fail", "open", "pass"] or checks == ["open", "fail", "pass"]
    assert "3 checks, 1 failed" in source


def test_a_report_of_next_to_nothing():
    read = Reader(page.html(content.Report("Empty", SITE)))
    assert not read.open and len(read.every("section")) == 6
    assert "Nothing failed" in "".join(read.texts)


def unpack(
    packed: packed_volumes.PackedVolumes,
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """CT codes, doses in Gy and masks, unpacked as volume.js does."""
    header = packed.header
    content = gzip.decompress(base64.b64decode(packed.data))
    volumes = np.frombuffer(content, np.uint8).reshape(-1, *header["shape"])
    volumes = np.cumsum(volumes, axis=-1, dtype=np.uint8)
    doses = volumes[1 : 1 + len(header["doses"])]
    bits = np.unpackbits(
        volumes[1 + len(header["doses"]) :][..., None], axis=-1, bitorder="little"
    )
    masks = [
        bits[i // 8, ..., i % 8].astype(bool) for i in range(len(header["contours"]))
    ]
    return volumes[0], doses * np.float64(header["step"]), masks


def test_what_is_packed_comes_out_again(patient):
    predicted = predictions(patient)
    packed = packed_volumes.pack(patient, predicted, site=SITE)
    header = packed.header
    assert header["doses"] == ["", "Multi"]
    assert header["first"] == 0 and header["slices"] == 7 and header["skip"] == 1
    cut = (slice(0, 7), slice(6, 37), slice(3, 33))  # two voxels around the body
    codes, doses, masks = unpack(packed)
    hu = patient.ct[cut] - 1024
    assert codes.shape == hu.shape
    assert np.abs(packed_volumes.HU_CODES[codes] - hu).max() <= 15
    soft = np.abs(hu) < 180
    assert np.abs(packed_volumes.HU_CODES[codes] - hu)[soft].max() <= 2
    assert header["step"] == 0.3
    expected = [patient.dose_gy[cut], predicted["Multi"].dose_gy[cut]]
    assert np.abs(doses - expected).max() <= 0.1501
    for (role, name), mask in zip(header["contours"], masks, strict=True):
        given = predicted[role].contours if role else patient.structures
        assert np.array_equal(mask, given[name][cut])


def test_the_error_of_a_slice_is_where_dose_is_possible(patient):
    header = packed_volumes.pack(patient, predictions(patient), site=SITE).header
    inside = patient.dose_gy[3][patient.possible_dose_mask[3]]
    assert header["error"]["Multi"][3] == pytest.approx(0.1 * inside.mean(), abs=0.006)
    assert header["error"]["Multi"][0] == 0
    assert set(header["error"]) == {"Multi"}


def test_large_volumes_are_thinned_out():
    shape = (330, 400, 210)
    ct = np.ones(shape, np.float32)
    ct[0, 0, 0] = 0
    patient = records.Patient(
        "big", geometry.Grid(shape, (1.0, 1.0, 1.0)), ct, {}, None, None
    )
    header = packed_volumes.pack(patient, {}, site=SITE).header
    assert header["shape"] == [110, 134, 70]
    assert header["spacing"] == [3.0, 3.0, 3.0]
    assert header["skip"] == 3 and header["error"] == {}


def test_fourteen_patients_of_five_roles_stay_below_30_megabytes(rng):
    patient = head_and_neck.make_patient(0, 1)
    noise = rng.normal(0, 2, patient.dose_gy.shape).astype(np.float32)
    dose = np.where(patient.possible_dose_mask, patient.dose_gy + noise, 0).clip(0)
    contours = {name: patient.structures[name] for name in patient.structures}
    roles = {str(i): records.PredictedVolumes(dose, contours) for i in range(5)}
    packed = packed_volumes.pack(patient, roles, site=SITE)
    assert 14 * len(packed.data) < 25e6


def test_the_same_study_gives_the_same_file(patient, tmp_path):
    first, second = tmp_path / "new" / "a.html", tmp_path / "b.html"
    page.write(study(patient, tmp_path), first)
    page.write(study(patient, tmp_path), second)
    assert first.read_bytes() == second.read_bytes()


def test_a_report_is_written_whole_or_not_at_all(patient, tmp_path):
    path = tmp_path / "report.html"
    page.write(study(patient, tmp_path), path)
    before = path.read_bytes()
    (tmp_path / "figure.png").unlink()
    lost = dataclasses.replace(
        study(patient, tmp_path),
        pictures=[content.Picture("Lost", "", "a", tmp_path / "lost.png")],
    )
    with pytest.raises(errors.RecordError, match=r"'Lost'.*cannot be read.*draw it"):
        page.write(lost, path)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["figure.png", "report.html"]
    odd = content.Table("Odd", "", ["a", "b"], [["1"]])
    with pytest.raises(errors.RecordError, match="'Odd': a row has 1 cells, but"):
        page.write(content.Report("Odd", SITE, tables=[odd]), path)
    assert path.read_bytes() == before


def test_a_table_as_people_read_it():
    columns = (render.Column("ROI"), render.Column("A", "Ours"), render.Column("B"))
    number = render.Cell(1.23456, 0.5, ".2f", mark="†", best=True)
    rows = ((render.Cell("pt_1"), number, render.Cell(note="not contoured")),)
    table = render.Table("t", "Table 1", ("Mean.", "Lower."), columns, rows)
    source = markup.table(table, {"pt_1": "patient-pt_1"})
    for expected in (
        "<caption>Table 1</caption>",
        '<p class="note">Mean. Lower.</p>',
        '<tr><th scope="col" rowspan="2">ROI</th><th scope="colgroup" colspan="1">Ours'
        '</th><th scope="col" rowspan="2" class="number">B</th></tr>'
        '<tr><th scope="col" class="number">A</th></tr>',
        '<th scope="row"><a href="#patient-pt_1">pt_1</a></th>',
        '<td class="number"><strong>1.23 ± 0.50</strong>†</td>',
        '<td class="missing">not contoured</td>',
    ):
        assert expected in source
    plain = content.Table("T", "C.", ["a", "b", "c"], [["x", "**1.0 ± 2**", "word"]])
    assert '<td class="number"><strong>1.0 ± 2</strong></td><td>word</td>' in (
        markup.table(plain)
    )


def test_a_column_that_is_the_same_in_all_rows_is_a_sentence():
    names = (("method", ""), ("ROI", ""), ("unit", ""), ("n", ""), ("multi", "model"))
    rows = [("multi", roi, "Gy", n, 1.0) for roi, n in (("a", 14), ("b", 14), ("c", 9))]
    table = render.Table(
        *("errors", "Errors", ("Lower is better.",)),
        columns=tuple(render.Column(*name) for name in names),
        rows=tuple(tuple(render.Cell(value) for value in row) for row in rows),
    )
    source = markup.table(table)
    assert re.findall(r"<th scope=\"col\".*?>(.*?)</th>", source) == [
        "ROI",
        "n",
        "multi",
    ]
    assert (
        '<p class="note">In all rows: method multi, unit Gy. Lower is better.</p>'
        in source
    )
    two = dataclasses.replace(table, rows=table.rows[:2])
    assert "In all rows" not in markup.table(two)


def test_a_wide_table_has_a_part_for_each_group():
    names = [("ROI", ""), *((f"role {i}", group) for group in "ab" for i in range(7))]
    table = render.Table(
        *("goals", "Goals", ("Met.",)),
        columns=tuple(render.Column(*name) for name in names),
        rows=((render.Cell("Cord"), *(render.Cell(float(i)) for i in range(14))),),
    )
    parts = markup.table(table).split("<table>")[1:]
    titles = [re.findall("<caption>(.*?)</caption>", part) for part in parts]
    assert titles == [["Goals: a"], ["Goals: b"]]
    cells = re.findall(r"<td.*?>(.*?)</td>", parts[1])
    assert cells == [f"{i}.000" for i in range(7, 14)] and ">Cord<" in parts[1]
    assert parts[1].count("Met.") == 1 and "Met." not in parts[0]
    columns = (*table.columns, render.Column("missed", "c"))
    more = dataclasses.replace(
        table, columns=columns, rows=((*table.rows[0], render.Cell("none")),)
    )
    parts = markup.table(more).split("<table>")[1:]
    assert ["missed" in part for part in parts] == [False, True]
    narrow = dataclasses.replace(
        table, columns=table.columns[:14], rows=(table.rows[0][:14],)
    )
    assert markup.table(narrow).count("<table>") == 1


def test_many_findings_are_folded():
    many = [content.Finding("failure", f"number {i}") for i in range(30)]
    source = page.html(content.Report("Many", SITE, findings=many))
    assert Reader(source).open == []
    before, _, after = source.partition("18 more")
    assert before.count("</strong> number") == 12
    assert after.count("</strong> number") == 18
