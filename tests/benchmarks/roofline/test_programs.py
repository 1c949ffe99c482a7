"""The analysis of XLA's programs and errors; the programs here are for the CPU."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

from benchmarks.roofline import chips, command, programs
from benchmarks.throughput import workload
from mtl_jax.configs import demo
from mtl_jax.core import errors
from mtl_jax.models.fast import rewrites
from mtl_jax.run import wiring

GIB = 2**30


@pytest.mark.parametrize(
    ("message", "sizes"),
    [
        (
            "the total memory required for HLO temporaries (670.62G) exceeds available "
            "HBM (15.75G).",
            (670.62 * GIB, 15.75 * GIB),
        ),
        ("CompileTimeHbmOom: 512.0M exceeds available HBM (1.0G)", (GIB / 2, GIB)),
        ("Used 17.42G of 15.75G hbm. Exceeded", (17.42 * GIB, 15.75 * GIB)),
        ("something else", (None, None)),
    ],
)
def test_sizes_in_the_compilers_errors(message: str, sizes: tuple):
    assert programs.read_sizes(message) == sizes


@pytest.fixture
def config():
    changed = demo.get_config("baseline")
    changed.train.batch_size = changed.evaluate.batch_size = 4
    return command.without_data(changed)


@pytest.fixture
def run(config, tmp_path) -> programs.TargetRun:
    no_data: Any = None
    return programs.TargetRun(config, no_data, tmp_path, devices=jax.devices()[:2])


def test_virtual_devices_are_a_target():
    devices = jax.devices()
    assert programs.find_target("cpu").devices == devices[:1]
    assert programs.find_target(f"cpu:{len(devices)}").devices == devices
    with pytest.raises(errors.ConfigError, match="device_count=99"):
        programs.find_target("cpu:99")


def test_slices_on_the_devices_make_a_batch(config, tmp_path):
    with config.unlocked():
        config.augment.enabled = config.data.on_device = True
        config.data.neighbours = 1
    no_data: Any = None
    run = programs.TargetRun(config, no_data, tmp_path, devices=jax.devices()[:2])
    made, expected = (
        programs.lower(run, "batch").out_info,
        programs.batch_shapes(run, 4),
    )
    for name, row in expected.items():
        assert (made[name].shape, made[name].dtype) == (row.shape, row.dtype), name
    assert made.keys() - expected.keys() <= {"patient", "slice"}


def test_shapes_are_those_of_a_batch(run):
    expected = workload.noise_batch(run.config, run.preprocess.channels)
    shapes = programs.batch_shapes(run, 4)
    assert {n: (x.shape, x.dtype) for n, x in shapes.items()} == {
        n: (x.shape, x.dtype) for n, x in expected.items()
    }


@pytest.mark.parametrize("backend", ["jit", "pmap"])
@pytest.mark.parametrize("part", ["train", "inference"])
def test_the_steps_are_lowered_for_the_runs_devices(run, config, backend, part):
    config = command.with_values(config, {"train.backend": backend})
    run = programs.TargetRun(config, run.data, run.workdir, devices=run.devices)
    text = programs.lower(run, part).as_text()
    assert "num_partitions = 2" in text or "num_replicas = 2" in text
    # Only training gives its state back in the memory of the old one.
    assert ("tf.aliasing_output" in text or "jax.buffer_donor" in text) == (
        part == "train"
    )


def test_memory_of_a_program_worked_by_hand():
    double = jax.jit(lambda x, y: (x + y, x * y), donate_argnums=0)
    square = np.zeros((64, 64), np.float32)
    compiled = double.lower(square, square).compile()
    analysis = programs.describe(compiled, chips.of("cpu"))
    assert analysis["memory"]["arguments"] == 2 * square.nbytes
    assert analysis["aliased"] == square.nbytes
    # Two results, of which one lies where the first argument was; XLA adds a table.
    assert 0 <= analysis["memory"]["results"] - square.nbytes <= 64
    assert analysis["operations"] == 2 * square.size
    # One fusion of two arguments and two results; or two, after a copy of an argument.
    assert analysis["summary"]["memory_bytes"] / square.nbytes in (4, 8)
    assert analysis["collectives"] == {}


@pytest.mark.parametrize("part", ["train", "inference"])
def test_a_program_that_needs_more_memory_than_there_is_does_not_fit(config, part):
    here, chip = jax.devices()[:1], chips.CHIPS["v5e"]
    target = programs.Target("here", here, chip, chips=1, available=10 * GIB)
    row = programs.compile_part(target, config, part)
    needed = row["memory"]["sum"]
    assert row["fits"]
    target = dataclasses.replace(target, available=needed - 1)
    row = programs.compile_part(target, config, part)
    assert not row["fits"] and row["asked"] == needed and "memory" not in row


def test_batch_norm_has_the_groups_of_the_configuration(config):
    chosen = command.with_values(config, {"train.batch_norm_slices": 2})
    assert wiring.make_network(chosen, None, "cpu").numerics.norm_slices == 2


def test_rewrites_are_chosen_for_the_devices_of_the_step(config):
    chosen = command.with_values(config, {"model.rewrites": "auto"})
    on = {p: wiring.make_network(chosen, None, p) for p in ("", "cpu", "tpu")}
    assert on[""].numerics.rewrites == on["cpu"].numerics.rewrites == rewrites.CPU
    assert on["tpu"].numerics.rewrites == rewrites.TPU
