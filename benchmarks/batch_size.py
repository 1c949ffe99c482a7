"""What batch size and learning rate keep the learning curve.

    python -m benchmarks.batch_size [--slices=51200] [--seeds=0] [--out=DIR]

Trains a small network on generated patients with 8 to 512 slices a step, each time on
the same number of slices in all, with three rules for the learning rate of a batch that
is n times as large: n times the rate (linear), its root times, and the same. Output:
`result.json` and `table.md` in `--out`, beside the runs: losses of the validation
patients at the end. A second start goes on where the first was stopped.
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections
from tqdm import tqdm

import mtl_jax
from benchmarks import flag_types, results
from mtl_jax.configs import demo

FIRST = 8  # slices a step, to which the rules compare
SIZES = (FIRST, 32, 128, 512)
RULES = {"linear": lambda n: n, "root": math.sqrt, "the same": lambda n: 1}
# What is validated of each task.
LOSSES = {"contours": "validation/loss/contours", "dose": "validation/loss/dose"}


def configure(
    size: int, rule: str, slices: int, seed: int
) -> ml_collections.ConfigDict:
    """The demo at a reduced size, with `size` of `slices` slices a step."""
    config = demo.get_config("multi")
    config.seed = seed
    config.data.image_size = (32, 32)
    config.data.image_spacing_mm = 14.0
    config.optimizer.schedule = "cosine"
    config.optimizer.learning_rate = 1e-3 * RULES[rule](size / FIRST)
    config.train.batch_size = size
    config.train.steps = steps = slices // size
    config.optimizer.warmup_steps = steps // 10
    config.train.log_every = max(1, steps // 20)
    config.train.validate_every = config.train.images_every = steps
    config.train.checkpoint_every = steps
    config.evaluate.splits = ("validation",)
    config.evaluate.best_patients = 0
    return config


def train(
    size: int, rule: str, flags: argparse.Namespace, seed: int
) -> dict[str, float | None]:
    """The losses at the end, by task; None if training diverged."""
    config = configure(size, rule, flags.slices, seed)
    home = flags.out / f"{size}-{rule.replace(' ', '-')}-{seed}"
    try:
        run = mtl_jax.fit(config, home, data_dir=flags.data_dir)
    except mtl_jax.MtlError as error:
        if "became NaN or infinite" not in str(error):
            raise
        return dict.fromkeys(LOSSES)
    last = [row for row in run.log() if LOSSES["dose"] in row][-1]
    return {task: last[name] for task, name in LOSSES.items()}


def render(rows: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table: a line for each size, a column for each rule and task."""
    columns = [(rule, task) for rule in RULES for task in LOSSES]
    names = " | ".join(f"{rule}: {task}" for rule, task in columns)
    lines = [f"| slices a step | {names} |", f"|---|{'---:|' * len(columns)}"]
    for size in SIZES:
        cells = []
        for rule, task in columns:
            own = [r for r in rows if r["size"] == size and r["rule"] in (rule, "all")]
            cells.append(_cell([row[task] for row in own]))
        lines.append(f"| {size} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(losses: Sequence[float | None]) -> str:
    """The mean of the seeds, and how many of them diverged."""
    kept = [loss for loss in losses if loss is not None]
    mean = [f"{sum(kept) / len(kept):.4f}"] if kept else []
    diverged = len(losses) - len(kept)
    return " ".join(mean + ([f"({diverged} diverged)"] if diverged else []))


def main(arguments: Sequence[str] | None = None) -> None:
    """Train all, and write the results after each run."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.batch_size",
        description="What batch size and learning rate keep the learning curve.",
    )
    add = parser.add_argument
    add("--slices", type=flag_types.positive_integer, default=51_200, help="(51200)")
    add("--seeds", default="0", help="comma-separated (0)")
    add("--data_dir", type=Path, help="TFDS's data directory")
    add("--out", type=Path, default=Path("runs/batch_size"), help="output folder")
    flags = parser.parse_args(arguments)
    # All rules are one for the first size.
    cases = [
        (size, rule, int(seed))
        for seed in flags.seeds.split(",")
        for size in SIZES
        for rule in (["all"] if size == FIRST else RULES)
    ]
    rows: list[dict[str, Any]] = []
    for size, rule, seed in tqdm(cases, unit="run"):
        losses = train(size, "the same" if rule == "all" else rule, flags, seed)
        rows.append({"size": size, "rule": rule, "seed": seed} | losses)
        results.write(flags.out, rows, render(rows))
    print(render(rows))


if __name__ == "__main__":
    main()
