"""A run's working directory: which run it holds, and its JSON files.

`config.json` has the whole configuration, `provenance.json` versions, devices and
commands, and `statistics.json` how the CT was normalised.
"""

import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import ml_collections

from mtl_jax.core import config as configs
from mtl_jax.core import errors, files

PACKAGES = (
    "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "clu",
    "tensorflow-datasets", "array-record", "ml-collections", "numpy", "scipy",
)  # fmt: skip


def write_json(value: Any, path: Path) -> None:
    """Write `value`, whole or not at all."""
    with files.whole(path) as partial:
        partial.write_text(json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """The value in `path`; a WorkdirError if it cannot be read."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise errors.WorkdirError(
            f"{path} cannot be read ({error}): choose another --workdir, or delete this"
        ) from error


def create_or_check(
    workdir: Path, config: ml_collections.ConfigDict, data_fingerprint: str
) -> None:
    """Create `workdir` for this run, or check that it already holds this run.

    Raises:
        WorkdirError: it holds a run with another configuration, or on other data.
    """
    path = workdir / "config.json"
    if path.exists():
        advice = "choose another --workdir, or delete this one"
        if changed := configs.differences(config, read_json(path)):
            raise errors.WorkdirError(
                f"{workdir} holds a run whose configuration differs: "
                f"{'; '.join(changed)}: {advice}"
            )
        earlier = read_json(workdir / "provenance.json")["data_fingerprint"]
        if earlier != data_fingerprint:
            raise errors.WorkdirError(
                f"{workdir} holds a run on other data (fingerprint {earlier[:12]}, "
                f"now {data_fingerprint[:12]}): {advice}"
            )
    elif workdir.is_file():
        raise errors.WorkdirError(f"{workdir} is a file: choose another --workdir")
    else:
        provenance = {"data_fingerprint": data_fingerprint, "starts": []}
        write_json(provenance, workdir / "provenance.json")
    write_json(configs.flatten(config), path)


def note_start(
    workdir: Path, *, step: int, origin: Mapping[str, Any], learning_rate: str
) -> None:
    """Add this start to `provenance.json`: command, versions, devices, first step.

    `origin` says where the weights come from; `learning_rate` is its course in words,
    or "" if no step is left to train.
    """
    path = workdir / "provenance.json"
    provenance = read_json(path)
    devices = jax.devices()
    provenance["starts"].append(
        {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            "from_step": step,
            **origin,
            "learning_rate": learning_rate,
            "devices": f"{len(devices)} x {devices[0].device_kind}",
            "processes": jax.process_count(),
            "platform": devices[0].platform,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "python": platform.python_version(),
            "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        }
    )
    write_json(provenance, path)
