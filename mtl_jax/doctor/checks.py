"""The checks of `doctor`: each says what is there, and what to do about it.

Input: this machine and this installation. Output: Findings, without names of users or
patients, so that the text can go into a bug report.
"""

import dataclasses
import importlib.metadata
import os
import platform
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from mtl_jax import __version__
from mtl_jax.run import config_files
from mtl_jax.zoo import packaged

GB = 1 << 30
LITTLE_MEMORY_GB = 8
LITTLE_DISK_GB = 10
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
MEMORY = Path("/proc/meminfo")
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
LIBRARIES += ("tensorflow-datasets", "pydicom")


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a check found; `advice` is what to do, or "" if nothing."""

    text: str
    advice: str = ""
    works: bool = True  # False: no command can work like this


def versions() -> Finding:
    """Versions of the package, Python, the system and the libraries."""
    found, missing = [], []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    system = f"{platform.system()} {platform.machine()} {' '.join(platform.libc_ver())}"
    text = (
        f"mtl-jax {__version__}, Python {platform.python_version()}, {system}; "
        f"{', '.join(found)}"
    )
    if missing:
        lacks = f"{text}; missing: {', '.join(missing)}"
        return Finding(lacks, "pip install mtl-jax (again)", works=False)
    return Finding(text)


def devices() -> Finding:
    """What JAX computes on."""
    import jax

    found = jax.devices()
    text = f"{len(found)} x {found[0].device_kind} ({jax.default_backend()})"
    if found[0].platform != "cpu":
        return Finding(text)
    text += f", {os.cpu_count()} cores"
    if NVIDIA_DRIVER.exists():
        return Finding(
            f"{text}; the NVIDIA GPU of this machine is not used",
            "pip install 'mtl-jax[cuda]'; JAX_PLATFORMS=cpu hides a GPU",
        )
    return Finding(text)


def memory() -> Finding:
    """Main memory, and the disk of the current folder."""
    amounts = dict(re.findall(r"(\w+):\s+(\d+) kB", MEMORY.read_text()))
    total, free = (int(amounts[k]) * 1024 / GB for k in ("MemTotal", "MemAvailable"))
    disk = shutil.disk_usage(".").free / GB
    text = f"{free:.1f} of {total:.1f} GB free; disk of this folder {disk:.0f} GB free"
    advice = []
    if free < LITTLE_MEMORY_GB:
        advice.append(
            "a network of full size may not fit: lower --config.train.batch_size, or "
            "begin with --config=demo"
        )
    if disk < LITTLE_DISK_GB:
        advice.append("data sets and checkpoints take gigabytes: make room")
    return Finding(text, "; ".join(advice))


def huge_pages() -> Finding:
    """Whether large arrays on a CPU are in huge pages."""
    allowed = HUGE_PAGES.read_text() if HUGE_PAGES.exists() else "[never]"
    if "[always]" in allowed:
        return Finding("on for all programs")
    if "[never]" in allowed:
        return Finding("not offered by this system; training on a CPU is slower")
    if "glibc.malloc.hugetlb=1" in os.environ.get("GLIBC_TUNABLES", ""):
        return Finding("on (GLIBC_TUNABLES)")
    return Finding(
        "off",
        "export GLIBC_TUNABLES=glibc.malloc.hugetlb=1; it saves 15 to 20 % of a "
        "training step on a CPU",
    )


def compile_cache() -> Finding:
    """Where compiled programs are kept for the next start."""
    import jax

    from mtl_jax.train import compilation

    compilation.keep_programs()
    if not jax.config.values["jax_enable_compilation_cache"]:
        return Finding(
            "off", "unset JAX_ENABLE_COMPILATION_CACHE: each start compiles anew"
        )
    folder = Path(jax.config.values["jax_compilation_cache_dir"])
    there = (
        [path.stat().st_size for path in folder.glob("*")] if folder.exists() else []
    )
    text = f"{short(folder)}: {len(there)} files, {sum(there) / GB:.1f} GB"
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(nearest, os.W_OK):
        return Finding(text, "not writable: set JAX_COMPILATION_CACHE_DIR to a folder")
    return Finding(text)


def data() -> Finding:
    """The data sets that were built, and the raw patients that are there."""
    usual = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    folder = Path(usual).expanduser()
    built = sorted(path.parent for path in folder.glob("*/*/*/dataset_info.json"))
    raw = folder / "downloads" / "manual"
    count = len(list(raw.iterdir())) if raw.is_dir() else 0
    names = ", ".join(str(path.relative_to(folder)) for path in built) or "none built"
    text = f"{short(folder)}: {names}; raw: {count} files or folders in {short(raw)}"
    if built or count:
        return Finding(text)
    return Finding(
        text,
        "--config=demo needs none; --config=openkbp downloads the public archive; your "
        "own: --manual_dir=DIR, first `mtl-jax cohort DIR`",
    )


def weights() -> Finding:
    """Networks that come with the package, and the pretrained encoder."""
    from mtl_jax.models import pretrained

    names = packaged.names()
    published = pretrained.RESNET50_IMAGENET_V1
    encoder = pretrained.find(published)
    text = f"packaged: {', '.join(names) or 'none'}; pretrained encoder: "
    advice = [] if names else ["predict needs --checkpoint=DIR of a network of yours"]
    if encoder is None:
        text += "not there"
        advice.append(
            f"--config=openkbp downloads it (98 MB); without internet, put "
            f"{published.name} into {short(pretrained.folders()[0])}"
        )
    else:
        text += short(encoder)
    return Finding(text, "; ".join(advice))


def configurations() -> Finding:
    """The configurations that `--config` knows by name."""
    return Finding(f"{', '.join(config_files.names())} in {short(config_files.FOLDER)}")


CHECKS: dict[str, Callable[[], Finding]] = {
    "versions": versions,
    "devices": devices,
    "memory": memory,
    "huge pages": huge_pages,
    "compile cache": compile_cache,
    "data": data,
    "weights": weights,
    "configurations": configurations,
}


def find(check: Callable[[], Finding]) -> Finding:
    """What `check` finds; an error in it is a finding too."""
    try:
        return check()
    except Exception as error:  # whatever is broken is what the user asks for
        return Finding(
            f"{type(error).__name__}: {short(str(error))}",
            "install again into a new environment; if it stays, report this text",
            works=False,
        )


def short(path: Path | str) -> str:
    """`path` with ~ for the user's home, whose name says who the user is."""
    return str(path).replace(str(Path.home()), "~")
