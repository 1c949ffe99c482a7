"""Every odd patient is read right, noted or refused, as it should be."""

import pytest

from tests.odd_cases import outcome, table


@pytest.mark.parametrize(("group", "name"), table.CASES)
def test_case(tmp_path, group, name):
    case = table.CASES[group, name]
    if case.needs:
        pytest.importorskip(case.needs)
    seen = outcome.of(case, tmp_path)
    assert seen.kind == case.expected, f"{seen.reason}: {seen.said}"
