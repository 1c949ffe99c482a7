"""Throughput of our networks beside the PyTorch version's, in one run.

    python -m benchmarks.throughput [--quick] [--platform=auto] [--out=runs/throughput]

Comes out: `result.json` (everything), `table.md`, `plot.png`, and `logs/`, in `--out`.
Exit status: 0 done; 1 nothing could be measured, or bad input; 2 usage.
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

from benchmarks import flag
from benchmarks.throughput import cases, machine, measure, numbers, report
from mtl_jax.core import errors, roles
from mtl_jax.models import networks, operation_count


def parse_flags(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags; what --quick and the platform change is still None."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.throughput",
        description="Throughput of our networks beside the PyTorch version's.",
        epilog="Lists are separated by commas.",
    )
    add = parser.add_argument
    add("--out", type=Path, default=Path("runs/throughput"), help="where results go")
    add(
        "--platform",
        type=flag.one_of("auto", *machine.PLATFORMS),
        default=["auto"],
        help="auto (default: the fastest there is), cpu, cuda, tpu, or several",
    )
    add("--quick", action="store_true", help="fewer cases, modes and repeats")
    add("--parts", type=flag.one_of(*cases.PARTS), help="default: all")
    add(
        "--networks",
        type=flag.one_of(*cases.ROLES),
        help="default: single,ctan; --quick: single",
    )
    add(
        "--batch_sizes",
        type=flag.whole_numbers,
        help="default: 8; on others than CPUs "
        "8,32,128. The first is that of the parts that read data",
    )
    add("--image_sizes", type=flag.whole_numbers, help="default: 128; multiples of 32")
    add(
        "--allocator",
        choices=[*cases.ALLOCATORS, "both"],
        help="glibc as it is, with huge pages, or both in turn (default on CPUs)",
    )
    add(
        "--modes",
        type=lambda text: text.split(","),
        default=["*"],
        help="patterns of FRAMEWORK/MODE, as ours/*,pytorch/*compile*",
    )
    add("--repeats", type=flag.positive, help="turns of each mode; default: 7")
    add(
        "--steps",
        type=flag.positive,
        help="of a turn; default: 4, on others than CPUs 30",
    )
    add("--threads", type=flag.positive, help="of both frameworks; default: all cores")
    add(
        "--patience",
        type=float,
        default=1800.0,
        help="seconds until a mode that does not answer is given up",
    )
    add("--minutes", type=float, help="after these nothing new is begun; --quick: 7")
    add("--data_dir", type=Path, help="keeps the generated patients for other runs")
    add("--cache_dir", type=Path, help="keeps compiled programs for other runs")
    add("--size", choices=["full", "tiny"], default="full", help="tiny: for tests")
    return parser.parse_args(arguments)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Plan:
    """What will be measured, and what cannot be."""

    jobs: list[cases.Planned]
    left_out: list[str]
    devices: dict[str, str]  # by platform
    steps: dict[str, int]  # by platform


def make_plan(flags: argparse.Namespace, found: dict[str, machine.Found]) -> Plan:
    """The cases and modes of the flags that the devices of `found` can run.

    Raises:
        ConfigError: nothing is left.
    """
    platforms, left_out = choose_platforms(flags.platform, found)
    jobs, devices, steps = [], {}, {}
    for platform in platforms:
        devices[platform] = next(
            f.devices[platform] for f in found.values() if platform in f.devices
        )
        steps[platform] = flags.steps or (4 if platform == "cpu" else 30)
        runnable = [n for n in cases.FRAMEWORKS if platform in found[n].devices]
        for name in sorted(set(cases.FRAMEWORKS) - set(runnable)):
            reason = found[name].reason or "it finds no such device"
            left_out.append(f"{report.NAMES[name]} on {platform}: {reason}")
        for case in list_cases(flags, platform):
            modes = [m for m in cases.modes(case) if m.framework in runnable]
            chosen = cases.choose(
                modes,
                patterns=["*"] if case.part == cases.PRODUCTS else flags.modes,
                quick=flags.quick,
            )
            if chosen:
                jobs.append((case, chosen))
    jobs = cases.without_spare_products(jobs)
    if not any(case.part != cases.PRODUCTS for case, _ in jobs):
        why = "; ".join(left_out) or f"no mode fits {','.join(flags.modes)}"
        raise errors.ConfigError(
            f"nothing is left to measure: {why}; choose another --platform or --modes"
        )
    return Plan(jobs, left_out, devices, steps)


def choose_platforms(
    asked: Sequence[str], found: dict[str, machine.Found]
) -> tuple[list[str], list[str]]:
    """The platforms that are there, and for each other one that it is not."""
    present = {platform for each in found.values() for platform in each.devices}
    if "auto" in asked:
        return [p for p in ("tpu", "cuda", "cpu") if p in present][:1], []
    reasons = "; ".join(each.reason for each in found.values() if each.reason)
    absent = [
        f"{platform}: no such device here ({reasons})"
        for platform in asked
        if platform not in present
    ]
    return [platform for platform in asked if platform in present], absent


def list_cases(flags: argparse.Namespace, platform: str) -> list[cases.Case]:
    """All cases on `platform`: matrix products, then each part."""
    quick, on_cpu = flags.quick, platform == "cpu"
    parts = flags.parts or (["train", "inference"] if quick else list(cases.PARTS))
    networks = flags.networks or (["single"] if quick else ["single", "ctan"])
    batch_sizes = flags.batch_sizes or (
        [8] if on_cpu else [32] if quick else [8, 32, 128]
    )
    image_sizes = flags.image_sizes or [128 if flags.size == "full" else 32]
    usual = "hugepages" if quick else "both"
    allocator = flags.allocator or (usual if on_cpu else "default")
    allocators = cases.ALLOCATORS if allocator == "both" else (allocator,)
    found = []

    def add(part: str, network: str, batch_size: int, image_size: int) -> None:
        found.extend(
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
    return found


def run(flags: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Measure; results are written after each case."""
    found = machine.query()
    plan = make_plan(flags, found)
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
    things = sum(len(modes) * (1 + settings.repeats) for _, modes in plan.jobs)
    with tqdm(total=things, desc="throughput", dynamic_ncols=True) as bar:

        def advance(label: str) -> None:
            bar.set_postfix_str(label, refresh=False)
            bar.update()

        for case, modes in plan.jobs:
            bar.set_description_str(case.title)
            this = dataclasses.replace(settings, steps=plan.steps[case.platform])
            rows = measure.measure(case, modes, this, advance)
            add_case(result, case, rows)
            report.write(result, flags.out)
    return result


def describe(
    flags: argparse.Namespace, plan: Plan, settings: measure.Settings
) -> dict[str, Any]:
    """The result before anything was measured."""
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
    """Generate the patients, if a case reads any."""
    for case, modes in plan.jobs:
        if case.part in cases.WITH_DATA:
            from benchmarks.throughput import data

            data.prepare(cases.config(case, modes[0]), settings.data_dir)
            return


def add_case(
    result: dict[str, Any], case: cases.Case, rows: list[dict[str, Any]]
) -> None:
    """Put the rows of `case` into the result, and what follows from them."""
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
            "ratios": numbers.ratios(rows),
            "rows": rows,
        }
    )
    result["peaks"] = numbers.peaks(result["cases"])


def count_operations(case: cases.Case) -> float | None:
    """Operations of one image, from the configuration; None where no network runs."""
    if not case.network:
        return None
    config = cases.config(case, cases.Mode(cases.OURS, "", ""))
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
    """Whether there is a row with turns, other than of matrix products."""
    return any(
        numbers.has_turns(row)
        for entry in result["cases"]
        if entry["case"]["part"] != cases.PRODUCTS
        for row in entry["rows"]
    )


def main() -> int:
    """Parse, measure, print; returns the exit status."""
    flags = parse_flags()
    try:
        with tempfile.TemporaryDirectory(prefix="throughput-") as scratch:
            result = run(flags, Path(scratch))
    except errors.MtlError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(report.table(result))
    if not measured_any(result):
        print(f"error: no mode could be measured: {flags.out}/logs", file=sys.stderr)
        return 1
    print(f"table, plot and every time: {flags.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
