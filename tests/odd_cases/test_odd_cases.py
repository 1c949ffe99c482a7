"""Every odd patient is read right, noted or refused, as it should be."""

import pathlib
import re
import shutil
import subprocess

import numpy as np
import pytest

from tests.odd_cases import expect, outcome, page, table, writer


@pytest.mark.parametrize(("group", "name"), table.CASES)
def test_case(tmp_path, group, name):
    case = table.CASES[group, name]
    if case.needs:
        pytest.importorskip(case.needs)
    seen = outcome.of(case, tmp_path)
    assert seen.kind == case.expected, f"{seen.reason}: {seen.said}"


def test_every_trap_has_a_case():
    assert len(table.CASES) >= 200
    about = " ".join(case.about for case in table.CASES.values())
    assert set(map(str, range(1, 46))) <= set(re.findall(r"(?<![.\d])\d+", about))


def test_the_page_has_every_case():
    """Whoever changes the cases writes the page anew: python -m tests.odd_cases."""
    lines = page.PAGE.read_text(encoding="utf-8").splitlines()
    rows = [line.split(" | ")[:4] for line in lines if line.startswith("| ")]
    for name, case in ((name, case) for (_, name), case in table.CASES.items()):
        cells = [page.escaped(text) for text in (name, case.about, case.expected)]
        assert [f"| {cells[0]}", *cells[1:], case.expected] in rows, name
    assert len(rows) == len(table.CASES) + len(table.GROUPS) + len(page.KINDS) + 1


def test_the_plain_patient_is_valid(tmp_path):
    """By dciodvfy, which cannot check a dose of 32 bits: so of 16."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("no dciodvfy: install Debian's dicom3tools")
    made = writer.patient()
    made.files["rd.dcm"] = writer.dose(kind=np.uint16)
    made.save(tmp_path)
    for name in ("ct/0.dcm", "rs.dcm", "rd.dcm", "rp.dcm"):
        done = subprocess.run(
            ["dciodvfy", tmp_path / name], capture_output=True, text=True
        )
        lines = done.stderr.splitlines()
        assert lines, name
        assert not [line for line in lines if line.startswith("Error")], name


def test_the_writer_shares_no_code_with_the_package():
    for path in pathlib.Path(__file__).parent.glob("*.py"):
        if path.stem in ("outcome", "__main__", "test_odd_cases"):
            continue
        imported = re.findall(r"^ *(?:from|import) .*", path.read_text(), flags=re.M)
        assert not [line for line in imported if "mtl_jax" in line], path.name
        others = [line for line in imported if "tests." in line]
        assert all("tests.odd_cases" in line for line in others), path.name


@pytest.mark.parametrize(
    ("spoil", "difference"),
    [
        (lambda truth: truth.ct.__iadd__(1), "the CT is in 7680 of 7680 voxels off"),
        (lambda truth: truth.masks.pop("Rectum"), "Rectum is only in one"),
        (lambda truth: truth.masks["Rectum"].__ixor__(True), "Rectum is in 7680 of"),
        (lambda truth: truth.dose.__iadd__(0.02), "the dose is in 7680 of 7680"),
        (lambda truth: truth.known.__ixor__(True), "where the dose is known is in"),
    ],
)
def test_a_difference_is_seen(tmp_path, spoil, difference):
    case = expect.right("-", lambda made: spoil(made.truth))
    seen = outcome.of(case, tmp_path)
    assert seen.kind == outcome.WRONG
    assert difference in seen.reason


def test_a_refusal_without_a_need_or_of_other_words_is_seen(tmp_path):
    def empty(made: writer.Made) -> None:
        made.files.clear()

    assert outcome.of(expect.right("-", empty), tmp_path).kind == outcome.WRONG
    case = expect.refused("-", empty, "no CT in this folder")
    assert outcome.of(case, tmp_path).kind == outcome.WRONG
