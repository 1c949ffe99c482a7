"""The contract of what a worker times: `ours` and `theirs` make Jobs."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks.throughput import cases


@dataclasses.dataclass(frozen=True)
class Spec:
    """What one worker is to do."""

    case: cases.Case
    mode: cases.Mode
    threads: int
    started: float  # seconds since 1970, before the process was started
    data_dir: str | None  # where the phantom patients are, for parts that read

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Spec":
        """What `dataclasses.asdict` made of a Spec."""
        made = {
            "case": cases.Case(**value["case"]),
            "mode": cases.Mode(**value["mode"]),
        }
        return cls(**(value | made))


class Turn(NamedTuple):
    """What was timed in one turn."""

    seconds: float  # all together
    steps: int
    images: int  # all together


@dataclasses.dataclass(frozen=True)
class Job:
    """Something that was computed once, and is ready to be timed."""

    turn: Callable[[int], Turn]  # so many steps
    first_step: float  # seconds since 1970, when the first step had ended
    compile_seconds: float | None  # None: nothing was compiled
    operations: float | None = None  # of an image, as the compiler counts them
    device_bytes: Callable[[], int | None] = lambda: None  # most that was in use
    rest: Callable[[], object] = lambda: None  # give back what others may need


def repeated(
    step: Callable[[], object], wait: Callable[[], object], images: int
) -> Callable[[int], Turn]:
    """Turns of `step`s of `images` each; `wait` returns once all of them have ended.

    One more step goes before the clock starts: caches and memory are then its own.
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
    """A batch [B, H, W, ...] (core/records.Batch) of noise, the same for everyone."""
    rng = np.random.default_rng(0)
    size, structures = config.train.batch_size, len(config.data.structures)
    shape = (size, *config.data.image_size)
    contours = rng.random((*shape, structures), np.float32) < 0.05
    return {
        "image": rng.standard_normal((*shape, channels), np.float32),
        "contours": contours.astype(np.uint8),
        "present": np.ones((size, structures), np.float32),
        "dose": rng.random((*shape, 1), np.float32),
        "has_dose": np.ones(size, np.float32),
        "mask": np.ones(size, np.float32),
    }


def fastest_product(
    case: cases.Case,
    square: Callable[[int], Callable[[int], Turn]],
    device_bytes: Callable[[], int | None],
    rest: Callable[[], object] = lambda: None,
) -> Job:
    """Of products of two square matrices, the one with the highest rate.

    `square(side)` gives turns of such products; an image is a product here.
    """
    turns = {side: square(side) for side in product_sizes(case)}
    rates = {side: side**3 / turn(2).seconds for side, turn in turns.items()}
    side = max(rates, key=rates.__getitem__)
    return Job(
        turn=turns[side],
        first_step=time.time(),
        compile_seconds=None,
        operations=2.0 * side**3,
        device_bytes=device_bytes,
        rest=rest,
    )


def product_sizes(case: cases.Case) -> tuple[int, ...]:
    """Sides of the square matrices whose products are tried."""
    if case.size == "tiny":
        return (64,)
    return (1024, 2048) if case.platform == "cpu" else (4096, 8192)
