"""What each part of `configs/openkbp_best.py` gains, on narrow networks and few steps.

    python -m benchmarks.ablation --manual_dir=DIR [--roles=informed,multi] [--out=DIR]

Trains the recipe at a reduced size: as it is, with three seeds, and with one change at
a time. Every run is scored on the validation patients; test patients are not used.
Output: `result.json` and `table.md` in `--out`, beside the runs. A second start goes on
where the first was stopped.
"""

import argparse
import ast
import dataclasses
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections
from tqdm import tqdm

from benchmarks import results
from mtl_jax.configs import openkbp_best
from mtl_jax.datasets import prepared
from mtl_jax.evaluation import scoring
from mtl_jax.run import command, predictions, stopping, wiring, workdir
from mtl_jax.train import compilation

# Every run differs from the recipe in these.
REDUCED = {
    "data.image_size": (64, 64),
    "data.image_spacing_mm": 8.0,
    "augment.translation_px": 8.0,
    "model.width": 16,
    "model.decoder_widths": (64, 32, 16, 16, 16),
    "model.bottleneck_width": 64,
    "optimizer.warmup_steps": 100,
    "dwa.interval_steps": 100,
    "train.steps": 600,
    "train.validate_every": 600,
    "train.checkpoint_every": 600,
    "train.images_every": 600,
    "evaluate.splits": ("validation",),
    "evaluate.best_patients": 0,
}
# Keys of an evaluation's summary, and their columns.
FIGURES = {
    "openkbp_dose_score": "dose score, Gy",
    "openkbp_dvh_score": "DVH score, Gy",
    "mean_dice": "mean Dice",
}
SEEDS = (0, 1, 2)  # of the recipe as it is; changes have the first
RECIPE = "recipe, seed {}"


@dataclasses.dataclass(frozen=True)
class Change:
    """A part of the recipe that is left out, or something that is added to it."""

    words: str
    keys: Mapping[str, Any]
    roles: tuple[str, ...] = ("informed", "multi")


CHANGES = (
    Change(
        "no distance to the targets", {"data.target_distance_mm": 0.0}, ("informed",)
    ),
    Change("no skip of the image", {"model.image_skip": False}),
    Change(
        "dose loss over all voxels",
        {"loss.dose_region": "all", "loss.dose_slices": "all"},
    ),
    Change("every slice drawn once", {"data.draws": (1, 1, 1)}),
    Change("no shifts", {"augment.translation_px": 0.0}),
    Change("no flips, no shifts", {"augment.enabled": False}),
    Change("no warm-up", {"optimizer.warmup_steps": 0}, ("informed",)),
    Change("no clipping", {"optimizer.clip_norm": 0.0}, ("informed",)),
    Change("no average of the weights", {"optimizer.average_decay": 0.0}),
    Change("constant learning rate", {"optimizer.schedule": "constant"}),
    Change("no mirror image in prediction", {"evaluate.mirror": False}),
    Change(
        "rotations by 40 degrees", {"augment.rotation_step_deg": 40.0}, ("informed",)
    ),
    Change("soft-tissue window too", {"data.ct_second_window": (-160.0, 240.0)}),
    Change(
        "two neighbours on each side",
        {"data.neighbours": 2, "data.neighbour_mm": 5.0},
        ("informed",),
    ),
    Change("no neighbours", {"data.neighbours": 0}, ("multi",)),
    Change(
        "rotations by up to 10 degrees", {"augment.rotation_deg": 10.0}, ("informed",)
    ),
    Change("no cross-task bottleneck", {"model.bottleneck": False}, ("multi",)),
    Change(
        "gamma from 0, bottleneck decayed",
        {
            "model.gamma_init": 0.0,
            "optimizer.no_decay": (),
            "optimizer.weight_decay": 1e-5,
        },
        ("multi",),
    ),
)


@dataclasses.dataclass(frozen=True)
class Run:
    """One training."""

    role: str
    words: str
    keys: Mapping[str, Any]

    @property
    def folder(self) -> str:
        """The name of its folder: the recipe's if only the evaluation differs."""
        words = self.words
        if all(key.startswith("evaluate.") for key in self.keys):
            words = RECIPE.format(SEEDS[0])
        return "-".join((self.role, *words.replace(",", "").split()))


def parse_flags(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags: folders, roles, and keys that all runs change."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ablation",
        description="What each part of configs/openkbp_best.py gains.",
    )
    add = parser.add_argument
    add("--manual_dir", type=Path, help="folder of the raw patients")
    add("--data_dir", type=Path, help="TFDS's data directory")
    add("--roles", default="informed,multi", help="roles (informed,multi)")
    add("--only", default="", help="only changes with this text in their words")
    add("--set", nargs="*", default=[], help="KEY=VALUE for every run")
    add("--out", type=Path, default=Path("runs/ablation"), help="output folder")
    return parser.parse_args(arguments)


def list_runs(roles: Sequence[str]) -> Iterator[Run]:
    """The recipe with each seed, then each change, role by role."""
    for role in roles:
        for seed in SEEDS:
            yield Run(role, RECIPE.format(seed), {"seed": seed})
        for change in CHANGES:
            if role in change.roles:
                yield Run(role, change.words, change.keys)


def train(
    run: Run, flags: argparse.Namespace, data: prepared.Prepared
) -> dict[str, Any]:
    """Train `run` in its folder, unless that is done; returns its validation scores."""
    home = flags.out / run.folder
    config = wiring.check(configure(run, flags.set))
    workdir.create_or_check(home, config, data.fingerprint)
    trained = wiring.Run(config, data, home)
    with stopping.defer_signals() as stop_requested:
        if not trained.train(stop_requested):
            sys.exit("stopped; run the same command again to continue")
    summary = scoring.summarise(list(score(trained)), trained.site)
    figures = {figure: summary.get(figure) for figure in FIGURES}
    return {"role": run.role, "words": run.words, "keys": dict(run.keys)} | figures


def configure(run: Run, words: Sequence[str] = ()) -> ml_collections.ConfigDict:
    """The recipe at the reduced size, with the keys of `run` and of `words`."""
    config = openkbp_best.get_config(run.role)
    config.update_from_flattened_dict({**REDUCED, **run.keys})
    pairs = (word.partition("=") for word in words)
    further = {key: ast.literal_eval(value) for key, _, value in pairs}
    config.update_from_flattened_dict(further)
    return config


def score(trained: wiring.Run) -> Iterator[scoring.Row]:
    """The official scores and Dice of each validation patient."""
    rules = scoring.Rules.of(trained.config).of_variants
    split = trained.split("validation")
    for index, prediction in predictions.predict_split(trained, split.name):
        yield from scoring.score(split.volume(index), prediction, rules)


def render(rows: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table: figures, and their differences from the recipe's mean."""
    lines = [
        f"| role | run | {' | '.join(FIGURES.values())} |",
        f"|---|---|{'---|' * len(FIGURES)}",
    ]
    for row in rows:
        own = [r for r in rows if r["role"] == row["role"]]
        recipe = [r for r in own if r["words"].startswith("recipe")]
        cells = []
        for figure in FIGURES:
            if row[figure] is None:
                cells.append("")
                continue
            cell = f"{row[figure]:.3f}"
            if recipe and row not in recipe:
                mean = statistics.mean(r[figure] for r in recipe)
                cell += f" ({row[figure] - mean:+.3f})"
            cells.append(cell)
        lines.append(f"| {row['role']} | {row['words']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train, and write the results after every run."""
    flags = parse_flags()
    compilation.keep_programs()
    runs = [r for r in list_runs(flags.roles.split(",")) if flags.only in r.words]
    folders = {"data_dir": flags.data_dir, "manual_dir": flags.manual_dir}
    data = command.prepare_in(wiring.check(configure(runs[0])), **folders)
    rows: list[dict[str, Any]] = []
    for run in tqdm(runs, unit="run"):
        rows.append(train(run, flags, data))
        results.write(flags.out, rows, render(rows))
    print(render(rows))


if __name__ == "__main__":
    main()
