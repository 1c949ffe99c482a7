"""The search for the largest batch, with memory as a known function of the batch."""

import pytest

from benchmarks.roofline import batch_search

MOST = 6


def search(first: int, fixed: float, per_slice: float, available: float = 1000.0):
    """The bounds, and the batches that were measured."""
    measured: list[int] = []

    def measure(size: int) -> batch_search.Need:
        measured.append(size)
        needed = fixed + per_slice * size
        return batch_search.Need(needed, needed <= available)

    return batch_search.largest(measure, first, available, MOST), measured


@pytest.mark.parametrize("first", [1, 8, 60, 64, 1000])
@pytest.mark.parametrize(("fixed", "per_slice"), [(0, 13), (200, 13), (900, 25)])
def test_the_largest_batch_lies_between_the_bounds(first, fixed, per_slice):
    bounds, measured = search(first, fixed, per_slice)
    truth = (1000 - fixed) // per_slice
    assert bounds.compilations == len(measured) == len(set(measured)) <= MOST
    assert bounds.fits <= truth
    assert bounds.too_large is None or bounds.too_large > truth


def test_where_memory_is_proportional_the_second_guess_is_right():
    bounds, measured = search(8, 0, 50)
    assert measured == [8, 20, 30, 25, 22]
    assert bounds == (20, 22, 5)


def test_a_first_guess_that_is_far_off_costs_two_compilations():
    bounds, measured = search(1000, 0, 13)  # 76 fit
    assert measured == [1000, 76, 114, 95, 85]
    assert bounds == (76, 85, 5)


def test_nothing_fits():
    bounds, measured = search(64, 2000, 1)
    assert (bounds.fits, bounds.too_large) == (0, 1)
    assert measured[-1] == 1


def test_the_search_ends_once_the_bounds_are_near():
    bounds, measured = search(100, 0, 10)
    assert measured == [100, 150, 125, 112]
    assert bounds == (100, 112, 4)
