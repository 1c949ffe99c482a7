"""Splits by CSV and by chance."""

import pytest

from mtl_jax.core import errors
from mtl_jax.sources.clinical import split_assignment

IDS = [f"p{number}" for number in range(110)]


def counts(drawn):
    names = list(drawn.values())
    return tuple(names.count(split) for split in split_assignment.SPLITS)


@pytest.mark.parametrize(
    ("patients", "expected"),
    # 20 patients are 17.27, 0.91 and 1.82: one more of each that has no whole one.
    [(110, (95, 5, 10)), (220, (190, 10, 20)), (20, (17, 1, 2)), (3, (1, 1, 1))],
)
def test_the_papers_ratio(patients, expected):
    ids = [f"p{number}" for number in range(patients)]
    assert counts(split_assignment.draw(ids, (95, 5, 10), 0)) == expected


def test_the_seed_and_the_ids_decide_alone():
    first = split_assignment.draw(IDS, (95, 5, 10), 0)
    assert split_assignment.draw(IDS[::-1], (95, 5, 10), 0) == first
    assert split_assignment.draw(IDS, (95, 5, 10), 1) != first


def test_too_few_patients_are_refused():
    with pytest.raises(errors.SourceError, match="2 patients cannot be divided"):
        split_assignment.draw(["a", "b"], (95, 5, 10), 0)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "line 1 is not the header patient,split"),
        ("a,train\n", "line 1 is not the header patient,split"),
        ("patient,split\na,trian\n", "line 2 is not a folder and one of"),
        ("patient,split\na\n", "line 2 is not a folder and one of"),
        ("patient,split\n\nc,train\n", "line 3 names a folder that is not in"),
        ("patient,split\na,train\na,test\n", "line 3 names a folder for the second"),
        ("patient,split\n" + "a" * 200_000, "line 2 cannot be read as CSV"),
        ('patient,split\na,train\n"b,train\n', "line 3 is not a folder and one of"),
        ('patient,split\n"a",train\n\0b,test\n', "line 3 names a folder that is not"),
    ],
)
def test_a_wrong_csv_is_refused_by_its_line(tmp_path, text, match):
    path = tmp_path / "splits.csv"
    path.write_text(text)
    with pytest.raises(errors.SourceError, match=match):
        split_assignment.read(path, {"a", "b"})


def test_a_csv_of_a_spreadsheet(tmp_path):
    path = tmp_path / "splits.csv"
    path.write_bytes("\ufeffPatient;Split\r\na;Train\r\n b/ ;test\r\n".encode())
    assert split_assignment.read(path, {"a", "b"}) == {"a": "train", "b": "test"}
    path.write_text('"patient"\t"split"\n"a"\t"validation"\n')
    assert split_assignment.read(path, {"a", "b"}) == {"a": "validation"}
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(errors.SourceError, match="cannot be read as text"):
        split_assignment.read(path, {"a"})


def test_letters_may_be_written_in_two_ways(tmp_path):
    path = tmp_path / "splits.csv"
    one, other = "M\u00fcller", "Mu\u0308ller"
    path.write_text(f"patient,split\n{one},test\n", encoding="utf-8")
    assert split_assignment.read(path, {other, "b"}) == {other: "test"}
