"""The roofline, worked by hand."""

import dataclasses

import pytest

from benchmarks.roofline import chips
from mtl_jax.core import errors

CHIP = chips.Chip(operations=100.0, memory=0.0, memory_rate=10.0, link_rate=2.0)
SUMMARY = {"padded_bytes": 30.0, "cycles": 12, "seconds_by_pass": 7.0}
STEP = {"batch_size": 16, "operations": 200.0, "collectives": {}, "summary": SUMMARY}


def test_the_slowest_of_three_bounds_a_step():
    estimate = chips.roofline(CHIP, STEP, chips=4, cores=1)
    assert estimate["seconds"] == {"arithmetic": 2.0, "memory": 3.0, "links": 0.0}
    assert estimate["bound"] == "memory"
    assert estimate["images_per_second_per_chip"] == 4 / 3


def test_cycles_and_kernels_bound_a_step_where_there_are_any():
    clocked = dataclasses.replace(CHIP, clock=2.0)
    estimate = chips.roofline(clocked, STEP, chips=1, cores=1)
    assert estimate["seconds"]["cycles"] == 6.0 and estimate["bound"] == "cycles"
    launched = dataclasses.replace(CHIP, launch=1.0)
    estimate = chips.roofline(launched, STEP, chips=1, cores=1)
    assert estimate["seconds"]["kernels"] == 7.0 and estimate["bound"] == "kernels"


def test_a_machine_without_known_peaks_has_no_bound():
    estimate = chips.roofline(chips.of("cpu"), STEP, chips=1, cores=1)
    assert estimate["bound"] is estimate["images_per_second_per_chip"] is None


def test_clocks_and_peaks_agree():
    units = {"v4": (8, 128), "v5e": (4, 128), "v5p": (8, 128), "v6e": (4, 256)}
    for name, (count, side) in units.items():
        chip = chips.of(name)
        assert chip.operations / (2 * count * side**2) == pytest.approx(
            chip.clock, rel=0.005
        )


def test_two_devices_of_a_chip_share_what_it_has():
    estimate = chips.roofline(CHIP, STEP, chips=4, cores=2)
    assert estimate["seconds"] == {"arithmetic": 4.0, "memory": 6.0, "links": 0.0}


@pytest.mark.parametrize(
    ("kind", "times"), [("all-reduce", 1.5), ("all-gather", 0.75), ("all-to-all", 0.75)]
)
def test_what_four_devices_send_in_a_ring(kind: str, times: float):
    row = {"count": 1, "bytes": 8}
    estimate = chips.roofline(CHIP, STEP | {"collectives": {kind: row}}, 4, 1)
    assert estimate["seconds"]["links"] == times * 8 / 2


def test_a_permutation_sends_all_of_it_and_one_device_sends_nothing():
    moved = STEP | {"collectives": {"collective-permute": {"count": 1, "bytes": 8}}}
    assert chips.roofline(CHIP, moved, 4, 1)["seconds"]["links"] == 4.0
    alone = STEP | {"collectives": {"all-reduce": {"count": 1, "bytes": 8}}}
    assert chips.roofline(CHIP, alone, 1, 1)["seconds"]["links"] == 0.0


def test_an_unknown_chip_is_an_error_that_names_the_nearest():
    assert chips.of("v5e:4x4") is chips.CHIPS["v5e"]
    with pytest.raises(errors.ConfigError, match=r"'v5litepod.*known: v4, v5e"):
        chips.of("v5litepod-4:2x2")
    with pytest.raises(errors.ConfigError, match="did you mean 'v6e'"):
        chips.of("v6:2x2")
