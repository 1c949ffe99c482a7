"""Checkpoints through Orbax: complete, verified, and sufficient for prediction.

Input: a training state on the host, and a description of the run. Output: files, and
the state read back. A checkpoint holds the state, and a JSON item with the
configuration, statistics, structure names and a digest of the arrays. If another
network predicts the run's input contours, it holds that network too. Orbax notices no
flipped bit, and falls back to no older checkpoint when the newest is damaged: `restore`
does both.
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from mtl_jax.core import errors, files
from mtl_jax.train import later
from mtl_jax.train import state as states

logger = logging.getLogger(__name__)

# The file format's name for the network that predicts a run's input contours.
CONTOUR_NETWORK = "drawing"
# The network's variables; the rest of a state is needed for training only.
WEIGHTS = ("params", "batch_stats")
# What a score measures unless its checkpoint says otherwise: those of older versions.
LOSSES = "sum of the losses"
# Time after an error in which the reading of other arrays ends too.
PENDING_S = 0.5


def digest(tree: Any) -> str:
    """SHA-256 over the path, type, shape and bytes of every array of `tree`."""
    total = hashlib.sha256()
    for path, leaf in sorted(
        (jax.tree_util.keystr(path, simple=True, separator="/"), leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ):
        array = np.ascontiguousarray(leaf)
        total.update(f"{path} {array.dtype} {array.shape}\n".encode())
        total.update(array.data)
    return total.hexdigest()


class Checkpoints:
    """The checkpoints of one run: the newest two and the best."""

    def __init__(
        self, folder: Path, contour_weights: Any = None, measure: str = LOSSES
    ):
        """Open `folder`, or make it.

        Args:
            folder: of all checkpoints of the run.
            contour_weights: of the network that predicts the run's input contours, or
                None. Each checkpoint stores them as item CONTOUR_NETWORK, which its
                JSON item describes.
            measure: what the scores of this run are. Scores of another measure, which
                a run may have left that is continued, are not compared with them.
        """
        self.folder, self._contour_weights = Path(folder), contour_weights
        self._measure = measure
        self.folder.mkdir(parents=True, exist_ok=True)
        self._saving = later.Aside()
        self._scores = {each.step: each for each in _scores(folder, steps(folder))}
        policies = checkpoint_managers.preservation_policy
        self._manager = ocp.CheckpointManager(
            self.folder.absolute(),
            options=ocp.CheckpointManagerOptions(
                create=False,
                multiprocessing_options=_single_process(),
                save_decision_policy=checkpoint_managers.FixedIntervalPolicy(1),
                preservation_policy=policies.AnyPreservationPolicy(
                    [policies.LatestN(2), _KeepBest(self._scores, measure)]
                ),
            ),
            item_names=("state", "run", CONTOUR_NETWORK),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._saving.close()
        finally:
            with self._writing():
                self._manager.close()

    @property
    def steps(self) -> list[int]:
        """Steps that have a checkpoint, oldest first."""
        return sorted(self._manager.all_steps())

    def best_score(self) -> float:
        """The lowest score of the checkpoints, by the measure; infinite without one."""
        found = list(_scores(self.folder, self.steps))
        if others := {each.measure for each in found} - {self._measure}:
            logger.warning(
                "%s has scores of another measure (%s); they are not compared with "
                "those of this run (%s)",
                *(self.folder, "; ".join(sorted(others)), self._measure),
            )
        ours = [each.value for each in found if each.measure == self._measure]
        return min(ours, default=float("inf"))

    def save(
        self, step: int, state: Any, run: Mapping[str, Any], score: float | None
    ) -> None:
        """Save in the background, after the previous checkpoint.

        `state` is on the host, or a function that a thread calls to read it; if that
        raises an error, nothing is saved. `score` is the validation's, if any.

        Raises:
            MtlError: the previous checkpoint could not be read or written.
        """
        read = state if callable(state) else lambda: state
        self._saving.start(lambda: self._save(step, read, run, score))

    def _save(
        self,
        step: int,
        read: Callable[[], Any],
        run: Mapping[str, Any],
        score: float | None,
    ) -> None:
        """Read, describe and write a checkpoint; return when it is on disk."""
        state = read()
        item = dict(run) | {"digest": digest(state), "step": step, "score": score}
        self._scores.pop(step, None)
        if score is not None:
            item["measure"] = self._measure
            self._scores[step] = _Score(step, score, self._measure)
        item["weights_digest"] = digest(states.weights(state))
        item["averaged"] = bool(state.average)
        item["description_digest"] = files.json_digest(item)
        items = {"state": ocp.args.PyTreeSave(state), "run": ocp.args.JsonSave(item)}
        if self._contour_weights is not None:
            items[CONTOUR_NETWORK] = ocp.args.PyTreeSave(self._contour_weights)
        with self._writing():
            self._manager.save(step, args=ocp.args.Composite(**items))
            self._manager.wait_until_finished()

    def wait(self) -> None:
        """Return when the last checkpoint is completely on disk.

        Raises:
            MtlError: it could not be read or written.
        """
        self._saving.wait()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn an error of writing, for example a full disk, into a clear message.

        Raises:
            OutputError: this checkpoint, or the previous one, could not be written.
        """
        try:
            yield
        except Exception as error:  # TensorStore raises ValueErrors
            if not isinstance(error, OSError) and "os_error_code" not in str(error):
                raise
            complete = ", ".join(map(str, steps(self.folder))) or "none"
            raise errors.OutputError(
                f"a checkpoint cannot be written to {self.folder} "
                f"({str(error).splitlines()[0][:300]}); complete checkpoints: "
                f"{complete}. Free disk space, or correct the error; then run the "
                "same command again to continue"
            ) from error

    def restore(self, like: Any) -> tuple[Any, dict[str, Any]] | None:
        """The newest undamaged state and its JSON item; None if there is none.

        Damaged checkpoints are named in a warning and moved to `damaged/` beside the
        folder, so that their steps can be saved again. Files of interrupted saves are
        removed: no other process may use the folder.
        """
        for leftover in self.folder.glob("*.orbax-checkpoint-tmp*"):
            shutil.rmtree(leftover, ignore_errors=True)
        for step in reversed(self.steps):
            try:
                return load(self.folder / str(step), like)
            except errors.CheckpointError as error:
                moved_to = self._set_aside(step)
                logger.warning(
                    "%s; moved to %s, trying the previous one", error, moved_to
                )
        return None

    def _set_aside(self, step: int) -> Path:
        aside = self.folder.parent / "damaged"
        aside.mkdir(exist_ok=True)
        target = aside / str(step)
        shutil.rmtree(target, ignore_errors=True)
        shutil.move(self.folder / str(step), target)
        self._manager.reload()
        return target


class NoCheckpoints(Checkpoints):
    """The checkpoints of a process that is not the first: it saves and reads none.

    It reads the states as the first process does, so that all notice the same errors.
    """

    def __init__(self) -> None:
        """There is no folder."""
        self._saving = later.Aside()

    def __exit__(self, *_: object) -> None:
        """Wait for the last state to be read."""
        self._saving.close()

    @property
    def steps(self) -> list[int]:
        """None."""
        return []

    def best_score(self) -> float:
        """Infinite: nothing was validated."""
        return float("inf")

    def _save(self, step: int, read: Callable[[], Any], *_: Any, **__: Any) -> None:
        """Read the state: the first process saves it."""
        read()

    def restore(self, like: Any) -> None:
        """None: the first process sends its state to the others."""


def _single_process() -> ocp.options.MultiprocessingOptions:
    """Options with which Orbax waits for no other process: only the first uses it."""
    process = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=process, active_processes={process}
    )


def load(folder: Path, like: Any) -> tuple[Any, dict[str, Any]]:
    """The state saved in `folder` with the structure and types of `like`, verified.

    Raises:
        CheckpointError: the checkpoint is missing, unreadable, of another network, or
            its contents differ from their digest.
    """
    run = read_run(folder)
    return _verified(folder / "state", like, run["digest"]), run


def load_weights(folder: Path, like: Any) -> Any:
    """The variables of the network in `folder`, verified, with the shapes of `like`.

    They are the averaged ones, if the weights were averaged (`states.weights`).
    The optimiser's moments are not read, unless an older version wrote the checkpoint
    without a digest of the weights alone.

    Raises:
        CheckpointError: as `load`.
    """
    run = read_run(folder)
    if "weights_digest" in run:
        expected = run["weights_digest"]
        within = "average" if run.get("averaged") else None
        return _verified(folder / "state", like, expected, partly=True, within=within)
    state = _verified(folder / "state", None, run["digest"])
    return with_shapes(folder, {name: state[name] for name in WEIGHTS}, like)


def stored_weights(folder: Path) -> Any:
    """The variables of the network in `folder`, verified, whatever their shapes are.

    Raises:
        CheckpointError: as `load`.
    """
    return load_weights(folder, _weight_shapes(folder))


def _weight_shapes(folder: Path) -> dict[str, Any]:
    """Shapes and types of the stored variables."""
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=_single_process())
    try:
        stored = handler.metadata((folder / "state").absolute()).tree
        return {
            name: jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), stored[name]
            )
            for name in WEIGHTS
        }
    except Exception as error:  # as when it reads arrays
        raise _unreadable(folder, error) from error


def load_contour_weights(folder: Path, like: Any) -> Any:
    """As `load_weights`, for the network that predicts the input contours."""
    expected = read_run(folder)[CONTOUR_NETWORK]["weights_digest"]
    return _verified(folder / CONTOUR_NETWORK, like, expected)


def _verified(
    item: Path,
    like: Any,
    expected: str,
    *,
    partly: bool = False,
    within: str | None = None,
) -> Any:
    """The arrays in `item` if they have the digest `expected`.

    They have the structure of `like`; with None, the stored one. `partly` reads only
    the arrays that `like` has, `within` the part of that name.
    """
    folder = item.parent
    wanted = {within: like} if within else like
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, wanted)
    as_arrays = ocp.RestoreArgs(restore_type=np.ndarray)
    options: dict[str, Any] = {}
    if like is not None:
        restore_args = jax.tree.map(lambda _: as_arrays, abstract)
        options = {"item": abstract, "restore_args": restore_args}
    processes = _single_process()
    try:
        handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=processes)
        with (
            _without_tracebacks(),
            ocp.Checkpointer(handler, multiprocessing_options=processes) as reader,
        ):
            restored = reader.restore(
                item.absolute(),
                args=ocp.args.PyTreeRestore(partial_restore=partly, **options),
            )
    except (
        Exception
    ) as error:  # Orbax and TensorStore raise many types for damaged files
        raise _unreadable(folder, error) from error
    arrays = jax.tree.map(np.asarray, restored[within] if within else restored)
    if digest(arrays) != expected:
        raise errors.CheckpointError(
            f"checkpoint {folder.name} in {folder.parent} is damaged: its contents "
            "differ from their digest"
        )
    return arrays if like is None else with_shapes(folder, arrays, like)


def _unreadable(folder: Path, error: Exception) -> errors.CheckpointError:
    return errors.CheckpointError(
        f"checkpoint {folder.name} in {folder.parent} cannot be read "
        f"({type(error).__name__}): it is damaged, or of another network"
    )


@contextlib.contextmanager
def _without_tracebacks() -> Iterator[None]:
    """Keep TensorStore from printing hundreds of tracebacks after an error.

    Orbax gives up at the first array that cannot be read, and closes its event loop;
    the reading of each of the others then ends with "Event loop is closed".
    """
    previous_hook = sys.unraisablehook

    def report(unraisable: "sys.UnraisableHookArgs") -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            previous_hook(unraisable)

    sys.unraisablehook = report
    try:
        yield
    except Exception:
        time.sleep(PENDING_S)
        raise
    finally:
        sys.unraisablehook = previous_hook


def with_shapes(folder: Path, arrays: Any, like: Any) -> Any:
    """`arrays`; a CheckpointError unless they have the names and shapes of `like`."""

    def shapes(tree: Any) -> dict[str, tuple[int, ...]]:
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        return {jax.tree_util.keystr(path): np.shape(leaf) for path, leaf in leaves}

    if shapes(arrays) != shapes(like):
        raise errors.CheckpointError(
            f"checkpoint {folder.name} in {folder.parent} is of another network: its "
            "arrays have other names or shapes"
        )
    return arrays


def steps(folder: Path) -> list[int]:
    """Steps that have a checkpoint in `folder`, oldest first; nothing is changed."""
    paths = folder.glob("[0-9]*") if folder.is_dir() else ()
    return sorted(int(path.name) for path in paths if path.name.isdigit())


def evaluated_step(folder: Path, which: str) -> int:
    """The "newest" or "best" step of the checkpoints in `folder` (evaluate.checkpoint).

    The best has the lowest score among those of the newest score's measure. If none was
    validated, it is the newest.

    Raises:
        CheckpointError: there is none.
    """
    saved = steps(folder)
    if not saved:
        raise errors.CheckpointError(f"{folder} holds no checkpoint: train first")
    found = list(_scores(folder, saved)) if which == "best" else []
    return _best(found, found[-1].measure).step if found else saved[-1]


class _Score(NamedTuple):
    step: int
    value: float  # lower is better
    measure: str  # what it is


def _best(scores: Sequence[_Score], measure: str) -> _Score:
    """The lowest of `scores` by `measure`; if none is, by the last one's measure."""
    alike = [each for each in scores if each.measure == measure]
    alike = alike or [each for each in scores if each.measure == scores[-1].measure]
    return min(alike, key=lambda each: each.value)


@dataclasses.dataclass(frozen=True)
class _KeepBest:
    """Orbax's PreservationPolicy that keeps the best checkpoint.

    Orbax's own policy forgets the scores when the run is started again.
    """

    scores: Mapping[int, _Score]  # by step
    measure: str

    def should_preserve(
        self, checkpoints: Sequence[Any], *, context: Any
    ) -> Sequence[bool]:
        """For each of `checkpoints`, oldest first, whether it is the best."""
        del context
        steps = [checkpoint.step for checkpoint in checkpoints]
        scores = [self.scores[step] for step in steps if step in self.scores]
        best = _best(scores, self.measure).step if scores else None
        return [step == best for step in steps]


def _scores(folder: Path, saved: Sequence[int]) -> Iterator[_Score]:
    """Of the checkpoints `saved` that were validated and can be read, in order."""
    for step in saved:
        with contextlib.suppress(errors.CheckpointError):  # `restore` moves them away
            run = read_run(folder / str(step))
            if run.get("score") is not None:
                yield _Score(step, run["score"], run.get("measure", LOSSES))


def read_run(folder: Path) -> dict[str, Any]:
    """The JSON item of the checkpoint in `folder`."""
    try:
        run = json.loads((Path(folder) / "run" / "metadata").read_text())
        run["digest"]
        # Checkpoints of earlier versions have none.
        if run.pop("description_digest", None) not in (None, files.json_digest(run)):
            raise ValueError("it differs from its digest")
        _check_values(run)
    # RecursionError: brackets in brackets.
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise errors.CheckpointError(
            f"checkpoint {folder} is missing or damaged: its description cannot be read"
        ) from error
    return run


def _check_values(run: Mapping[str, Any]) -> None:
    """Raise TypeError if a value that is compared is of another type."""
    for key, types in (
        ("step", int),
        ("digest", str),
        ("score", float | int | None),
        ("measure", str | None),
        ("config", dict | None),
    ):
        if not isinstance(run.get(key), types) and key in run:
            raise TypeError(f"{key} is of another type")
