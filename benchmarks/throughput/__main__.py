"""Throughput of our networks compared with the PyTorch version, in one run.

    python -m benchmarks.throughput [--quick] [--platform=auto] [--out=runs/throughput]

Output, in `--out`: `result.json` (everything), `table.md`, `plot.png` and `logs/`. Exit
status: 0 done; 1 nothing could be measured, or bad input; 2 usage.
"""

import argparse
import dataclasses
import math
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks import flag_types
from benchmarks.throughput import cases, machine, measure, report, timings
from mtl_jax.core import errors, roles
from mtl_jax.models import networks, operation_count


def parse_flags(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags; those whose default depends on --quick or the platform are None."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.throughput",
        description="Measure our networks and the PyTorch version in turns.",
        epilog="Items of a list are separated by commas.",
    )
    add = parser.add_argument
    add("--out", type=Path, default=Path("runs/throughput"), help="output folder")
    add_case_flags(parser)
    add_duration_flags(parser)
    add("--data_dir", type=Path, help="keep the generated patients here")
    add("--cache_dir", type=Path, help="keep compiled programs here")
    add("--size", choices=["full", "tiny"], default="full", help="tiny: for tests")
    return parser.parse_args(arguments)


def add_case_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that choose cases and modes."""
    add, integers = parser.add_argument, flag_types.positive_integers
    add(
        "--platform",
        type=flag_types.names("auto", *machine.PLATFORMS),
        default=["auto"],
        help="auto (default: the fastest that is present), or some of cpu, cuda, tpu",
    )
    add("--quick", action="store_true", help="measure fewer cases, modes and repeats")
    add("--parts", type=flag_types.names(*cases.PARTS), help="default: all")
    add(
        "--networks",
        type=flag_types.names(*cases.ROLES),
        help="default: single,ctan; --quick: single",
    )
    add(
        "--batch_sizes",
        type=integers,
        help="default: 8 on CPUs, else 8,32,128; parts that read data use the first",
    )
    add("--image_sizes", type=integers, help="multiples of 32 pixels; default: 128")
    add(
        "--allocator",
        choices=[*cases.ALLOCATORS, "both"],
        help="glibc with its defaults, with huge pages, or both (default on CPUs)",
    )
    add(
        "--modes",
        type=lambda text: text.split(","),
        default=["*"],
        help="patterns of FRAMEWORK/MODE, such as ours/*,pytorch/*compile*",
    )


def add_duration_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that set how long and on how many threads to measure."""
    add, integer = parser.add_argument, flag_types.positive_integer
    add("--repeats", type=integer, help="turns of each mode; default: 7")
    add("--steps", type=integer, help="steps of a turn; default: 4 on CPUs, else 30")
    add("--threads", type=integer, help="threads of each framework; default: all cores")
    add(
        "--patience",
        type=float,
        default=1800.0,
        help="seconds to wait for a mode that does not answer (1800)",
    )
    add("--minutes", type=float, help="minutes after which no turn starts; --quick: 7")


@dataclasses.dataclass(frozen=True)
class Plan:
    """What will be measured, and what cannot be measured."""

    planned: list[cases.Planned]
    left_out: list[str]
    devices: dict[str, str]  # by platform
    steps: dict[str, int]  # by platform


def make_plan(
    flags: argparse.Namespace, frameworks: dict[str, machine.Framework]
) -> Plan:
    """The cases and modes of the flags that the devices of `frameworks` can run.

    Raises:
        ConfigError: nothing is left.
    """
    platforms, left_out = choose_platforms(flags.platform, frameworks)
    planned, devices, steps = [], {}, {}
    for platform in platforms:
        devices[platform] = next(
            f.devices[platform] for f in frameworks.values() if platform in f.devices
        )
        steps[platform] = flags.steps or (4 if platform == "cpu" else 30)
        runnable = [n for n in cases.FRAMEWORKS if platform in frameworks[n].devices]
        for name in sorted(set(cases.FRAMEWORKS) - set(runnable)):
            reason = frameworks[name].reason or "it finds no such device"
            left_out.append(f"{report.NAMES[name]} on {platform}: {reason}")
        for case in list_cases(flags, platform):
            modes = [m for m in cases.modes(case) if m.framework in runnable]
            chosen = cases.choose(
                modes,
                patterns=["*"] if case.part == cases.PRODUCTS else flags.modes,
                quick=flags.quick,
            )
            if chosen:
                planned.append((case, chosen))
    planned = cases.without_unused_products(planned)
    if not any(case.part != cases.PRODUCTS for case, _ in planned):
        reason = "; ".join(left_out) or f"no mode matches {','.join(flags.modes)}"
        raise errors.ConfigError(
            f"nothing is left to measure: {reason}; choose another --platform or "
            "--modes"
        )
    return Plan(planned, left_out, devices, steps)


def choose_platforms(
    requested: Sequence[str], frameworks: dict[str, machine.Framework]
) -> tuple[list[str], list[str]]:
    """The requested platforms that are present, and a message for each other one."""
    present = {platform for each in frameworks.values() for platform in each.devices}
    if "auto" in requested:
        return [p for p in ("tpu", "cuda", "cpu") if p in present][:1], []
    reasons = "; ".join(each.reason for each in frameworks.values() if each.reason)
    absent = [
        f"{platform}: no such device here ({reasons})"
        for platform in requested
        if platform not in present
    ]
    return [platform for platform in requested if platform in present], absent


def list_cases(flags: argparse.Namespace, platform: str) -> list[cases.Case]:
    """All cases on `platform`: matrix products, then each part."""
    quick, on_cpu = flags.quick, platform == "cpu"
    parts = flags.parts or (["train", "inference"] if quick else list(cases.PARTS))
    networks = flags.networks or (["single"] if quick else ["single", "ctan"])
    batch_sizes = flags.batch_sizes or (
        [8] if on_cpu else [32] if quick else [8, 32, 128]
    )
    image_sizes = flags.image_sizes or [128 if flags.size == "full" else 32]
    cpu_default = "hugepages" if quick else "both"
    allocator = flags.allocator or (cpu_default if on_cpu else "default")
    allocators = cases.ALLOCATORS if allocator == "both" else (allocator,)
    chosen = []

    def add(part: str, network: str, batch_size: int, image_size: int) -> None:
        chosen.extend(
            cases.Case(
                part, platform, network, batch_size, image_size, each, flags.size
            )
            for each in allocators
        )

    add(cases.PRODUCTS, "", 0, 0)
    for part in parts:
        if part == "pipeline":
            add(part, "", batch_sizes[0], image_sizes[0])
            continue
        with_data = part in cases.WITH_DATA
        for network in networks:
            for image_size in image_sizes[:1] if with_data else image_sizes:
                for batch_size in batch_sizes[:1] if with_data else batch_sizes:
                    add(part, network, batch_size, image_size)
    return chosen


def run(flags: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Measure, and write the results after each case."""
    plan = make_plan(flags, machine.query())
    minutes = flags.minutes or (7.0 if flags.quick else math.inf)
    settings = measure.Settings(
        repeats=flags.repeats or (3 if flags.quick else 7),
        steps=0,
        threads=flags.threads or machine.usable_cores(),
        patience=flags.patience,
        deadline=time.monotonic() + 60 * minutes,
        caches=flags.cache_dir or scratch / "caches",
        logs=flags.out / "logs",
        data_dir=flags.data_dir or scratch / "data",
    )
    result = describe(flags, plan, settings)
    prepare_data(plan, settings)
    total = sum(len(modes) * (1 + settings.repeats) for _, modes in plan.planned)
    with tqdm(total=total, desc="throughput", dynamic_ncols=True) as bar:

        def advance(label: str) -> None:
            bar.set_postfix_str(label, refresh=False)
            bar.update()

        for case, modes in plan.planned:
            bar.set_description_str(case.title)
            case_settings = dataclasses.replace(
                settings, steps=plan.steps[case.platform]
            )
            rows = measure.measure(case, modes, case_settings, advance)
            add_case(result, case, rows)
            report.write(result, flags.out)
    return result


def describe(
    flags: argparse.Namespace, plan: Plan, settings: measure.Settings
) -> dict[str, Any]:
    """The result before any measurement."""
    return {
        "command": shlex.join(["python", "-m", "benchmarks.throughput", *sys.argv[1:]]),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "devices": plan.devices,
        "versions": machine.versions(),
        "environment": machine.variables(),
        "settings": {
            "repeats": settings.repeats,
            "steps": plan.steps,
            "threads": settings.threads,
            "quick": flags.quick,
            "size": flags.size,
            "kept_cache": flags.cache_dir is not None,
        },
        "left_out": plan.left_out,
        "peaks": {},
        "cases": [],
    }


def prepare_data(plan: Plan, settings: measure.Settings) -> None:
    """Generate the patients if a case reads them."""
    for case, modes in plan.planned:
        if case.part in cases.WITH_DATA:
            from benchmarks.throughput import data_workloads

            config = cases.make_config(case, modes[0])
            data_workloads.prepare_patients(config, settings.data_dir)
            return


def add_case(
    result: dict[str, Any], case: cases.Case, rows: list[dict[str, Any]]
) -> None:
    """Add the rows of `case` to the result, with the ratios and peaks."""
    earlier = [
        entry["case"] | {"allocator": case.allocator} for entry in result["cases"]
    ]
    described = dataclasses.asdict(case)
    result["cases"].append(
        {
            "case": described,
            "title": case.title,
            "operations": count_operations(case),
            "warm": result["settings"]["kept_cache"] or described in earlier,
            "ratios": timings.ratios(rows),
            "rows": rows,
        }
    )
    result["peaks"] = timings.peaks(result["cases"])


def count_operations(case: cases.Case) -> float | None:
    """Operations of one image, from the configuration; None if no network runs."""
    if not case.network:
        return None
    config = cases.make_config(case, cases.Mode(cases.OURS, "", ""))
    role = roles.get(config.role)
    forward = networks.multiply_adds(
        role.network,
        config.model,
        tasks=role.tasks,
        structures=len(config.data.structures),
        image_shape=(*config.data.image_size, 1),
    )
    if case.part in ("train", "end_to_end"):
        return operation_count.training_step(forward)
    return 2 * forward


def measured_any(result: dict[str, Any]) -> bool:
    """Whether any row other than those of matrix products has turns."""
    return any(
        timings.has_turns(row)
        for entry in result["cases"]
        if entry["case"]["part"] != cases.PRODUCTS
        for row in entry["rows"]
    )


def main() -> int:
    """Measure and print the table; returns the exit status."""
    flags = parse_flags()
    try:
        with tempfile.TemporaryDirectory(prefix="throughput-") as scratch:
            result = run(flags, Path(scratch))
    except errors.MtlError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(report.table(result))
    if not measured_any(result):
        print(
            f"error: no mode could be measured; see {flags.out}/logs", file=sys.stderr
        )
        return 1
    print(f"results: {flags.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
