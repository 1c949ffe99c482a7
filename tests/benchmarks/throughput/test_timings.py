"""Medians, spread and ratios, worked by hand from invented turns."""

import pytest

from benchmarks.throughput import cases, timings


def row(framework, mode, arithmetic, seconds, *, failed=None, compared=True):
    """Turns of two steps of three images each."""
    return {
        "framework": framework,
        "mode": mode,
        "arithmetic": arithmetic,
        "compared": compared,
        "failed": failed,
        "turns": [{"seconds": s, "steps": 2, "images": 6} for s in seconds],
    }


OURS = row(cases.OURS, "float32", "float32", [6.0, 12.0, 24.0])
HALF = row(cases.OURS, "bfloat16", "bfloat16", [3.0, 6.0, 6.0])
EAGER = row(cases.PYTORCH, "eager", "float32", [60.0, 60.0, 60.0])
COMPILED = row(cases.PYTORCH, "compile", "float32", [9.0, 12.0, 60.0])
LOST = row(cases.PYTORCH, "amp", "bfloat16", [0.1, 0.1], failed="out of memory")


def test_seconds_of_steps_and_images():
    assert timings.seconds_per_step(OURS) == [3.0, 6.0, 12.0]
    assert timings.seconds_per_image(OURS) == [1.0, 2.0, 4.0]
    assert timings.rates(OURS, operations=8.0) == [8.0, 4.0, 2.0]


def test_spread():
    assert timings.spread([3.0, 1.0, 8.0, 5.0]) == {
        "median": 4.0, "least": 1.0, "most": 8.0
    }  # fmt: skip


def test_a_ratio_is_the_median_over_consecutive_turns():
    # 9/6, 12/12, 60/24: 1.5, 1.0, 2.5; of the medians it would be 12/12.
    assert timings.ratio(COMPILED, OURS) == {"median": 1.5, "least": 1.0, "most": 2.5}


def test_the_fastest_of_each_are_compared_by_arithmetic_and_of_all():
    results = timings.ratios([OURS, HALF, EAGER, COMPILED, LOST])
    assert set(results) == {"float32", "fastest"}  # the lost one has no ratio
    assert results["float32"] == {
        "ours": "float32", "pytorch": "compile",
        "median": 1.5, "least": 1.0, "most": 2.5,
    }  # fmt: skip
    # 9/3, 12/6, 60/6
    assert results["fastest"]["ours"] == "bfloat16"
    assert results["fastest"]["median"] == 3.0


def test_a_part_of_the_work_is_not_compared():
    part = row(cases.OURS, "random access", "", [0.1], compared=False)
    assert timings.fastest([part], cases.OURS) is None


def test_the_peak_is_the_best_product_of_either_framework():
    def entry(framework, seconds, allocator):
        product = row(framework, "float32", "float32", seconds)
        product["compiler_operations"] = 6.0
        case = {"part": cases.PRODUCTS, "platform": "cpu", "allocator": allocator}
        return {"case": case, "rows": [product]}

    results = timings.peaks(
        [entry(cases.OURS, [6.0, 3.0], "default"), entry(cases.PYTORCH, [4.0], "x")]
    )
    assert results == {
        "cpu/float32": {"rate": 12.0, "framework": cases.OURS, "allocator": "default"}
    }


@pytest.mark.parametrize("rows", [[], [OURS], [OURS, LOST]])
def test_no_ratio_without_both(rows):
    assert timings.ratios(rows) == {}
