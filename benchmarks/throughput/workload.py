"""What a worker times: a `Spec` describes it, a `Workload` is ready to be timed.

`jax_workloads`, `torch_workloads` and the modules of the same names with `data` turn a
Spec into a Workload.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks.throughput import cases


@dataclasses.dataclass(frozen=True)
class Spec:
    """The task of one worker."""

    case: cases.Case
    mode: cases.Mode
    threads: int
    started: float  # seconds since 1970, before the process was started
    data_dir: str | None  # folder of the phantom patients, for parts that read them

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Spec":
        """The Spec from which `dataclasses.asdict` made `value`."""
        nested = {
            "case": cases.Case(**value["case"]),
            "mode": cases.Mode(**value["mode"]),
        }
        return cls(**(value | nested))


class Turn(NamedTuple):
    """The measurement of one turn."""

    seconds: float  # of all steps together
    steps: int
    images: int  # of all steps together


@dataclasses.dataclass(frozen=True)
class Workload:
    """A computation that has run once and is ready to be timed."""

    turn: Callable[[int], Turn]  # takes the number of steps
    first_step: float  # seconds since 1970 at the end of the first step
    compile_seconds: float | None  # None: nothing was compiled
    operations: float | None = None  # of an image, as the compiler counts them
    device_bytes: Callable[[], int | None] = lambda: None  # peak memory of the device
    release: Callable[[], object] = lambda: None  # frees memory that others may need


def repeat(
    step: Callable[[], object], wait: Callable[[], object], images: int
) -> Callable[[int], Turn]:
    """Turns of `step`, which computes `images` images; `wait` returns when all ended.

    One untimed step comes first, so that caches and memory belong to this process.
    """

    def turn(steps: int) -> Turn:
        step()
        wait()
        start = time.perf_counter()
        for _ in range(steps):
            step()
        wait()
        return Turn(time.perf_counter() - start, steps, steps * images)

    return turn


def noise_batch(config: Any, channels: int) -> dict[str, np.ndarray]:
    """A batch of noise (core/records.Batch; arrays [B, H, W, ...]), always the same."""
    rng = np.random.default_rng(0)
    size, structures = config.train.batch_size, len(config.data.structures)
    shape = (size, *config.data.image_size)
    contours = rng.random((*shape, structures), np.float32) < 0.05
    possible = np.zeros((*shape, 1), np.uint8)
    possible[:, shape[1] // 4 : -shape[1] // 4, shape[2] // 4 : -shape[2] // 4] = 1
    return {
        "image": rng.standard_normal((*shape, channels), np.float32),
        "contours": contours.astype(np.uint8),
        "present": np.ones((size, structures), np.float32),
        "dose": rng.random((*shape, 1), np.float32),
        "possible_dose": possible,
        "has_dose": np.ones(size, np.float32),
        "mask": np.ones(size, np.float32),
    }


def fastest_product(
    case: cases.Case,
    square: Callable[[int], Callable[[int], Turn]],
    device_bytes: Callable[[], int | None],
    release: Callable[[], object] = lambda: None,
) -> Workload:
    """The product of two square matrices that reaches the highest rate.

    `square(side)` returns the turns of a product of matrices of `side` rows. Each
    product counts as one image.
    """
    turns = {side: square(side) for side in product_sizes(case)}
    rates = {side: side**3 / turn(2).seconds for side, turn in turns.items()}
    side = max(rates, key=rates.__getitem__)
    return Workload(
        turn=turns[side],
        first_step=time.time(),
        compile_seconds=None,
        operations=2.0 * side**3,
        device_bytes=device_bytes,
        release=release,
    )


def product_sizes(case: cases.Case) -> tuple[int, ...]:
    """Rows of the square matrices that `fastest_product` tries."""
    if case.size == "tiny":
        return (64,)
    return (1024, 2048) if case.platform == "cpu" else (4096, 8192)
