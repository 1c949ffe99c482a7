"""A command starts again with huge pages: once, in its place, where that can help."""

import os
import signal
import subprocess
import sys

import pytest

from mtl_jax.core import huge_pages

GLIBC, MADVISE = "glibc 2.36", "always [madvise] never"
SET = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1", "MTL_JAX_HUGE_PAGES": "0"}


@pytest.mark.parametrize(
    ("environment", "libc", "mode", "expected"),
    [
        ({}, GLIBC, MADVISE, SET),
        ({"PATH": "/bin"}, "glibc 3.0", MADVISE, SET),
        ({"MTL_JAX_HUGE_PAGES": "1"}, GLIBC, MADVISE, SET),
        ({"MTL_JAX_HUGE_PAGES": "0"}, GLIBC, MADVISE, {}),
        ({"GLIBC_TUNABLES": ""}, GLIBC, MADVISE, {}),
        ({"GLIBC_TUNABLES": "glibc.malloc.check=0"}, GLIBC, MADVISE, {}),
        (SET, GLIBC, MADVISE, {}),  # not twice
        ({}, "glibc 2.34", MADVISE, {}),
        ({}, "musl 1.2.5", MADVISE, {}),
        ({}, "glibc", MADVISE, {}),
        ({}, "", MADVISE, {}),
        ({}, GLIBC, "[always] madvise never", {}),
        ({}, GLIBC, "always madvise [never]", {}),
        ({}, GLIBC, "", {}),
    ],
)
def test_variables_are_set_where_they_help(environment, libc, mode, expected):
    assert huge_pages.variables(environment, libc=libc, mode=mode) == expected


# On any Linux: what the machine has is replaced.
BEFORE = f"""
import os, signal, sys
from mtl_jax.core import huge_pages
huge_pages._libc, huge_pages._mode = lambda: "{GLIBC}", lambda: "{MADVISE}"
ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
signal.signal(signal.SIGHUP, signal.SIG_IGN)
"""
START = (
    BEFORE
    + """
huge_pages.use()
print(os.getpid(), ignored, os.environ.get("GLIBC_TUNABLES"))
print(sys.argv[1:], sys.stdin.read(), flush=True)
"""
)
only_linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone")


def start(code, **environment):
    clean = {k: v for k, v in os.environ.items() if k not in SET} | environment
    # As at a terminal: whoever runs these tests may ignore the signal.
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    process = subprocess.Popen(
        [sys.executable, "-c", code, "an argument", "--flag=ü"],
        env=clean,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    signal.signal(signal.SIGHUP, before)
    out, err = process.communicate("input", timeout=60)
    return process, out, err


@only_linux
def test_the_program_starts_again_once_with_all_that_it_had():
    process, out, err = start(START + "sys.exit(75)")
    # An ignored signal is inherited, which shows that the program began before.
    assert out.splitlines() == [
        f"{process.pid} True glibc.malloc.hugetlb=1",
        "['an argument', '--flag=ü'] input",
    ]
    assert (process.returncode, err) == (75, "")


@only_linux
def test_the_variable_turns_it_off_and_a_signal_ends_it_as_before():
    ending = "os.kill(os.getpid(), signal.SIGTERM)"
    process, out, _ = start(START + ending, MTL_JAX_HUGE_PAGES="0")
    assert out.splitlines()[0] == f"{process.pid} False None"
    assert process.returncode == -signal.SIGTERM
    assert start(START + ending)[0].returncode == -signal.SIGTERM


@only_linux
def test_a_program_that_cannot_start_again_goes_on():
    missing = "sys.executable = '/no/such/program'; huge_pages.use(); print('went on')"
    process, out, err = start(BEFORE + missing)
    assert (process.returncode, out, err) == (0, "went on\n", "")


@pytest.mark.parametrize("module", ["main", "study.__main__"])
def test_commands_start_again_before_they_import_anything(module):
    path = huge_pages.__file__.replace(
        "core/huge_pages.py", module.replace(".", "/") + ".py"
    )
    with open(path, encoding="utf-8") as file:
        program, _, _ = file.read().partition("huge_pages.use()")
    code = program.rpartition('"""')[2]
    assert [*filter(None, map(str.strip, code.splitlines()))] == [
        'if __name__ == "__main__":',
        "from mtl_jax.core import huge_pages",
    ]
