"""Options for accelerators' compilers: an unknown one is left out, and nothing aborts.

XLA's options have one list of names for CPUs and GPUs, so that the compiler for CPUs
knows the GPUs'. Those of TPUs are asked of their own compiler in
tests/benchmarks/roofline/test_compiler_options.py.
"""

import logging
import pathlib

import jax
import jax.numpy as jnp
import pytest

from mtl_jax.core import errors
from mtl_jax.train import compiler_options, parallel

PAGE = pathlib.Path(__file__).parents[2] / "docs/reference/compiler-options.md"
UNKNOWN = compiler_options.Option("xla_gpu_enable_wishes", True, "", "")


def test_every_option_for_gpus_is_known_to_this_version():
    device = jax.devices()[0]
    for option in compiler_options.GPU:
        assert compiler_options.is_known(option.name, option.value, device)


def test_an_unknown_option_is_left_out(monkeypatch, caplog):
    options = (UNKNOWN, compiler_options.GPU[0])
    monkeypatch.setattr(compiler_options, "BY_PLATFORM", {"cpu": options})
    with caplog.at_level(logging.WARNING):
        known = compiler_options.known_to(jax.devices()[0])
    assert known == {compiler_options.GPU[0].name: True}
    assert "no option xla_gpu_enable_wishes" in caplog.text


def test_a_cpu_has_none():
    assert compiler_options.known_to(jax.devices()[0]) == {}


def test_updates_are_compiled_with_the_options(monkeypatch):
    """An option that does not exist shows whether the compiler was given it."""
    options = {"xla_gpu_enable_wishes": True}
    monkeypatch.setattr(compiler_options, "known_to", lambda device: options)
    sizes = {"batch_size": 4, "accumulate": 1, "evaluate_batch_size": 4}
    for tuned in (False, True):
        where = parallel.backend("jit", devices=1, **sizes, tuned=tuned)
        update = where.update(lambda state, batch: state + batch.sum())
        lowered = update.lower(jnp.zeros(()), jnp.ones(4))
        if tuned:
            with pytest.raises(jax.errors.JaxRuntimeError, match="enable_wishes"):
                lowered.compile()
        else:
            lowered.compile()


def test_pmap_takes_none():
    sizes = {"batch_size": 4, "accumulate": 1, "evaluate_batch_size": 4}
    with pytest.raises(errors.ConfigError, match=r"set train\.backend to jit"):
        parallel.backend("pmap", devices=1, **sizes, tuned=True)


def test_the_page_has_every_option():
    page = PAGE.read_text(encoding="utf-8")
    for option in (*compiler_options.GPU, *compiler_options.TPU):
        row = (f"`{option.name}`", str(option.value), option.reason, option.source)
        assert f"| {' | '.join(row)} |" in page
