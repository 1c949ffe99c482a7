"""The compilers for TPUs and GPUs know every option that training may give them."""

import os
import subprocess
import sys

import pytest

from benchmarks.roofline import __main__ as entry
from benchmarks.roofline import gpus
from tests.benchmarks.roofline import test_command

CODE = """
from benchmarks.roofline import programs
from mtl_jax.train import compiler_options
(device, *_) = programs.find_target("{topology}").devices
options = compiler_options.BY_PLATFORM[device.platform]
assert options and not compiler_options.is_known("xla_no_such_option", True, device)
assert compiler_options.known_to(device) == {{o.name: o.value for o in options}}
"""


TOPOLOGIES = [
    pytest.param("v5e:1x1", marks=test_command.NEEDS_LIBTPU),
    pytest.param(
        "h200",
        marks=pytest.mark.skipif(
            not gpus.installed(), reason="no compiler for NVIDIA's GPUs"
        ),
    ),
]


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_every_option_is_known(topology):
    """In a process of its own: a compiler may abort it."""
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(topology=topology)],
        cwd=test_command.ROOT,
        env=os.environ | entry.ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_a_training_step_compiles_with_all_of_them(tmp_path, topology):
    done = test_command.compile_for(
        tmp_path,
        f"--topology={topology}",
        "--backends=jit",
        "--parts=train",
        "--config.train.compiler_options=tuned",
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "has no option" not in done.stderr
