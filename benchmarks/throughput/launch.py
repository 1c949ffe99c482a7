"""How a worker is started: its command line and its environment, the same for both.

Nothing of it starts a process or asks a device, so that any machine's workers can be
worked out on any other.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.throughput import cases

HUGE_PAGES = "glibc.malloc.hugetlb"


def command() -> list[str]:
    """The command line of a worker; what it is to do goes to its input."""
    return [sys.executable, "-m", "benchmarks.throughput.worker"]


def environment(
    case: cases.Case,
    mode: cases.Mode,
    *,
    threads: int,
    caches: Path,
    user: Mapping[str, str],
) -> dict[str, str]:
    """What is set for a worker over the `user`'s environment; "" takes a name away.

    Args:
        case: what is computed, where, and with which allocator.
        mode: how.
        threads: of both frameworks.
        caches: folder for compiled programs.
        user: the environment of this process.
    """
    found = {
        "OMP_NUM_THREADS": str(threads),
        "NPROC": str(threads),  # XLA's thread pool
        "GLIBC_TUNABLES": tunables(case.allocator, user.get("GLIBC_TUNABLES", "")),
        "JAX_COMPILATION_CACHE_DIR": str(caches / "jax"),
        "TORCHINDUCTOR_CACHE_DIR": str(caches / "inductor"),
        "TRITON_CACHE_DIR": str(caches / "triton"),
    }
    if mode.framework == cases.OURS:
        found["JAX_PLATFORMS"] = case.platform
        if case.platform == "cuda":  # the others wait with their memory on the device
            found["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    else:
        found["JAX_PLATFORMS"] = "cpu"  # should anything of ours start JAX
    return found | dict(mode.environment)


def tunables(allocator: str, user: str) -> str:
    """GLIBC_TUNABLES with huge pages or without, and the user's others."""
    others = [one for one in user.split(":") if one and HUGE_PAGES not in one]
    if allocator == "hugepages":
        others.append(f"{HUGE_PAGES}=1")
    return ":".join(others)
