"""Weak scaling on this machine: more virtual devices, the same slices per device.

    python -m benchmarks.weak_scaling [--devices=1,2,4,8] [--processes=1,2] [--out=DIR]

Measures for each number of devices and processes (on loopback): the difference of the
gradients of a fixed batch from those of one device; the collectives of a training step
and their bytes per device, counted in the compiled program; and the time of a step
whose batch grows with the devices. The devices share the machine's cores, so n devices
have n times the work of one: the overhead is the time beyond n steps of one device.
Output: `result.json` and `table.md` in `--out`.
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

from benchmarks import collectives, flag_types
from benchmarks.throughput import machine
from mtl_jax.core import files


@dataclasses.dataclass(frozen=True)
class Case:
    """A backend with a number of processes and of devices."""

    backend: str
    processes: int
    devices: int  # of all processes together


def parse_flags(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags: cases, size of the network, and number of steps."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.weak_scaling",
        description="Weak scaling over virtual devices and processes on loopback.",
    )
    add = parser.add_argument
    add(
        "--devices",
        type=flag_types.positive_integers,
        default=[1, 2, 4, 8],
        help="numbers of devices in all processes together (1,2,4,8)",
    )
    add(
        "--processes",
        type=flag_types.positive_integers,
        default=[1, 2],
        help="numbers of processes (1,2)",
    )
    add("--backends", default="jit,pmap", help="backends of the step (jit,pmap)")
    add("--per_device", type=int, default=2, help="slices on each device (2)")
    add("--image_size", type=int, default=64, help="pixels, a multiple of 32 (64)")
    add("--width", type=int, default=8, help="width of the network (8; full size: 64)")
    add(
        "--batch_norm_slices",
        type=int,
        default=0,
        help="slices that share batch-norm statistics (0: the whole batch)",
    )
    add("--steps", type=int, default=5, help="timed steps (5)")
    add("--out", type=Path, default=Path("runs/weak_scaling"), help="output folder")
    add("--worker", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def list_cases(flags: argparse.Namespace) -> list[Case]:
    """The reference, one device, and all cases whose processes have equal shares."""
    candidates = [
        Case(backend, processes, devices)
        for backend in flags.backends.split(",")
        for processes in flags.processes
        for devices in flags.devices
        if devices % processes == 0
    ]
    reference = Case("jit", 1, 1)
    return [reference, *(case for case in candidates if case != reference)]


def measure(case: Case, flags: argparse.Namespace) -> dict[str, Any]:
    """The results of the processes of `case`, with the gradients as arrays by name."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="weak-scaling-") as folder:
        task = dataclasses.asdict(case) | {
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
                    f"--batch_norm_slices={flags.batch_norm_slices}",
                    f"--worker={json.dumps(task | {'index': index})}",
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for index in range(case.processes)
        ]
        outputs = [process.communicate()[0] for process in started]
        if any(process.returncode for process in started):
            raise RuntimeError(f"{case} failed:\n" + "\n".join(outputs))
        measured = json.loads((Path(folder) / "measured.json").read_text())
        with np.load(Path(folder) / "gradients.npz") as arrays:
            return measured | {"gradients": dict(arrays)}


def run_worker(flags: argparse.Namespace, task: dict[str, Any]) -> None:
    """Run one process of a case."""
    import jax

    jax.config.update("jax_num_cpu_devices", task["devices"] // task["processes"])
    from mtl_jax.train import distributed

    with distributed.connected(task["address"], task["processes"], task["index"]):
        measured, gradients = run_case(flags, task)
        if distributed.is_first():
            folder = Path(task["folder"])
            (folder / "measured.json").write_text(json.dumps(measured))
            np.savez(folder / "gradients.npz", allow_pickle=False, **gradients)
    sys.exit(distributed.leave(0, together=True))


def run_case(
    flags: argparse.Namespace, task: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Collectives and times of a step, and the gradients of the fixed batch."""
    import jax

    run = make_run(flags, task, flags.per_device * task["devices"])
    host, _ = run.initial_state()
    state, batch = run.backend.put_state(host), put_noise(run)
    update = run.backend.update(run.step.train)
    text = update.lower(state, batch).compile().as_text()
    state = jax.block_until_ready(update(state, batch))
    seconds = []
    for _ in range(flags.steps):
        start = time.perf_counter()
        state = jax.block_until_ready(update(state, batch))
        seconds.append(time.perf_counter() - start)
    measured = {
        "collectives": collectives.count(text),
        "seconds": seconds,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(host.params)),
    }
    with jax.enable_x64(True):
        return measured, compute_gradients(flags, task, host)


def compute_gradients(
    flags: argparse.Namespace, task: dict[str, Any], host: Any
) -> dict[str, np.ndarray]:
    """Gradients of the fixed batch by name, in float64.

    On noise, the rounding error of float32 gradients of a network this deep is 1e-3.
    """
    import jax
    import jax.numpy as jnp

    run = make_run(flags, task, task["fixed_batch"])
    run.config.model.dtype = (
        "float64"  # useful only here, so not a value that users may set
    )
    double = jax.tree.map(
        lambda x: x.astype(np.float64) if x.dtype == np.float32 else x, host
    )
    weights = jnp.ones(len(run.role.tasks))

    def of_batch(state: Any, batch: Any) -> Any:
        return run.step.gradients(state, batch, weights)[0]

    state, batch = run.backend.put_state(double), put_noise(run)
    gradients = run.backend.host(run.backend.sums(of_batch)(state, batch))
    leaves = jax.tree_util.tree_leaves_with_path(gradients)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def make_run(flags: argparse.Namespace, task: dict[str, Any], batch_size: int) -> Any:
    """The demo's run without its data, in the size that the flags set."""
    from benchmarks.throughput import jax_workloads
    from mtl_jax.configs import demo
    from mtl_jax.core import config as configs

    config = demo.get_config()
    config.data.statistics = "paper"
    config.data.image_size = (flags.image_size, flags.image_size)
    config.model.width = flags.width
    config.train.backend = task["backend"]
    config.train.batch_size = config.evaluate.batch_size = batch_size
    config.train.batch_norm_slices = flags.batch_norm_slices
    no_data: Any = None
    folder = Path(task["folder"]) / "run"
    return jax_workloads.RunWithoutData(configs.check(config), no_data, folder)


def put_noise(run: Any) -> Any:
    """The rows of this process in the batch of noise, on its devices."""
    from benchmarks.throughput import workload
    from mtl_jax.train import distributed

    whole = workload.noise_batch(run.config, run.preprocess.channels)
    own = {
        name: np.split(np.asarray(array), distributed.count())[distributed.index()]
        for name, array in whole.items()
    }
    return run.backend.put_batch(own)


def difference(reference: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    """The largest norm of a tensor's difference over the norm of all of `reference`."""
    squares = [np.sum(np.square(x, dtype=np.float64)) for x in reference.values()]
    differences = [np.linalg.norm(reference[n] - other[n]) for n in reference]
    return float(max(differences) / np.sqrt(sum(squares)))


def table(result: dict[str, Any]) -> str:
    """The result in Markdown."""
    rows = result["rows"]
    one_device = statistics.median(rows[0]["seconds"])
    lines = [
        f"`{result['command']}`: {result['parameters']:,} parameters, "
        f"{result['per_device']} slices of {result['image_size']} pixels per device; "
        f"{result['machine']['processor']}, {result['machine']['usable_cores']} cores, "
        f"jax {result['versions']['jax']}",
        "",
        "| | processes | devices | collectives a step | MB a device | gradients differ "
        "| ms a step | overhead |",
        "|---|---:|---:|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        middle = statistics.median(row["seconds"])
        overhead = middle / (one_device * row["devices"]) - 1
        kinds = [f"{v['count']} {k}" for k, v in row["collectives"].items()]
        size = sum(each["bytes"] for each in row["collectives"].values()) / 1e6
        lines.append(
            f"| {row['backend']} | {row['processes']} | {row['devices']} "
            f"| {', '.join(kinds) or 'none'} | {size:.3f} | {row['difference']:.1e} "
            f"| {1000 * middle:.1f} | {100 * overhead:+.0f} % |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure, write and print the results; returns the exit status."""
    flags = parse_flags()
    if flags.worker:
        run_worker(flags, json.loads(flags.worker))
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
    reference: dict[str, np.ndarray] = {}
    for case in tqdm(list_cases(flags), desc="weak scaling"):
        measured = measure(case, flags)
        gradients = measured.pop("gradients")
        reference = reference or gradients
        result["parameters"] = measured.pop("parameters")
        measured["difference"] = difference(reference, gradients)
        rows.append(dataclasses.asdict(case) | measured)
        with files.whole(flags.out / "result.json") as partial:
            partial.write_text(json.dumps(result, indent=1) + "\n")
        with files.whole(flags.out / "table.md") as partial:
            partial.write_text(table(result))
    print(table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
