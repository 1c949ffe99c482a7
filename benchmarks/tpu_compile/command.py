"""Flags, the programs of a topology one after the other, and what is written of them.

To be imported once the environment says that JAX's own devices are CPUs.
"""

import argparse
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ml_collections

from benchmarks import flag
from benchmarks.throughput import machine
from benchmarks.tpu_compile import chips, fitting, programs, report
from mtl_jax.core import config as configs
from mtl_jax.core import files
from mtl_jax.run import command
from mtl_jax.train import parallel

PARTS = ("train", "inference")
COMPILATIONS = 6  # of a search for the largest batch


def parse_flags(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Our flags, and those that are left: the configuration's."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tpu_compile",
        description="Compile a run's steps for TPUs that are not here.",
        epilog="--config=FILE[:ROLE] and --config.KEY=VALUE: as for mtl_jax.main.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--topology", required=True, help="v5e:1x1, v5e:4x4, v4:2x2x1, v5p:2x2x2, ...")
    add(
        "--backends",
        type=flag.one_of(*parallel.BACKENDS),
        default=["jit", "pmap"],
    )
    add("--parts", type=flag.one_of(*PARTS), default=list(PARTS))
    add("--bisect", action="store_true", help="search the largest batch that fits")
    add("--out", type=Path, default=Path("runs/tpu_compile"), help="where results go")
    return parser.parse_known_args(arguments)


def run(arguments: Sequence[str]) -> int:
    """What the command line `arguments` asks for; returns the exit status."""
    flags, rest = parse_flags(arguments[1:])
    command.parse([arguments[0], *rest])
    return command.status_of(lambda: compile_all(flags, arguments))


def compile_all(flags: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Compile, write and print program by program; 1 if one of them does not fit."""
    config = without_data(command.CONFIG.value)
    target = programs.find(flags.topology)
    result = begin(target, config, arguments)
    for backend in flags.backends:
        chosen = with_values(config, {"train.backend": backend})
        for part in flags.parts:
            row = programs.compile_part(target, chosen, part)
            if row["fits"]:
                row["roofline"] = chips.roofline(
                    target.chip, row, target.chips, target.cores
                )
            else:
                row["suggestions"] = report.suggestions(config, row, result)
            result["programs"].append(row)
            write(result, flags.out)
    if flags.bisect:
        result["largest"] = bisect(target, config, flags, result)
        write(result, flags.out)
    print(report.table(result))
    return 0 if all(row["fits"] for row in result["programs"]) else 1


def begin(
    target: programs.Target,
    config: ml_collections.ConfigDict,
    arguments: Sequence[str],
) -> dict[str, Any]:
    """What is known before anything is compiled."""
    words = ["python", "-m", "benchmarks.tpu_compile", *arguments[1:]]
    return {
        "command": shlex.join(words),
        "topology": target.topology,
        "chips": target.chips,
        "cores": target.cores,
        "chip_bytes": target.chip.memory,
        "available": target.available,
        "versions": machine.versions(),
        "config": configs.flatten(config),
        "batch_norms": programs.batch_norms(target, config),
        "programs": [],
    }


def without_data(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """`config`, checked, with statistics that no data set has to be read for."""
    return with_values(config, {"data.statistics": "paper"})


def with_values(
    config: ml_collections.ConfigDict, values: dict[str, Any]
) -> ml_collections.ConfigDict:
    """A checked copy of `config` with other values."""
    return configs.check(configs.unflatten(configs.flatten(config) | values))


def bisect(
    target: programs.Target,
    config: ml_collections.ConfigDict,
    flags: argparse.Namespace,
    result: dict[str, Any],
) -> dict[str, Any]:
    """The largest batch of the first backend and part, from their program on."""
    backend, part = flags.backends[0], flags.parts[0]
    key = {"train": "train.batch_size", "inference": "evaluate.batch_size"}[part]
    unit = len(target.devices) * (config.train.accumulate if part == "train" else 1)
    known = result["programs"][0]
    tried = result["tried"] = [known]

    def measure(size: int) -> fitting.Need:
        row = known
        if size * unit != known["batch_size"]:
            values = {key: size * unit, "train.backend": backend}
            row = programs.compile_part(target, with_values(config, values), part)
            tried.append(row)
            write(result, flags.out)
        needed = row["memory"]["sum"] if row["fits"] else row["asked"]
        return fitting.Need(needed or 2 * target.available, row["fits"])

    first = known["batch_size"] // unit
    found = fitting.largest(measure, first, target.available, COMPILATIONS)
    return {
        "backend": backend,
        "part": part,
        "fits": found.fits * unit,
        "too_large": found.too_large and found.too_large * unit,
        "compilations": found.compilations,
    }


def write(result: dict[str, Any], folder: Path) -> None:
    """`result.json` and `table.md`."""
    with files.whole(folder / "result.json") as partial:
        partial.write_text(json.dumps(result, indent=1) + "\n")
    with files.whole(folder / "table.md") as partial:
        partial.write_text(report.table(result))
