"""Images per second of the input pipeline, compared with random access to its shards.

    python -m benchmarks.input_pipeline --data_dir=DIR --manual_dir=DIR

Input: OpenKBP patients, real or phantom; the data set is built if `data_dir` does not
hold it yet. Output: a Markdown table of medians. The measurements take turns, so that
the ratios are valid even on a busy machine.
"""

import argparse
import dataclasses
import itertools
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grain
import numpy as np
import tensorflow_datasets as tfds
import tqdm

from mtl_jax.configs import openkbp
from mtl_jax.datasets import prepared
from mtl_jax.pipeline import augment, batches, resident
from mtl_jax.run import command, wiring


@dataclasses.dataclass(frozen=True)
class Measurement:
    """A way to read images."""

    name: str
    start: Callable[[], Iterator[int]]  # each item: the number of images just read


def main() -> None:
    """Measure and print the table."""
    flags = parse_flags()
    config = openkbp.get_config(flags.role)
    data = command.prepare_in(
        config, data_dir=flags.data_dir, manual_dir=flags.manual_dir
    )
    split = data.splits["train"]
    measurements = list_measurements(split, config, flags.batch_size)
    rates = measure(measurements, seconds=flags.seconds, rounds=flags.rounds)
    print(describe(split, flags))
    print(table(rates))


def parse_flags() -> argparse.Namespace:
    """The flags: data, role, batch size and duration."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.input_pipeline",
        description="Images per second of the input pipeline and its parts.",
    )
    parser.add_argument("--data_dir", type=Path, help="data directory of TFDS")
    parser.add_argument("--manual_dir", type=Path, help="folder of the raw patients")
    parser.add_argument("--role", default="multi", help="role (multi)")
    parser.add_argument(
        "--batch_size", type=int, default=8, help="images per batch (8)"
    )
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="seconds per round (2)"
    )
    parser.add_argument(
        "--rounds", type=int, default=7, help="rounds of each measurement (7)"
    )
    return parser.parse_args()


def list_measurements(
    split: prepared.Split, config: Any, batch_size: int
) -> list[Measurement]:
    """All measurements; the others are compared with the first one."""
    data = config.data
    settings = dict(config.augment)
    settings.pop("enabled")
    preprocess = wiring.make_preprocess(config, data)
    augmented = augment.Augment(site=preprocess.site, ct_std=data.ct_std, **settings)

    walk = batches.walk(
        split,
        batch_size=batch_size,
        seed=config.seed,
        skip_empty_slices=data.skip_empty_slices,
        process_index=0,
        process_count=1,
    )

    def training(augmentation: augment.Augment | None) -> batches.Training:
        return batches.training(
            split, walk, preprocess=preprocess, augment=augmentation
        )

    def raw() -> Iterator[int]:
        order = np.random.default_rng(config.seed).permutation(len(split.source))
        for index in itertools.cycle(order.tolist()):
            split.source[index]
            yield 1

    def one_thread() -> Iterator[int]:
        loader = training(None)
        for step in itertools.count():
            yield len(loader.batch(step)["mask"])

    def read_ahead(augmentation: augment.Augment | None) -> Iterator[int]:
        for batch in training(augmentation).iterate(0):
            yield len(batch["mask"])

    def positions() -> Iterator[int]:
        small = dataclasses.replace(walk, indices=walk.indices[:batch_size])
        batch = resident.training(split, small, preprocess, augmented).batch
        for step in itertools.count():
            yield len(batch(step)["mask"])

    return [
        Measurement("random access to the shards, `source[i]`", raw),
        Measurement("batches, one thread", one_thread),
        Measurement("batches, read ahead", lambda: read_ahead(None)),
        Measurement("batches, read ahead, augmented", lambda: read_ahead(augmented)),
        Measurement("slices on the device, augmented, one thread", positions),
    ]


def measure(
    measurements: list[Measurement], *, seconds: float, rounds: int
) -> dict[str, list[float]]:
    """Images per second of each round, by name."""
    rates: dict[str, list[float]] = {each.name: [] for each in measurements}
    turns = tqdm.tqdm(
        list(itertools.product(range(rounds), measurements)), desc="rounds", leave=False
    )
    for _, each in turns:
        images = each.start()
        for _ in range(32):  # until the batches that were read ahead are used up
            next(images)
        begin, count = time.perf_counter(), 0
        while time.perf_counter() - begin < seconds:
            count += next(images)
        rates[each.name].append(count / (time.perf_counter() - begin))
        images.close()  # pyright: ignore[reportAttributeAccessIssue] - generators all
    return rates


def describe(split: prepared.Split, flags: argparse.Namespace) -> str:
    """One line on the data and the machine."""
    return (
        f"{len(split.patients)} patients, {len(split.source)} slices, batches of "
        f"{flags.batch_size}, role {flags.role}; {os.cpu_count()} cores "
        f"({platform.machine()}), Python {platform.python_version()}, NumPy "
        f"{np.__version__}, Grain {grain.__version__}, TFDS {tfds.__version__}; median "
        f"of {flags.rounds} rounds of {flags.seconds:g} s, lowest and highest\n"
    )


def table(rates: dict[str, list[float]]) -> str:
    """Medians, ranges and ratios in Markdown."""
    first = next(iter(rates.values()))
    lines = [
        "| | images/s | lowest - highest | of random access |",
        "|---|---|---|---|",
    ]
    for name, values in rates.items():
        # Consecutive rounds are compared, not the medians.
        share = statistics.median(v / f for v, f in zip(values, first, strict=True))
        lines.append(
            f"| {name} | {statistics.median(values):,.0f} | "
            f"{min(values):,.0f} - {max(values):,.0f} | {share:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
