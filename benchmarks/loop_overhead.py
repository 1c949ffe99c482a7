"""Overhead of the training loop over the bare step, at the default intervals.

    python -m benchmarks.loop_overhead --data_dir=DIR [--manual_dir=DIR] [--steps=20]

The bare step runs on one batch on the device. The loop also reads, transfers, logs,
draws and saves. Both take turns. Output: a Markdown table, and the overhead of an epoch
of the configuration, without the forward passes of the validation.
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

from mtl_jax.configs import openkbp
from mtl_jax.core import config as configs
from mtl_jax.core import records
from mtl_jax.run import command, wiring, workdir
from mtl_jax.train import checkpoint, loop, writers


def parse_flags() -> argparse.Namespace:
    """The flags: data, role and duration."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.loop_overhead",
        description="Overhead of the training loop over the bare step.",
    )
    parser.add_argument(
        "--data_dir", type=Path, required=True, help="TFDS's data directory"
    )
    parser.add_argument("--manual_dir", type=Path, help="folder of the raw patients")
    parser.add_argument("--role", default="multi", help="role (multi)")
    parser.add_argument("--steps", type=int, default=20, help="steps per turn (20)")
    parser.add_argument(
        "--turns", type=int, default=3, help="turns of each measurement (3)"
    )
    return parser.parse_args()


def main() -> None:
    """Measure and print the table."""
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
    """Seconds of a bare step, a step of the loop, a checkpoint and a picture."""
    state, _ = run.initial_state()
    update = run.backend.update(run.step.train)
    batch = run.backend.put_batch(run.training_batches.batch(0))
    on_device = update(run.backend.put_state(state), batch)  # compiles
    jax.block_until_ready(on_device)
    seconds: dict[str, list[float]] = {
        "bare step": [], "step in the loop": [], "checkpoint": [], "picture": []
    }  # fmt: skip
    for turn in tqdm(range(turns), desc="turns"):
        start = time.perf_counter()
        for _ in range(steps):
            on_device = update(on_device, batch)
        jax.block_until_ready(on_device)
        seconds["bare step"].append((time.perf_counter() - start) / steps)
        folder = run.workdir / str(turn)
        seconds["checkpoint"].append(time_checkpoint(run, on_device, folder / "once"))
        seconds["step in the loop"].append(time_loop_step(run, state, steps, folder))
        seconds["picture"].append(time_picture(run, on_device))
    return seconds


def time_checkpoint(run: wiring.Run, on_device: Any, folder: Path) -> float:
    """Seconds until one checkpoint is on disk."""
    with checkpoint.Checkpoints(folder) as checkpoints:
        start = time.perf_counter()
        host = run.backend.host(on_device)
        checkpoints.save(1, host, run.checkpoint_item, None)
        checkpoints.wait()
        return time.perf_counter() - start


def time_loop_step(run: wiring.Run, state: Any, steps: int, folder: Path) -> float:
    """Seconds per step of the loop, from the difference of a long and a short run.

    The difference removes what each run does once: compilation, the slow first steps,
    and the final checkpoint.
    """
    short = time_loop(run, state, steps // 2, folder / "short")
    long = time_loop(run, state, steps // 2 + steps, folder / "long")
    return (long - short) / steps


def time_loop(run: wiring.Run, state: Any, steps: int, folder: Path) -> float:
    """Seconds of a loop of `steps` steps, from the request of its second batch on."""
    requests: list[float] = []

    def timed(first: int) -> Iterator[records.Batch]:
        for batch in run.training_batches.iterate(first):
            requests.append(time.perf_counter())
            yield batch

    with checkpoint.Checkpoints(folder / "checkpoints") as checkpoints:
        training_loop = dataclasses.replace(
            run.loop(checkpoints, lambda: len(requests) >= steps), batches_from=timed
        )
        writer = writers.open_writers(folder, resume_step=0)
        loop.train(training_loop, state, writer)
        total = time.perf_counter() - requests[1]
        writer.close()
    return total


def time_picture(run: wiring.Run, on_device: Any) -> float:
    """Seconds of one picture that is not the first of the run."""
    with (
        tempfile.TemporaryDirectory() as folder,
        checkpoint.Checkpoints(Path(folder)) as checkpoints,
    ):
        validation = loop.Validation(run.loop(checkpoints, lambda: False))
        validation.picture(on_device)()
        start = time.perf_counter()
        validation.picture(on_device)()
        return time.perf_counter() - start


def report(run: wiring.Run, seconds: dict[str, list[float]]) -> None:
    """Print medians and ranges, and the overhead of an epoch."""
    print("| | median, s | least | most |\n|---|---|---|---|")
    for name, values in seconds.items():
        middle = statistics.median(values)
        print(f"| {name} | {middle:.3f} | {min(values):.3f} | {max(values):.3f} |")
    overheads = [
        loop_step / bare_step - 1
        for bare_step, loop_step in zip(
            seconds["bare step"], seconds["step in the loop"], strict=True
        )
    ]
    epoch = run.schedule.epoch_steps
    bare = statistics.median(seconds["bare step"]) * epoch
    once = sum(statistics.median(seconds[n]) for n in ("checkpoint", "picture"))
    total = statistics.median(overheads) + once / bare
    device = jax.devices()[0].device_kind
    print(
        f"\nAn epoch of {epoch} steps on {device}: reading and logging "
        f"{100 * statistics.median(overheads):.2f} %, one checkpoint and one picture "
        f"{100 * once / bare:.2f} %, together {100 * total:.2f} % over the bare steps."
    )


if __name__ == "__main__":
    main()
