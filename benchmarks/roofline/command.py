"""The command: parses the flags, compiles the programs one by one, writes the results.

Import it after the environment has told JAX to run on the CPU.
"""

import argparse
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ml_collections

from benchmarks import flag_types
from benchmarks.roofline import batch_search, chips, programs, report
from benchmarks.throughput import machine
from mtl_jax.core import config as configs
from mtl_jax.core import files
from mtl_jax.run import command
from mtl_jax.run import flags as run_flags
from mtl_jax.train import parallel

COMPILATIONS = 6  # at most, in the search for the largest batch


def parse_flags(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The flags of this command, and the remaining ones, of the configuration."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.roofline",
        description="Compile the steps of a run for TPUs, GPUs or this CPU, and say "
        "what they cost. No device is needed.",
        epilog="--config=FILE[:ROLE] and --config.KEY=VALUE work as in mtl_jax.main.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--topology", required=True, help="v5e:1x1, v5e:4x4, ..., h200, a100, cpu")
    add(
        "--backends",
        type=flag_types.names(*parallel.BACKENDS),
        default=["jit", "pmap"],
    )
    add(
        "--parts",
        type=flag_types.names(*programs.PARTS),
        default=["train", "inference"],
    )
    add("--bisect", action="store_true", help="find the largest batch that fits")
    add("--out", type=Path, default=Path("runs/roofline"), help="output folder")
    return parser.parse_known_args(arguments)


def run(arguments: Sequence[str]) -> int:
    """Run the command line `arguments`; returns the exit status."""
    flags, config_flags = parse_flags(arguments[1:])
    run_flags.parse([arguments[0], *config_flags])
    return command.status_of(lambda: compile_all(flags, arguments))


def compile_all(flags: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Compile the programs and write the results; returns 1 if one does not fit."""
    config = without_data(run_flags.CONFIG.value)
    target = programs.find_target(flags.topology)
    result = start_result(target, config, arguments)
    for backend in flags.backends:
        changed = with_values(config, {"train.backend": backend})
        for part in flags.parts:
            row = programs.compile_part(target, changed, part)
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
    report.draw_parts(result, flags.out / "parts.png")
    print(report.table(result))
    return 0 if all(row["fits"] for row in result["programs"]) else 1


def start_result(
    target: programs.Target,
    config: ml_collections.ConfigDict,
    arguments: Sequence[str],
) -> dict[str, Any]:
    """The result before any compilation."""
    words = ["python", "-m", "benchmarks.roofline", *arguments[1:]]
    return {
        "command": shlex.join(words),
        "topology": target.topology,
        "chips": target.chips,
        "cores": target.cores,
        "chip_bytes": target.chip.memory,
        "available": target.available,
        "versions": machine.versions(),
        "config": configs.flatten(config),
        "batch_norms": programs.count_batch_norms(target, config),
        "programs": [],
    }


def without_data(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """`config`, checked, with CT statistics that need no data set."""
    return with_values(config, {"data.statistics": "paper"})


def with_values(
    config: ml_collections.ConfigDict, values: dict[str, Any]
) -> ml_collections.ConfigDict:
    """A checked copy of `config` with some values changed."""
    return configs.check(configs.unflatten(configs.flatten(config) | values))


def bisect(
    target: programs.Target,
    config: ml_collections.ConfigDict,
    flags: argparse.Namespace,
    result: dict[str, Any],
) -> dict[str, Any]:
    """The largest batch of the first backend and part; starts from their program."""
    backend, part = flags.backends[0], flags.parts[0]
    key = {"train": "train.batch_size", "inference": "evaluate.batch_size"}[part]
    unit = len(target.devices) * (config.train.accumulate if part == "train" else 1)
    first_row = result["programs"][0]
    tried = result["tried"] = [first_row]

    def measure(size: int) -> batch_search.Need:
        row = first_row
        if size * unit != first_row["batch_size"]:
            values = {key: size * unit, "train.backend": backend}
            row = programs.compile_part(target, with_values(config, values), part)
            tried.append(row)
            write(result, flags.out)
        needed = row["memory"]["sum"] if row["fits"] else row["asked"]
        return batch_search.Need(needed or 2 * target.available, row["fits"])

    first = first_row["batch_size"] // unit
    bounds = batch_search.largest(measure, first, target.available, COMPILATIONS)
    return {
        "backend": backend,
        "part": part,
        "fits": bounds.fits * unit,
        "too_large": bounds.too_large and bounds.too_large * unit,
        "compilations": bounds.compilations,
    }


def write(result: dict[str, Any], folder: Path) -> None:
    """Write `result.json` and `table.md`."""
    with files.whole(folder / "result.json") as partial:
        partial.write_text(json.dumps(result, indent=1) + "\n")
    with files.whole(folder / "table.md") as partial:
        partial.write_text(report.table(result))
