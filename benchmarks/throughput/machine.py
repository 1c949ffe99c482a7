"""The machine: the devices of each framework, hardware, versions and environment.

`python -m benchmarks.throughput.machine` prints what `query` returns. The query runs in
a process of its own, because a framework keeps its devices until its process ends.
"""

import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.throughput import cases

PLATFORMS = ("cpu", "cuda", "tpu")
PACKAGES = (
    "jax", "jaxlib", "flax", "optax", "grain", "numpy", "torch", "triton",
    "tensorflow-datasets", "array-record", "jax-cuda12-plugin", "jax-cuda13-plugin",
    "nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "libtpu",
)  # fmt: skip
# Environment variables that change the speed or the measurement (or their prefixes).
VARIABLES = (
    "CUDA_VISIBLE_DEVICES", "GLIBC_TUNABLES", "JAX_", "KMP_", "LD_PRELOAD", "LIBTPU_",
    "MALLOC_", "MKL_", "NVIDIA_TF32_OVERRIDE", "OMP_", "ONEDNN_", "TORCH", "TRITON_",
    "XLA_",
)  # fmt: skip
INSTRUCTIONS = ("amx", "asimd", "avx", "bf16", "f16c", "fma", "sme", "sve")


@dataclasses.dataclass(frozen=True)
class Framework:
    """A framework and the devices that it finds."""

    devices: dict[str, str]  # platform: the device's name
    version: str = ""
    reason: str = ""  # why other platforms are missing


def query() -> dict[str, Framework]:
    """Both frameworks by name, queried in another process."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.throughput.machine"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise RuntimeError(f"cannot list the devices: {done.stderr}") from None
    return {name: Framework(**value) for name, value in answer.items()}


def query_jax() -> Framework:
    """JAX and its devices."""
    import jax

    devices, reasons = {}, []
    for name in PLATFORMS:
        try:
            devices[name] = jax.devices(name)[0].device_kind
        except Exception as error:  # each backend has its own kinds of error
            reasons.append(f"{name}: {(str(error).splitlines() or [''])[0][:160]}")
    return Framework(devices, jax.__version__, "; ".join(reasons))


def query_torch() -> Framework:
    """PyTorch and its devices; no devices if it is not installed."""
    if importlib.util.find_spec("torch") is None:
        return Framework({}, reason="PyTorch is not installed (extra `torch`)")
    import torch

    devices = {"cpu": platform.processor() or platform.machine()}
    if torch.version.cuda is None:
        return Framework(
            devices, torch.__version__, "this PyTorch was built without CUDA"
        )
    if not torch.cuda.is_available():
        return Framework(devices, torch.__version__, "PyTorch finds no CUDA device")
    devices["cuda"] = torch.cuda.get_device_name()
    return Framework(devices, torch.__version__)


def describe() -> dict[str, Any]:
    """Hardware and operating system, as far as they can be read."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "memory_bytes": memory_bytes(),
        "cpu_flags": cpu_flags(),
        "huge_pages": read("/sys/kernel/mm/transparent_hugepage/enabled"),
        "graphics": graphics(),
        "system": platform.platform(),
        "libc": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Versions of the installed packages."""
    installed = {}
    for name in PACKAGES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def variables() -> dict[str, str]:
    """The variables of the environment that may change a measurement."""
    return {k: v for k, v in sorted(os.environ.items()) if k.startswith(VARIABLES)}


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """The processor's name."""
    return from_cpuinfo("model name") or platform.processor() or platform.machine()


def cpu_flags() -> list[str]:
    """The processor's vector and matrix instructions."""
    flags = from_cpuinfo("flags") or from_cpuinfo("Features")
    return sorted(flag for flag in flags.split() if flag.startswith(INSTRUCTIONS))


def from_cpuinfo(key: str) -> str:
    """The value of `key` for the first processor in /proc/cpuinfo, or ""."""
    for line in read("/proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def memory_bytes() -> int | None:
    """Main memory in bytes, if known."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def graphics() -> list[str]:
    """Graphics cards, drivers and power limits, from `nvidia-smi`."""
    query = "name,driver_version,memory.total,power.limit"
    try:
        done = subprocess.run(
            ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"],
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.strip().splitlines()


def read(path: str) -> str:
    """The text of a system file, or ""."""
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def main() -> None:
    """Print both frameworks and their devices as one line of JSON."""
    frameworks = {cases.OURS: query_jax(), cases.PYTORCH: query_torch()}
    print(json.dumps({k: dataclasses.asdict(v) for k, v in frameworks.items()}))


if __name__ == "__main__":
    main()
