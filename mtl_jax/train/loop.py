"""The training loop.

Input: a state and what `Loop` names. Output: checkpoints, metrics and the last state. A
run that is stopped at any step and started again ends exactly as one that was not: it
depends only on the state and on the batch of each step.
"""

import dataclasses
import functools
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from mtl_jax.core import config as configs
from mtl_jax.core import errors, records
from mtl_jax.models import multitask
from mtl_jax.train import checkpoint, distributed, module_rms, parallel, step
from mtl_jax.train import state as states

logger = logging.getLogger(__name__)

# This process's images [b, H, W, C] to outputs [B, ...] by task, of all processes.
Predict = Callable[[np.ndarray], dict[str, np.ndarray]]
# The logged value that picks the best checkpoint; lower is better.
SCORE = "validation/score"


@dataclasses.dataclass(frozen=True)
class Loop:
    """What training needs besides its state."""

    step: step.Step
    backend: parallel.Backend
    schedule: configs.Schedule
    batches_from: Callable[
        [int], Iterator[records.Batch]
    ]  # training batches from a step on
    validation: Callable[[], Iterable[records.Batch]]
    checkpoints: checkpoint.Checkpoints
    run: dict[str, Any]  # stored in every checkpoint besides the state
    initial_rms: Mapping[str, float]  # of each module at step 0; {}: not known
    # `predict` and the validation losses by task to values to log, among them SCORE.
    score: Callable[[Predict, Mapping[str, float]], Mapping[str, float]]
    picture: Callable[[records.Batch, dict[str, np.ndarray]], np.ndarray]
    stop: Callable[[], bool]  # asked after every step; True: save and return


def train(loop: Loop, state: states.TrainState, writer: Any) -> states.TrainState:
    """Train host `state` to the schedule's last step, or until `loop.stop()`.

    Returns the state on the host. Logging, validation and checkpoints happen at
    multiples of their intervals, counted from step 0, so a restart does not shift them.
    """
    schedule, first = loop.schedule, int(state.step)
    update = loop.backend.update(loop.step.train)
    measure = AverageStatistics(loop)
    validate = Validation(loop)
    watch = module_rms.Watch(loop.initial_rms or module_rms.of(state.params))
    best = loop.checkpoints.best_score()
    batches = loop.batches_from(first)
    state = loop.backend.put_state(state)
    progress = tqdm(
        total=schedule.steps,
        initial=first,
        unit="step",
        dynamic_ncols=True,
        disable=not distributed.shows_progress(),
    )
    with progress:
        clock = Clock()
        for number in range(first + 1, schedule.steps + 1):
            batch = next(batches)
            last = number == schedule.steps
            validates = number % schedule.validate_every == 0 or last
            before = kernels(loop, state) if validates else {}
            state = update(state, loop.backend.put_batch(batch))
            clock.images += len(batch["mask"]) * distributed.count()
            stopping = not last and loop.stop()
            saves = number % schedule.checkpoint_every == 0 or last or stopping
            draws = number % schedule.images_every == 0 or last
            if validates or saves or draws:
                state = measure(state, number)
            score = None
            if number % schedule.log_every == 0 or last:
                row = log_row(loop, state, number) | clock.read()
                writer.write_scalars(number, row)
                progress.set_postfix_str(_brief(row), refresh=False)
            if draws:
                writer.write_images(number, {"slices": validate.picture(state)})
            if validates:
                score = validate(state, number, writer)
                row = watch.row(before, kernels(loop, state))
                check_finite(loop, number, row)
                writer.write_scalars(number, {"epoch": _epoch(loop, number)} | row)
                clock = Clock()
            improved = score is not None and score < best
            if saves or improved:
                writer.flush()
                host = loop.backend.host(state)
                check_finite(loop, number, _numbers(host))
                loop.checkpoints.save(number, host, loop.run, score)
                best = best if score is None else min(best, score)
            progress.update()
            if stopping:
                break
    loop.checkpoints.wait()
    return loop.backend.host(state)


class Clock:
    """Images a second since the last reading."""

    def __init__(self) -> None:
        self.images, self._since = 0, time.perf_counter()

    def read(self) -> dict[str, float]:
        seconds = time.perf_counter() - self._since
        rate = self.images / seconds
        self.images, self._since = 0, time.perf_counter()
        return {"images_per_second": rate, "seconds": seconds}


def log_row(loop: Loop, state: states.TrainState, number: int) -> dict[str, Any]:
    """Means over the open log window, and the bottleneck's gammas, if any."""
    window, gammas = loop.backend.host((state.window, multitask.gammas(state.params)))
    steps = (number - 1) % loop.schedule.log_every + 1
    row: dict[str, Any] = {"epoch": _epoch(loop, number)}
    row |= {name: float(value) / steps for name, value in window.items()}
    check_finite(loop, number, row)
    return row | {f"gamma/{task}": float(value) for task, value in gammas.items()}


def kernels(loop: Loop, state: states.TrainState) -> module_rms.Kernels:
    """Copies of the network's kernels on the host, by module."""
    return module_rms.kernels(loop.backend.host(state.params))


def check_finite(loop: Loop, number: int, values: Mapping[str, Any]) -> None:
    """Check that all values are finite, so that no checkpoint holds another.

    A value that is not finite at step `number` appeared after the previous log line.

    Raises:
        DivergedError: names the values and the steps.
    """
    broken = [name for name, value in values.items() if not np.isfinite(value).all()]
    if not broken:
        return
    first = (number - 1) // loop.schedule.log_every * loop.schedule.log_every + 1
    saved = loop.checkpoints.steps
    raise errors.DivergedError(
        f"{', '.join(broken[:5])}{' and more' if broken[5:] else ''} became NaN or "
        f"infinite between step {first} and step {number}, which was not saved; "
        + (f"step {saved[-1]} is the last saved. " if saved else "")
        + "The same command would fail at the same step: lower "
        "optimizer.learning_rate or set model.dtype to float32, in another --workdir"
    )


def _numbers(state: states.TrainState) -> dict[str, np.ndarray]:
    """The arrays of a host state by name, without whole numbers."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    named = {jax.tree_util.keystr(p, simple=True, separator="/"): x for p, x in leaves}
    return {
        name: leaf
        for name, leaf in named.items()
        if jax.numpy.issubdtype(leaf.dtype, jax.numpy.floating)
    }


class AverageStatistics:
    """Measures the batch-norm statistics of the averaged weights, if there are any.

    They are not the running statistics of the weights themselves: those follow another
    network. They depend on the state and its step alone, so that extra measurements
    change nothing.
    """

    # What the statistics began with then counts 0.9^50, less than 1 %.
    BATCHES = 50

    def __init__(self, loop: Loop):
        self._loop = loop
        self._updated = loop.backend.sums(loop.step.batch_statistics)

    def __call__(self, state: states.TrainState, number: int) -> states.TrainState:
        """`state` with the statistics over the training batches after step `number`."""
        if not state.average:
            return state
        weights = state.average | {"batch_stats": state.batch_stats}
        batches = self._loop.batches_from(number)
        for batch in itertools.islice(batches, self.BATCHES):
            measured = self._updated(weights, self._loop.backend.put_batch(batch))
            weights = weights | {"batch_stats": measured}
        return dataclasses.replace(state, average=weights)


class Validation:
    """Losses over the whole validation split, the score, and pictures of slices."""

    def __init__(self, loop: Loop):
        self._loop = loop
        self._sums = loop.backend.sums(loop.step.evaluate)
        self._outputs = loop.backend.by_slice(loop.step.predict)
        self._image: np.ndarray | None = None  # this process's rows of `_pictured`
        self._pictured: Any = None

    def __call__(self, state: states.TrainState, number: int, writer: Any) -> float:
        """Write the losses and the score; return the score, which picks the best."""
        total: Any = None
        batches = tqdm(
            self._loop.validation(),
            desc="validation",
            leave=False,
            disable=not distributed.shows_progress(),
        )
        for batch in batches:
            sums = self._loop.backend.host(
                self._sums(state, self._loop.backend.put_batch(batch))
            )
            total = sums if total is None else jax.tree.map(np.add, total, sums)
        by_task, parts = self._loop.step.objective.losses(total)
        named = [by_task, *parts.values()]
        row = {
            f"validation/loss/{name}": float(loss)
            for losses in named
            for name, loss in losses.items()
        }
        check_finite(self._loop, number, row)
        predict = functools.partial(self._outputs, state)
        losses = {task: float(loss) for task, loss in by_task.items()}
        row |= self._loop.score(predict, losses)
        writer.write_scalars(number, {"epoch": _epoch(self._loop, number)} | row)
        return row[SCORE]

    def picture(self, state: states.TrainState) -> np.ndarray:
        """CT, contours and dose of the batch that shows the most structures."""
        if self._image is None:
            batches = itertools.islice(self._loop.validation(), 16)
            best = max(batches, key=_structures_shown)
            self._image, self._pictured = best["image"], distributed.gather(dict(best))
        return self._loop.picture(self._pictured, self._outputs(state, self._image))


def _structures_shown(batch: records.Batch) -> tuple[int, int]:
    """How many there are in the rows of all processes; then the earliest slice."""
    columns = {"shown": batch["contours"].any(axis=(1, 2)), "slice": batch["slice"]}
    whole = distributed.gather(columns)
    return int(whole["shown"].sum()), -int(whole["slice"][0])


def _epoch(loop: Loop, number: int) -> int:
    return (number - 1) // loop.schedule.epoch_steps


def _brief(row: dict[str, Any]) -> str:
    losses = [
        f"{k.removeprefix('loss/')} {v:.4f}" for k, v in row.items() if "loss/" in k
    ]
    return f"{row['images_per_second']:.1f} images/s, {', '.join(losses)}"
