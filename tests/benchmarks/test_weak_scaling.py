"""The list of cases and the table; the measurements are not tested."""

import numpy as np

from benchmarks import weak_scaling


def test_one_device_comes_first_and_shares_are_equal():
    flags = weak_scaling.parse_flags(["--devices=1,2,3", "--backends=pmap,jit"])
    cases = weak_scaling.list_cases(flags)
    listed = [(case.backend, case.processes, case.devices) for case in cases]
    assert listed[0] == ("jit", 1, 1)
    assert set(listed[1:]) == {
        ("pmap", 1, 1), ("pmap", 1, 2), ("pmap", 1, 3), ("pmap", 2, 2),
        ("jit", 1, 2), ("jit", 1, 3), ("jit", 2, 2),
    }  # fmt: skip


def test_the_difference_is_relative_to_the_whole_gradient():
    reference = {"a": np.array([3.0, 0.0]), "b": np.array([4.0])}
    other = {"a": np.array([3.0, 0.5]), "b": np.array([4.0])}
    assert weak_scaling.difference(reference, other) == 0.1


def test_the_overhead_is_the_time_beyond_n_steps_of_one_device():
    row = {"backend": "jit", "processes": 1, "devices": 1, "difference": 0.0}
    row |= {"collectives": {}, "seconds": [0.1, 0.1, 9.0]}
    two = row | {"devices": 2, "seconds": [0.25], "difference": 1e-7}
    two |= {"collectives": {"all-reduce": {"count": 3, "bytes": 2_000_000}}}
    text = weak_scaling.table(
        {
            "command": "it", "parameters": 1000, "per_device": 2, "image_size": 64,
            "machine": {"processor": "p", "usable_cores": 2}, "versions": {"jax": "1"},
            "rows": [row, two],
        }
    )  # fmt: skip
    assert "| jit | 1 | 1 | none | 0.000 | 0.0e+00 | 100.0 | +0 % |" in text
    assert "| jit | 1 | 2 | 3 all-reduce | 2.000 | 1.0e-07 | 250.0 | +25 % |" in text
