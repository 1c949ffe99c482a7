"""Shows that the demo's phantoms cannot be contoured without looking at the image.

    python -m benchmarks.phantom_difficulty --data_dir=DIR --workdir=DIR [--steps=N]

Trains the demo's network twice for the same number of steps: on the phantoms as they
are, and with the training CTs shuffled between patients, so that the network can only
memorise. A prior map of the voxels is the third method. Output: a Markdown table with
the mean Dice on held-out phantoms and the training loss, and `difficulty.json` in the
workdir.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from mtl_jax.configs import demo
from mtl_jax.core import config as configs
from mtl_jax.core import records
from mtl_jax.datasets import prepared
from mtl_jax.run import command, results, wiring, workdir
from mtl_jax.train import writers


class ShuffledCt:
    """The slices of a split; each patient has the CT of the next in a random ring."""

    def __init__(self, split: prepared.Split, seed: int) -> None:
        self._source = split.source
        ring = np.random.default_rng(seed).permutation(len(split.patients))
        self._donor = np.empty(len(split.source), np.int64)
        for receiver, donor in zip(ring, np.roll(ring, 1), strict=True):
            to, of = split.patients[receiver], split.patients[donor]
            z = np.minimum(np.arange(to.slices), of.slices - 1)
            self._donor[to.start : to.start + to.slices] = of.start + z

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> records.Example:
        example, donor = self._source[index], self._source[int(self._donor[index])]
        example["ct"] = donor["ct"]
        return example


def parse_flags() -> argparse.Namespace:
    """The flags: folders, and the number of training steps."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.phantom_difficulty",
        description="How hard it is to contour the demo's phantoms.",
    )
    parser.add_argument(
        "--data_dir", type=Path, required=True, help="TFDS's data directory"
    )
    parser.add_argument("--workdir", type=Path, required=True, help="output folder")
    parser.add_argument(
        "--steps", type=int, help="training steps; default: those of the demo"
    )
    return parser.parse_args()


def main() -> None:
    """Train both networks, and print the table."""
    flags = parse_flags()
    config = demo.get_config()
    if flags.steps is not None:
        config.train.steps = flags.steps
    data = command.prepare_in(config, data_dir=flags.data_dir, manual_dir=None)
    split = data.splits["train"]
    shuffled = dataclasses.replace(split, source=ShuffledCt(split, seed=0))
    as_is = train(config, data, flags.workdir / "as_is")
    table = {
        "the network": as_is,
        "the network, CTs shuffled": train(
            config,
            dataclasses.replace(data, splits=data.splits | {"train": shuffled}),
            flags.workdir / "shuffled",
        ),
        "a voxel prior map": {"mean_dice": as_is.pop("prior_map")},
    }
    workdir.write_json(table, flags.workdir / "difficulty.json")
    print("| | mean Dice | training loss, first | last |\n|---|---|---|---|")
    for name, row in table.items():
        losses = [f"{row[key]:.3f}" if key in row else "" for key in ("first", "last")]
        print(f"| {name} | {row['mean_dice']:.3f} | {' | '.join(losses)} |")


def train(config: Any, data: prepared.Prepared, folder: Path) -> dict[str, float]:
    """Mean Dice of the network and of a prior map; first and last training loss."""
    run = wiring.Run(configs.check(config), data, folder)
    workdir.create_or_check(folder, config, data.fingerprint)
    run.train(lambda: False)
    rows = writers.read_json_lines(folder / "metrics.jsonl")
    losses = [row["loss/contours"] for row in rows if "loss/contours" in row]
    summary = results.evaluate_split(run, "test")
    return {
        "mean_dice": summary["mean_dice"],
        "prior_map": summary["yardsticks"]["prior_map"]["mean_dice"],
        "first": losses[0],
        "last": float(np.mean(losses[-5:])),
    }


if __name__ == "__main__":
    main()
