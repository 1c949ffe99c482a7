"""Weak scaling on this machine: more virtual devices, each with as many slices.

    python -m benchmarks.weak_scaling [--devices=1,2,4,8] [--processes=1,2] [--out=DIR]

For each number of devices and processes (on loopback): the gradients of one and the
same batch beside those of one device, the collectives of a training step and their
bytes on each device, counted in the compiled program, and the time of a step whose
batch grows with the devices. These share the machine's cores, so that n devices have n
times the work of one to do: what a step takes beyond n steps of one is its overhead.
Comes out: `result.json` and `table.md` in `--out`.
"""

import argparse
import dataclasses
import json
import shlex
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks import collectives, flag
from benchmarks.throughput import machine
from mtl_jax.core import files


@dataclasses.dataclass(frozen=True)
class Case:
    """One number of devices, over one number of processes."""

    backend: str
    processes: int
    devices: int  # of all processes together


def parse_flags(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What to measure, and how long."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.weak_scaling",
        description="Weak scaling over virtual devices and processes on loopback.",
    )
    add = parser.add_argument
    add(
        "--devices",
        type=flag.whole_numbers,
        default=[1, 2, 4, 8],
        help="of all processes",
    )
    add("--processes", type=flag.whole_numbers, default=[1, 2])
    add("--backends", default="jit,pmap", help="default: jit,pmap")
    add("--per_device", type=int, default=2, help="slices on each device (2)")
    add("--image_size", type=int, default=64, help="pixels, a multiple of 32 (64)")
    add("--width", type=int, default=8, help="of the network (8; the full size: 64)")
    add("--steps", type=int, default=5, help="steps that are timed (5)")
    add("--out", type=Path, default=Path("runs/weak_scaling"))
    add("--worker", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def cases(flags: argparse.Namespace) -> list[Case]:
    """All that can be shared out equally; first one device, with which all compare."""
    found = [
        Case(backend, processes, devices)
        for backend in flags.backends.split(",")
        for processes in flags.processes
        for devices in flags.devices
        if devices % processes == 0
    ]
    one = Case("jit", 1, 1)
    return [one, *(case for case in found if case != one)]


def measure(case: Case, flags: argparse.Namespace) -> dict[str, Any]:
    """What the processes of `case` found; its gradients are arrays by name."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="weak-scaling-") as folder:
        job = dataclasses.asdict(case) | {
            "address": f"127.0.0.1:{port}",
            "fixed_batch": flags.per_device * max(flags.devices),
            "folder": folder,
        }
        started = [
            subprocess.Popen(
                [
                    *(sys.executable, "-m", "benchmarks.weak_scaling"),
                    *(f"--per_device={flags.per_device}", f"--steps={flags.steps}"),
                    *(f"--image_size={flags.image_size}", f"--width={flags.width}"),
                    f"--worker={json.dumps(job | {'index': index})}",
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for index in range(case.processes)
        ]
        said = [process.communicate()[0] for process in started]
        if any(process.returncode for process in started):
            raise RuntimeError(f"{case} failed:\n" + "\n".join(said))
        found = json.loads((Path(folder) / "found.json").read_text())
        with np.load(Path(folder) / "gradients.npz") as arrays:
            return found | {"gradients": dict(arrays)}


def work(flags: argparse.Namespace, job: dict[str, Any]) -> None:
    """Be one process of a case."""
    import jax

    jax.config.update("jax_num_cpu_devices", job["devices"] // job["processes"])
    from mtl_jax.train import distributed

    together = (job["address"], job["processes"], job["index"])
    with distributed.joined(*together):
        found, gradients = run_case(flags, job)
        if distributed.is_first():
            folder = Path(job["folder"])
            (folder / "found.json").write_text(json.dumps(found))
            np.savez(folder / "gradients.npz", allow_pickle=False, **gradients)
    sys.exit(distributed.leave(0, together=True))


def run_case(
    flags: argparse.Namespace, job: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Collectives and times of a step, and the gradients of the fixed batch."""
    import jax

    run = make_run(flags, job, flags.per_device * job["devices"])
    host, _ = run.initial_state()
    state, batch = run.backend.put_state(host), place_noise(run)
    update = run.backend.update(run.step.train)
    text = update.lower(state, batch).compile().as_text()
    state = jax.block_until_ready(update(state, batch))
    seconds = []
    for _ in range(flags.steps):
        start = time.perf_counter()
        state = jax.block_until_ready(update(state, batch))
        seconds.append(time.perf_counter() - start)
    found = {
        "collectives": collectives.count(text),
        "seconds": seconds,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(host.params)),
    }
    with jax.enable_x64(True):
        return found, gradients(flags, job, host)


def gradients(
    flags: argparse.Namespace, job: dict[str, Any], host: Any
) -> dict[str, np.ndarray]:
    """Of the fixed batch, by name, in float64.

    On noise the float32 gradients of a network this deep are themselves some 1e-3 off.
    """
    import jax
    import jax.numpy as jnp

    run = make_run(flags, job, job["fixed_batch"])
    run.config.model.dtype = "float64"  # of no use elsewhere, so no choice there
    double = jax.tree.map(
        lambda x: x.astype(np.float64) if x.dtype == np.float32 else x, host
    )
    weights = jnp.ones(len(run.role.tasks))

    def of_batch(state: Any, batch: Any) -> Any:
        return run.step.gradients(state, batch, weights)[0]

    placed = run.backend.put_state(double), place_noise(run)
    found = run.backend.host(run.backend.sums(of_batch)(*placed))
    leaves = jax.tree_util.tree_leaves_with_path(found)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def make_run(flags: argparse.Namespace, job: dict[str, Any], batch_size: int) -> Any:
    """The demo's run, of the flags' size, without its data."""
    from benchmarks.throughput import ours
    from configs import demo
    from mtl_jax.core import config as configs

    config = demo.get_config()
    config.data.statistics = "paper"
    config.data.image_size = (flags.image_size, flags.image_size)
    config.model.width = flags.width
    config.train.backend = job["backend"]
    config.train.batch_size = config.evaluate.batch_size = batch_size
    no_data: Any = None
    folder = Path(job["folder"]) / "run"
    return ours.WithoutData(configs.check(config), no_data, folder)


def place_noise(run: Any) -> Any:
    """The process's rows of the batch of noise, on its devices."""
    from benchmarks.throughput import job
    from mtl_jax.train import distributed

    whole = job.noise_batch(run.config, run.preprocess.channels)
    own = {
        name: np.split(np.asarray(array), distributed.count())[distributed.index()]
        for name, array in whole.items()
    }
    return run.backend.put_batch(own)


def difference(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    """The greatest difference of a tensor, over the norm of the whole of `one`."""
    whole = np.sqrt(sum(np.sum(np.square(x, dtype=np.float64)) for x in one.values()))
    return float(max(np.linalg.norm(one[n] - other[n]) for n in one) / whole)


def table(result: dict[str, Any]) -> str:
    """The result in Markdown."""
    rows = result["rows"]
    one = statistics.median(rows[0]["seconds"])
    lines = [
        f"`{result['command']}`: {result['parameters']:,} parameters, "
        f"{result['per_device']} slices of {result['image_size']} pixels a device; "
        f"{result['machine']['processor']}, {result['machine']['usable_cores']} cores, "
        f"jax {result['versions']['jax']}",
        "",
        "| | processes | devices | collectives a step | MB a device | gradients differ "
        "| ms a step | overhead |",
        "|---|---:|---:|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        middle = statistics.median(row["seconds"])
        overhead = middle / (one * row["devices"]) - 1
        kinds = [f"{v['count']} {k}" for k, v in row["collectives"].items()]
        size = sum(each["bytes"] for each in row["collectives"].values()) / 1e6
        lines.append(
            f"| {row['backend']} | {row['processes']} | {row['devices']} "
            f"| {', '.join(kinds) or 'none'} | {size:.3f} | {row['difference']:.1e} "
            f"| {1000 * middle:.1f} | {100 * overhead:+.0f} % |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure, write, print; returns the exit status."""
    flags = parse_flags()
    if flags.worker:
        work(flags, json.loads(flags.worker))
    rows: list[dict[str, Any]] = []
    result: dict[str, Any] = {
        "command": shlex.join(
            ["python", "-m", "benchmarks.weak_scaling", *sys.argv[1:]]
        ),
        "machine": machine.describe(),
        "versions": machine.versions(),
        "per_device": flags.per_device,
        "image_size": flags.image_size,
        "rows": rows,
    }
    alone: dict[str, np.ndarray] = {}
    for case in tqdm(cases(flags), desc="weak scaling"):
        found = measure(case, flags)
        gradients = found.pop("gradients")
        alone = alone or gradients
        result["parameters"] = found.pop("parameters")
        apart = difference(alone, gradients)
        rows.append(dataclasses.asdict(case) | found | {"difference": apart})
        with files.whole(flags.out / "result.json") as partial:
            partial.write_text(json.dumps(result, indent=1) + "\n")
        with files.whole(flags.out / "table.md") as partial:
            partial.write_text(table(result))
    print(table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
