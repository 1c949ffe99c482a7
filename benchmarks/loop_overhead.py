"""What the training loop costs over the bare step, at the default intervals.

    python -m benchmarks.loop_overhead --data_dir=DIR [--manual_dir=DIR] [--steps=20]

The bare step runs on one batch that lies on the device; the loop reads, places, logs,
draws and saves. Both take turns. Comes out: a Markdown table, and the overhead of an
epoch of the configuration: everything but validation's own forward passes.
"""

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

from configs import openkbp
from mtl_jax.core import config as configs
from mtl_jax.core import records
from mtl_jax.run import command, wiring, workdir
from mtl_jax.train import checkpoint, loop, writers


def parse_flags() -> argparse.Namespace:
    """What to measure, and how long."""
    parser = argparse.ArgumentParser(description="What the training loop costs.")
    parser.add_argument("--data_dir", type=Path, required=True)
    parser.add_argument("--manual_dir", type=Path)
    parser.add_argument("--role", default="multi")
    parser.add_argument("--steps", type=int, default=20, help="steps of each turn")
    parser.add_argument("--turns", type=int, default=3)
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    flags = parse_flags()
    config = openkbp.get_config(flags.role)
    config.model.pretrained = "none"
    config.train.steps = 10**6
    data = command.prepare_in(
        config, data_dir=flags.data_dir, manual_dir=flags.manual_dir
    )
    with tempfile.TemporaryDirectory() as folder:
        run = wiring.Run(configs.check(config), data, Path(folder))
        workdir.create_or_check(run.workdir, config, data.fingerprint)
        report(run, measure(run, steps=flags.steps, turns=flags.turns))


def measure(run: wiring.Run, *, steps: int, turns: int) -> dict[str, list[float]]:
    """Seconds of a bare step, a step of the loop, a checkpoint, and a picture."""
    state, _ = run.initial_state()
    update = run.backend.update(run.step.train)
    batch = run.backend.put_batch(run.training_batches.batch(0))
    placed = update(run.backend.put_state(state), batch)  # compiles
    jax.block_until_ready(placed)
    seconds: dict[str, list[float]] = {
        "bare step": [], "step in the loop": [], "checkpoint": [], "picture": []
    }  # fmt: skip
    for turn in tqdm(range(turns), desc="turns"):
        start = time.perf_counter()
        for _ in range(steps):
            placed = update(placed, batch)
        jax.block_until_ready(placed)
        seconds["bare step"].append((time.perf_counter() - start) / steps)
        folder = run.workdir / str(turn)
        seconds["checkpoint"].append(save(run, placed, folder / "once"))
        seconds["step in the loop"].append(in_loop(run, state, steps, folder))
        seconds["picture"].append(picture(run, placed))
    return seconds


def save(run: wiring.Run, placed: Any, folder: Path) -> float:
    """Seconds of one checkpoint, until it is on disk."""
    with checkpoint.Checkpoints(folder) as checkpoints:
        start = time.perf_counter()
        host = run.backend.host(placed)
        checkpoints.save(1, host, run.in_checkpoint, None)
        checkpoints.wait()
        return time.perf_counter() - start


def in_loop(run: wiring.Run, state: Any, steps: int, folder: Path) -> float:
    """Seconds of a step of the loop: a long run less a short one, by their difference.

    What a run does once is in both: compiling, the first slow steps, the checkpoint
    that it ends with.
    """
    short = once_through(run, state, steps // 2, folder / "short")
    long = once_through(run, state, steps // 2 + steps, folder / "long")
    return (long - short) / steps


def once_through(run: wiring.Run, state: Any, steps: int, folder: Path) -> float:
    """Seconds of a loop of `steps` steps, from when it asks for its second batch."""
    asked: list[float] = []

    def timed(first: int) -> Iterator[records.Batch]:
        for batch in run.training_batches.iterate(first):
            asked.append(time.perf_counter())
            yield batch

    with checkpoint.Checkpoints(folder / "checkpoints") as checkpoints:
        this = dataclasses.replace(
            run.loop(checkpoints, lambda: len(asked) >= steps), batches_from=timed
        )
        writer = writers.open_writers(folder, resume_step=0)
        loop.train(this, state, writer)
        total = time.perf_counter() - asked[1]
        writer.close()
    return total


def picture(run: wiring.Run, placed: Any) -> float:
    """Seconds of one picture, after the first of a run."""
    with (
        tempfile.TemporaryDirectory() as folder,
        checkpoint.Checkpoints(Path(folder)) as checkpoints,
    ):
        validation = loop.Validation(run.loop(checkpoints, lambda: False))
        validation.picture(placed)
        start = time.perf_counter()
        validation.picture(placed)
        return time.perf_counter() - start


def report(run: wiring.Run, seconds: dict[str, list[float]]) -> None:
    """Print medians and spread, and the overhead of an epoch."""
    print("| | median, s | least | most |\n|---|---|---|---|")
    for name, values in seconds.items():
        middle = statistics.median(values)
        print(f"| {name} | {middle:.3f} | {min(values):.3f} | {max(values):.3f} |")
    extra = [
        inside / bare - 1
        for bare, inside in zip(
            seconds["bare step"], seconds["step in the loop"], strict=True
        )
    ]
    epoch = run.schedule.epoch_steps
    bare = statistics.median(seconds["bare step"]) * epoch
    once = sum(statistics.median(seconds[n]) for n in ("checkpoint", "picture"))
    total = statistics.median(extra) + once / bare
    device = jax.devices()[0].device_kind
    print(
        f"\nAn epoch of {epoch} steps on {device}: reading and logging "
        f"{100 * statistics.median(extra):.2f} %, one checkpoint and one picture "
        f"{100 * once / bare:.2f} %, together {100 * total:.2f} % over the bare steps."
    )


if __name__ == "__main__":
    main()
