"""Results come in order whoever did the work, and few are ever under way."""

import math
import os

import pytest

from mtl_jax.core import errors, workers


@pytest.mark.parametrize("count", [1, 2])
def test_results_come_in_order_and_no_task_is_taken_far_ahead(count: int):
    taken = []

    def tasks():
        for number in range(8):
            taken.append(number)
            yield (number,)

    results = workers.in_order(math.factorial, tasks(), count)
    for number, result in enumerate(results):
        assert result == math.factorial(number)
        assert len(taken) <= number + 1 + count
    assert len(taken) == 8


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_of_a_task_comes_out_as_it_is(count: int):
    results = workers.in_order(math.factorial, iter([(3,), (-1,), (4,)]), count)
    assert next(results) == 6
    with pytest.raises(ValueError, match="negative"):
        next(results)


def test_a_worker_that_dies_is_reported():
    with pytest.raises(errors.DatasetError, match="worker process died"):
        list(workers.in_order(os._exit, iter([(9,)]), 2))
