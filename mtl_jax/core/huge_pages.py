"""Huge pages for the memory that a command allocates: 15-20 % of a step on a CPU.

glibc decides when a process begins, by an environment variable. `use` therefore starts
the command once more in its place, before anything is loaded: the process, its parent,
its open files and its arguments stay the same.
"""

import os
import sys
from collections.abc import Mapping

# Set to 0, no command starts again. `use` sets it itself, so that none does twice.
VARIABLE = "MTL_JAX_HUGE_PAGES"
TUNABLES = "GLIBC_TUNABLES"
# "always [madvise] never": a program may ask for huge pages, and must.
MODE = "/sys/kernel/mm/transparent_hugepage/enabled"
# The first version of glibc that asks for them.
OLDEST = (2, 35)


def use() -> None:
    """Start this program again with huge pages, if that is possible and helps.

    Call it first, before other modules are imported.
    """
    if sys.platform != "linux" or sys.gettrace() or sys.getprofile():
        return  # a debugger or profiler would lose its program
    changes = variables(os.environ, libc=_libc(), mode=_mode())
    if not changes or not sys.executable:
        return
    again = [sys.executable, *sys.orig_argv[1:]]
    try:
        os.execve(sys.executable, again, {**os.environ, **changes})
    except OSError:
        return  # the program runs as well without


def variables(
    environment: Mapping[str, str], *, libc: str, mode: str
) -> dict[str, str]:
    """What to set in `environment`; {} if it should stay as it is.

    Args:
        environment: the process's. Nothing changes if the user has set glibc's
            tunables, even to nothing.
        libc: name and version, such as "glibc 2.36".
        mode: the kernel's, such as "always [madvise] never".
    """
    name, _, version = libc.partition(" ")
    numbers = version.split(".")[:2]
    fits = name == "glibc" and all(part.isdecimal() for part in numbers)
    if not fits or tuple(map(int, numbers)) < OLDEST or "[madvise]" not in mode:
        return {}
    if environment.get(VARIABLE) == "0" or TUNABLES in environment:
        return {}
    return {TUNABLES: "glibc.malloc.hugetlb=1", VARIABLE: "0"}


def _libc() -> str:
    """Name and version of the C library; "" if it is not glibc."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (OSError, ValueError):
        return ""


def _mode() -> str:
    try:
        with open(MODE, encoding="ascii") as file:
            return file.read()
    except OSError:
        return ""
