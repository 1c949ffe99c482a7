"""One of several processes that do together what tests compare with one alone.

    python -m tests.train.together PORT PROCESSES DEVICES INDEX FOLDER

Out: arrays and words in FOLDER, a file for each process.
"""

import dataclasses
import functools
import json
import socket
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax.configs import common
from mtl_jax.core import errors, geometry, records, sites
from mtl_jax.datasets import examples, prepared
from mtl_jax.pipeline import batches
from mtl_jax.run import validation_score as scores
from mtl_jax.run import wiring
from mtl_jax.train import checkpoint, distributed, parallel
from mtl_jax.train import state as states
from tests.train import conftest

STEPS, STEPS_ALONE = 5, 2


def free_port() -> int:
    """A port that nobody listens to just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(folder: Path, *, processes: int, devices: int) -> list[subprocess.Popen]:
    """Run this module in all processes."""
    port = free_port()
    return [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.train.together"),
                *map(str, (port, processes, devices, index, folder)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(processes)
    ]


def named(tree: Any) -> dict[str, np.ndarray]:
    """The leaves of a host tree by their path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def own_rows(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The rows of this process."""
    count, index = distributed.count(), distributed.index()
    return {name: np.split(array, count)[index] for name, array in batch.items()}


def words() -> dict[str, Any]:
    """What the processes say to each other."""
    here = distributed.index()
    found: dict[str, Any] = {
        "once": distributed.once(lambda: {"from": here}),
        "exchange": distributed.exchange(f"I am {here}"),
        "in_turns": distributed.call_in_turn(lambda: here),
        # In what the first process does alone, it waits for nobody.
        "nested": distributed.once(lambda: distributed.once(distributed.count)),
        "gather": distributed.gather(np.arange(2) + 10 * here).tolist(),
    }

    def fail() -> None:
        raise errors.WorkdirError("it holds another run")

    for name, call in {
        "once fails": lambda: distributed.once(fail),
        "one turn fails": lambda: distributed.call_in_turn(fail if here else int),
        "differ": lambda: distributed.check_same({"seed": here, "role": "multi"}),
        "devices": lambda: backend("jit", devices=3),
        "batch": lambda: backend("pmap", batch_size=9),
    }.items():
        try:
            call()
        except errors.MtlError as error:
            found[name] = f"{type(error).__name__}: {error}"
    return found


def backend(name: str, **changes: Any) -> parallel.Backend:
    """The backend over all devices of all processes, for batches of 8."""
    sizes = {"devices": 0, "batch_size": 8, "accumulate": 1, "evaluate_batch_size": 8}
    return parallel.backend(name, **(sizes | changes))


def first_to_all() -> dict[str, np.ndarray]:
    """A tree as it comes out of `from_first`, with what sums would change."""
    odd = np.array([-0.0, np.nan, 1.5, np.inf], np.float32)
    tree = {"odd": odd, "whole": np.int32(7), "double": np.array(1 / 3)}
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)
    return distributed.from_first(lambda: tree, like)


def train(
    where: parallel.Backend, first: int, last: int, folder: Path | None
) -> states.TrainState:
    """The host state after float64 steps `first` to `last` of five.

    It goes on from the checkpoint in `folder`, if one is given.
    """
    tiny = conftest.TinyRun()
    step = tiny.step(dtype=jnp.float64, axis_name=where.axis_name)
    state = like = tiny.state(step, dtype=np.float64)
    if folder:
        state = distributed.from_first(lambda: checkpoint.load(folder, like)[0], like)
    state = where.put_state(state)
    update = where.update(step.train)
    for batch in tiny.batches(STEPS, dtype=np.float64)[first:last]:
        state = update(state, where.put_batch(own_rows(batch)))
    return where.host(state)


def save(state: states.TrainState, folder: Path, step: int) -> Path:
    """The checkpoint of `step` in `folder`, which the first process writes."""
    first = distributed.is_first()
    with (
        checkpoint.Checkpoints(folder) if first else checkpoint.NoCheckpoints() as kept
    ):
        kept.save(step, state, {}, 0.5)
        kept.wait()
    return folder / str(step)


def go_on(name: str, home: Path) -> dict[str, np.ndarray]:
    """From what one process left after two steps to the last one; saved."""
    left = home / "checkpoints-alone" / str(STEPS_ALONE)
    state = train(backend(name), STEPS_ALONE, STEPS, left)
    save(state, home / f"checkpoints-{name}", STEPS)
    return named(state)


def compute(name: str) -> dict[str, np.ndarray]:
    """float32: sums of an evaluation, and slices."""
    tiny = conftest.TinyRun()
    where = backend(name)
    step = tiny.step(axis_name=where.axis_name)
    state = where.put_state(tiny.state(step))
    (batch,) = tiny.batches(1)
    mine = own_rows(batch)
    sums = where.sums(step.evaluate)(state, where.put_batch(mine))
    slices = where.by_slice(step.predict)(state, mine["image"])
    return named({"sums": where.host(sums), "slices": slices})


def validation_score(where: parallel.Backend, workdir: Path) -> dict[str, float]:
    """The score of a tiny network, on the volumes of two of three patients of noise."""
    rng = np.random.default_rng(0)
    source, entries, structures = [], [], ("Brainstem", "SpinalCord")
    for number, slices in enumerate((5, 3, 6)):
        shape = (slices, 16, 16)
        patient = records.Patient(
            patient_id=f"pt_{number}",
            grid=geometry.Grid(shape, (2.0, 3.0, 3.0)),
            ct=rng.integers(0, 1000, shape).astype(np.float32),
            structures={name: rng.random(shape) < 0.5 for name in structures},
            dose_gy=rng.uniform(0, 70, shape).astype(np.float32),
            possible_dose_mask=rng.random(shape) < 0.8,
        )
        stack = examples.stack(patient, sites.OPENKBP)
        entries.append(dataclasses.replace(stack.entry, start=len(source)))
        source += examples.slices(stack)
    split = prepared.Split("validation", source, tuple(entries), sites.OPENKBP)
    config = common.get_config()
    config.data.structures, config.data.image_size = structures, (16, 16)
    config.evaluate.best_patients = 2
    pre = wiring.make_preprocess(config, {"ct_mean": 500.0, "ct_std": 300.0})

    def own_batches(leave_out: Collection[int]) -> batches.Evaluation:
        return batches.evaluation(
            split,
            preprocess=pre,
            batch_size=8,
            leave_out=leave_out,
            process_index=distributed.index(),
            process_count=distributed.count(),
        )

    splits = {"train": split, "validation": split}
    origin = prepared.splits.Origin("0", "noise")
    data = prepared.Prepared(sites.OPENKBP, splits, "0", origin, workdir)
    score = scores.make(config, data, own_batches, pre, workdir)
    score.prepare()
    tiny = conftest.TinyRun()
    step = tiny.step(axis_name=where.axis_name)
    state = where.put_state(tiny.state(step))
    predict = functools.partial(where.by_slice(step.predict), state)
    return score(predict)()({"contours": 1.0, "dose": 1.0})


def main() -> None:
    """Do everything, as process INDEX."""
    port, processes, devices, index, folder = sys.argv[1:]
    jax.config.update("jax_num_cpu_devices", int(devices))
    address = f"127.0.0.1:{port}"
    with distributed.connected(address, int(processes), int(index)):
        home = Path(folder)
        told = words() | {"devices here": jax.local_device_count()}
        for name in ("jit", "pmap"):
            workdir = home / ("score" if distributed.is_first() else "nobody")
            told[f"score {name}"] = validation_score(backend(name), workdir)
        (home / f"{index}.json").write_text(json.dumps(told))
        arrays = first_to_all()
        for name in ("jit", "pmap"):
            arrays |= {f"{name}{key}": x for key, x in compute(name).items()}
            with jax.enable_x64(True):
                found = go_on(name, home)
            arrays |= {f"{name} state{key}": x for key, x in found.items()}
        np.savez(home / f"{index}.npz", **arrays)
    sys.exit(distributed.leave(0, together=True))


if __name__ == "__main__":
    main()
