"""The training loop.

Input: a state and what `Loop` names. Output: checkpoints, metrics and the last state. A
run that is stopped at any step and started again ends exactly as one that was not: it
depends only on the state and on the batch of each step.
"""

import dataclasses
import functools
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from mtl_jax.core import config as configs
from mtl_jax.core import errors, records
from mtl_jax.models import multitask
from mtl_jax.train import checkpoint, distributed, later, module_rms, parallel, step
from mtl_jax.train import state as states

# This process's images [b, H, W, C] to outputs [B, ...] by task, of all processes; see
# `parallel.Backend.by_slice`.
Predict = Callable[[np.ndarray], Mapping[str, Any]]
# The validation losses by task to values to log, among them SCORE.
Finish = Callable[[Mapping[str, float]], Mapping[str, float]]
# Predicts with the network; what it returns is called in a thread, and waits until the
# predictions are scored.
Score = Callable[[Predict], Callable[[], Finish]]
# The logged value that picks the best checkpoint; lower is better.
SCORE = "validation/score"
# The phase, the steps, the time left, and what `_brief` says.
PROGRESS = (
    "{desc}: {percentage:3.0f}% |{bar:20}| step {n_fmt} of {total_fmt}, "
    "{remaining} left{postfix}"
)


@dataclasses.dataclass(frozen=True)
class Loop:
    """What training needs besides its state."""

    step: step.Step
    backend: parallel.Backend
    schedule: configs.Schedule
    batches_from: Callable[[int], Iterator[Any]]  # training batches from a step on
    put_batch: Callable[[Any], Any]  # one of them, on the devices
    put_batches: Callable[[Any], Any]  # those of several steps [K, b, ...]
    validation: Callable[[], Iterable[records.Batch]]
    checkpoints: checkpoint.Checkpoints
    run: dict[str, Any]  # stored in every checkpoint besides the state
    initial_rms: Mapping[str, float]  # of each module at step 0; {}: not known
    score: Score
    picture: Callable[[records.Batch, dict[str, np.ndarray]], np.ndarray]
    stop: Callable[[], bool]  # asked after every step; True: save and return


def train(loop: Loop, state: states.TrainState, writer: Any) -> states.TrainState:
    """Train host `state` to the schedule's last step, or until `loop.stop()`.

    Returns the state on the host. Logging, validation and checkpoints happen at
    multiples of their intervals, counted from step 0, so a restart does not shift them.
    What a step leaves to be written is written at a later log line, and before the next
    validation or checkpoint, so that the device always has steps to make.
    """
    schedule, first = loop.schedule, int(state.step)
    update = Update(loop)
    copy = loop.backend.replicated(_copies)
    measure = AverageStatistics(loop)
    batches = loop.batches_from(first)
    progress = tqdm(
        total=schedule.steps,
        initial=first,
        desc="compiling",
        bar_format=PROGRESS,
        dynamic_ncols=True,
        disable=not distributed.shows_progress(),
    )
    with progress, Outcomes(loop, state, writer, progress) as outcomes:
        state = loop.backend.put_state(state)
        ahead = later.Ahead()
        number = first
        while number < schedule.steps:
            count = schedule.next_call(number)
            number += count
            last = number == schedule.steps
            validates = number % schedule.validate_every == 0 or last
            before = copy(state.params) if validates else None
            call = [next(batches) for _ in range(count)]
            state = update(state, call)
            if number == first + count:  # this call has compiled the step
                progress.set_description_str("training")
                progress.unpause()
            ahead.step(functools.partial(copy, state.step))
            outcomes.count(call)
            stopping = not last and loop.stop()
            saves = number % schedule.checkpoint_every == 0 or last or stopping
            draws = number % schedule.images_every == 0 or last
            logs = number % schedule.log_every == 0 or last
            if logs or validates or saves:
                outcomes.catch_up(wait=validates or saves)
            if validates or saves or draws:
                state = measure(state, number)
            if logs:
                outcomes.log(state, number)
            if draws:
                outcomes.draw(state, number)
            if validates:
                outcomes.validate(before, state, number)
            if saves or validates:
                outcomes.save(state, number, only_if_best=not saves)
            progress.update(count)
            if stopping:
                break
        outcomes.catch_up(wait=True)
    loop.checkpoints.wait()
    return loop.backend.host(state)


class Update:
    """Makes the steps of a call: one, or several in a program of their own."""

    def __init__(self, loop: Loop):
        self._loop, backend = loop, loop.backend
        self._one = backend.update(loop.step.train)
        if loop.schedule.steps_per_call > 1:
            self._several = backend.stacked().update(loop.step.train_several)

    def __call__(
        self, state: states.TrainState, batches: Sequence[Any]
    ) -> states.TrainState:
        """`state` after an update for each of the host's `batches`."""
        if len(batches) == 1:
            return self._one(state, self._loop.put_batch(batches[0]))
        stacked = jax.tree.map(lambda *arrays: np.stack(arrays), *batches)
        return self._several(state, self._loop.put_batches(stacked))


def _copies(tree: Any) -> Any:
    """Arrays that last when the next update overwrites those of `tree`."""
    return jax.tree.map(jnp.copy, tree)


class Outcomes:
    """What is logged, drawn, validated and saved of the steps.

    Each method starts what its name says, and returns. The next `catch_up` checks and
    writes it, in the order of the calls; a checkpoint is then checked and written by a
    thread (`checkpoint.Checkpoints`).
    """

    def __init__(
        self, loop: Loop, state: states.TrainState, writer: Any, progress: tqdm
    ):
        self._loop, self._writer, self._progress = loop, writer, progress
        self._later = later.Later()
        self.catch_up = self._later.catch_up
        self._copy = loop.backend.replicated(_copies)
        self._validation = Validation(loop)
        self._watch = module_rms.Watch(loop.initial_rms or module_rms.of(state.params))
        self._best = loop.checkpoints.best_score()
        self._score: float | None = None  # of a validation that `save` follows
        # Images since the last log line or validation, and when that ended.
        self._images, self._since = 0, time.perf_counter()

    def __enter__(self) -> "Outcomes":
        return self

    def __exit__(self, *_: object) -> None:
        self._later.close()

    def count(self, batches: Sequence[Mapping[str, Any]]) -> None:
        """Count the images of a call, for their rate."""
        images = sum(len(batch["mask"]) for batch in batches)
        self._images += images * distributed.count()

    def log(self, state: states.TrainState, number: int) -> None:
        """Means over the open log window, and the bottleneck's gammas, if any."""
        values = self._copy((state.window, multitask.gammas(state.params)))
        images, self._images = self._images, 0

        def read() -> tuple[Any, float]:
            return self._loop.backend.host(values), time.perf_counter()

        def write(result: tuple[Any, float]) -> None:
            (window, gammas), ended = result
            steps = (number - 1) % self._loop.schedule.log_every + 1
            row: dict[str, Any] = {"epoch": self._epoch(number)}
            row |= {name: float(value) / steps for name, value in window.items()}
            self._check(number, row)
            row |= {f"gamma/{task}": float(value) for task, value in gammas.items()}
            seconds, self._since = ended - self._since, ended
            row |= {"images_per_second": images / seconds, "seconds": seconds}
            self._writer.write_scalars(number, row)
            self._progress.set_postfix_str(_brief(row), refresh=False)

        self._later.add(read, write)

    def draw(self, state: states.TrainState, number: int) -> None:
        """A picture of slices of the validation split."""

        def write(image: np.ndarray) -> None:
            self._writer.write_images(number, {"slices": image})

        self._later.add(self._validation.picture(state), write)

    def validate(self, before: Any, state: states.TrainState, number: int) -> None:
        """Losses, score, RMS of the modules and of the step from params `before`."""
        after, host = self._copy(state.params), self._loop.backend.host
        read = self._validation(state)
        self._images, ended = 0, time.perf_counter()

        def write(result: Validated) -> None:
            self._check(number, result.row)
            row = {"epoch": self._epoch(number)} | result.row
            row |= result.finish(result.by_task)
            self._writer.write_scalars(number, row)
            self._score, self._since = row[SCORE], ended

        def read_rms() -> dict[str, float]:
            return module_rms.row(
                *(module_rms.kernels(host(p)) for p in (before, after))
            )

        def write_rms(row: dict[str, float]) -> None:
            self._watch.look(row)
            self._check(number, row)
            self._writer.write_scalars(number, {"epoch": self._epoch(number)} | row)

        self._later.add(read, write)
        self._later.add(read_rms, write_rms)

    def save(
        self, state: states.TrainState, number: int, *, only_if_best: bool
    ) -> None:
        """A checkpoint, which does not count unless all its numbers are finite."""
        kept = self._copy(state)

        def host() -> states.TrainState:
            found = self._loop.backend.host(kept)
            check_finite(self._loop, number, _numbers(found))
            return found

        def write(_: None) -> None:
            score, self._score = self._score, None
            if only_if_best and (score is None or score >= self._best):
                return
            self._writer.flush()
            self._loop.checkpoints.save(number, host, self._loop.run, score)
            self._best = self._best if score is None else min(self._best, score)

        self._later.add(lambda: None, write)

    def _check(self, number: int, row: Mapping[str, Any]) -> None:
        """`check_finite`, after that of the checkpoint that is being written."""
        if _broken(row):
            self._loop.checkpoints.wait()
        check_finite(self._loop, number, row)

    def _epoch(self, number: int) -> int:
        return (number - 1) // self._loop.schedule.epoch_steps


def check_finite(loop: Loop, number: int, values: Mapping[str, Any]) -> None:
    """Check that all values are finite, so that no checkpoint holds another.

    A value that is not finite at step `number` appeared after the previous log line.

    Raises:
        DivergedError: names the values and the steps.
    """
    broken = _broken(values)
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


def _broken(values: Mapping[str, Any]) -> list[str]:
    return [name for name, value in values.items() if not np.isfinite(value).all()]


def _numbers(state: states.TrainState) -> dict[str, np.ndarray]:
    """The arrays of a host state by name, without whole numbers."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    named = {jax.tree_util.keystr(p, simple=True, separator="/"): x for p, x in leaves}
    return {
        name: leaf
        for name, leaf in named.items()
        if jnp.issubdtype(leaf.dtype, jnp.floating)
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
            measured = self._updated(weights, self._loop.put_batch(batch))
            weights = weights | {"batch_stats": measured}
        return dataclasses.replace(state, average=weights)


class Validated(NamedTuple):
    """The losses of a validation, and what gives its score."""

    row: dict[str, float]  # to be logged
    by_task: dict[str, float]
    finish: Finish


class Validation:
    """Losses over the whole validation split, the score, and pictures of slices."""

    def __init__(self, loop: Loop):
        self._loop = loop
        self._sums = loop.backend.sums(loop.step.evaluate)
        self._add = loop.backend.replicated(functools.partial(jax.tree.map, jnp.add))
        self._outputs = loop.backend.by_slice(loop.step.predict)
        self._image: np.ndarray | None = None  # this process's rows of `_pictured`
        self._pictured: Any = None

    def __call__(self, state: states.TrainState) -> Callable[[], Validated]:
        """Start it; a function that waits for its end."""
        total: Any = None
        batches = tqdm(
            self._loop.validation(),
            desc="validation",
            leave=False,
            disable=not distributed.shows_progress(),
        )
        for batch in batches:
            sums = self._sums(state, self._loop.backend.put_batch(batch))
            total = sums if total is None else self._add(total, sums)
        scored = self._loop.score(functools.partial(self._outputs, state))
        return lambda: self._result(self._loop.backend.host(total), scored())

    def _result(self, sums: Any, finish: Finish) -> Validated:
        by_task, parts = self._loop.step.objective.losses(sums)
        row = {
            f"validation/loss/{name}": float(loss)
            for losses in (by_task, *parts.values())
            for name, loss in losses.items()
        }
        losses = {task: float(loss) for task, loss in by_task.items()}
        return Validated(row, losses, finish)

    def picture(self, state: states.TrainState) -> Callable[[], np.ndarray]:
        """Start one of the batch with most structures: CT, contours and dose."""
        if self._image is None:
            batches = itertools.islice(self._loop.validation(), 16)
            best = max(batches, key=_structures_shown)
            self._image, self._pictured = best["image"], distributed.gather(dict(best))
        outputs = self._outputs(state, self._image)
        return lambda: self._loop.picture(
            self._pictured,
            {task: np.asarray(output) for task, output in outputs.items()},
        )


def _structures_shown(batch: records.Batch) -> tuple[int, int]:
    """How many there are in the rows of all processes; then the earliest slice."""
    columns = {"shown": batch["contours"].any(axis=(1, 2)), "slice": batch["slice"]}
    whole = distributed.gather(columns)
    return int(whole["shown"].sum()), -int(whole["slice"][0])


def _brief(row: dict[str, Any]) -> str:
    return f"loss {row['loss/total']:.4g}, {row['images_per_second']:.0f} images/s"
