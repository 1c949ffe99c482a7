"""Checkpoints through Orbax: whole, verified, and enough on their own.

Each holds the training state and a JSON item with the run's configuration, statistics
and structure names, and a digest of every array; and, of a run that takes in another
network's contours, that network. Orbax itself does not notice a flipped bit, nor go
back to an older checkpoint when the newest is damaged: `restore` does.
"""

import contextlib
import hashlib
import json
import logging
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from mtl_jax.core import errors, files
from mtl_jax.train import state as states

logger = logging.getLogger(__name__)

# What a network predicts with; the rest of a state is for training.
WEIGHTS = ("params", "batch_stats")
# After an error, until the reading of other arrays has ended too.
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

    def __init__(self, folder: Path, drawing: Any = None):
        """`drawing`: weights of the network that draws for this run, if there is one.

        Each checkpoint then holds them too; its JSON item describes them as "drawing".
        """
        self.folder, self._drawing = Path(folder), drawing
        policies = checkpoint_managers.preservation_policy
        self.folder.mkdir(parents=True, exist_ok=True)
        self._manager = ocp.CheckpointManager(
            self.folder.absolute(),
            options=ocp.CheckpointManagerOptions(
                create=False,
                multiprocessing_options=_alone(),
                save_decision_policy=checkpoint_managers.FixedIntervalPolicy(1),
                preservation_policy=policies.AnyPreservationPolicy(
                    [
                        policies.LatestN(2),
                        policies.BestN(
                            n=1,
                            get_metric_fn=lambda metrics: -metrics["score"],
                            keep_checkpoints_without_metrics=False,
                        ),
                    ]
                ),
            ),
            item_names=("state", "run", "drawing"),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        with self._writing():
            self._manager.close()

    @property
    def steps(self) -> list[int]:
        """Steps that have a checkpoint, oldest first."""
        return sorted(self._manager.all_steps())

    def best_score(self) -> float:
        """The lowest validation score of the checkpoints; infinite without one."""
        scores = _scores(self.folder, self.steps)
        return min((score for _, score in scores), default=float("inf"))

    def save(
        self, step: int, state: Any, run: Mapping[str, Any], score: float | None
    ) -> None:
        """Save host `state` in the background; `score`: of its validation, if any."""
        item = dict(run) | {"digest": digest(state), "step": step, "score": score}
        item["weights_digest"] = digest(states.weights(state))
        item["description_digest"] = files.json_digest(item)
        items = {"state": ocp.args.PyTreeSave(state), "run": ocp.args.JsonSave(item)}
        if self._drawing is not None:
            items["drawing"] = ocp.args.PyTreeSave(self._drawing)
        with self._writing():
            self._manager.save(
                step,
                args=ocp.args.Composite(**items),
                metrics=None if score is None else {"score": score},
            )

    def wait(self) -> None:
        """Return when the last checkpoint is on disk, whole."""
        with self._writing():
            self._manager.wait_until_finished()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Say clearly that the disk is full, or the like.

        Raises:
            OutputError: this checkpoint, or the one before, could not be written.
        """
        try:
            yield
        except Exception as error:  # TensorStore raises ValueErrors
            if not isinstance(error, OSError) and "os_error_code" not in str(error):
                raise
            whole = ", ".join(map(str, steps(self.folder))) or "none"
            raise errors.OutputError(
                f"a checkpoint cannot be written to {self.folder} "
                f"({str(error).splitlines()[0][:300]}); steps that are saved whole: "
                f"{whole}. Make room, or mend what it says; the same command goes on"
            ) from error

    def restore(self, like: Any) -> tuple[Any, dict[str, Any]] | None:
        """The newest undamaged state and its JSON item; None where there is none.

        Damaged checkpoints are named in a warning and moved to `damaged/` beside the
        folder, so that their steps can be saved again. What killed saves have left is
        removed: no other process may be at work in the folder.
        """
        for left in self.folder.glob("*.orbax-checkpoint-tmp*"):
            shutil.rmtree(left, ignore_errors=True)
        for step in reversed(self.steps):
            try:
                return load(self.folder / str(step), like)
            except errors.CheckpointError as error:
                kept = self._set_aside(step)
                logger.warning(
                    "%s; kept in %s, going back to the one before", error, kept
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
    """Of a process that is not the first: keeps nothing, and knows of none."""

    def __init__(self) -> None:
        """There is no folder."""

    def __exit__(self, *_: object) -> None:
        """There is nothing to close."""

    @property
    def steps(self) -> list[int]:
        """None."""
        return []

    def best_score(self) -> float:
        """Infinite: nothing was validated."""
        return float("inf")

    def save(
        self, step: int, state: Any, run: Mapping[str, Any], score: float | None
    ) -> None:
        """Leave it to the first process."""

    def wait(self) -> None:
        """There is nothing to wait for."""

    def restore(self, like: Any) -> None:
        """None; the first process hands out what it found."""


def _alone() -> ocp.options.MultiprocessingOptions:
    """So that Orbax waits for no other process: the first one alone comes here."""
    here = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=here, active_processes={here}
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
    """What the network in `folder` predicts with, verified, of the shapes of `like`.

    The optimiser's moments are not read, unless the checkpoint is of a version that
    has no digest of the weights alone.

    Raises:
        CheckpointError: as `load`.
    """
    run = read_run(folder)
    if "weights_digest" in run:
        expected = run["weights_digest"]
        return _verified(folder / "state", like, expected, partly=True)
    state = _verified(folder / "state", None, run["digest"])
    return _fitting(folder, {name: state[name] for name in WEIGHTS}, like)


def load_drawing(folder: Path, like: Any) -> Any:
    """The same of the network that draws for the one in `folder`."""
    expected = read_run(folder)["drawing"]["weights_digest"]
    return _verified(folder / "drawing", like, expected)


def _verified(item: Path, like: Any, expected: str, *, partly: bool = False) -> Any:
    """The arrays in `item`, as `like` has them, if they have the digest `expected`.

    None takes them as they are; `partly` only those that `like` has.
    """
    folder = item.parent
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    as_arrays = ocp.RestoreArgs(restore_type=np.ndarray)
    wanted: dict[str, Any] = {}
    if like is not None:
        restore_args = jax.tree.map(lambda _: as_arrays, abstract)
        wanted = {"item": abstract, "restore_args": restore_args}
    try:
        handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=_alone())
        with (
            _told_once(),
            ocp.Checkpointer(handler, multiprocessing_options=_alone()) as checkpointer,
        ):
            found = checkpointer.restore(
                item.absolute(),
                args=ocp.args.PyTreeRestore(partial_restore=partly, **wanted),
            )
    except (
        Exception
    ) as error:  # Orbax and TensorStore raise many types for damaged files
        raise errors.CheckpointError(
            f"checkpoint {folder.name} in {folder.parent} cannot be read "
            f"({type(error).__name__}): it is damaged, or of another network"
        ) from error
    found = jax.tree.map(np.asarray, found)
    if digest(found) != expected:
        raise errors.CheckpointError(
            f"checkpoint {folder.name} in {folder.parent} is damaged: its contents "
            "differ from their digest"
        )
    return found if like is None else _fitting(folder, found, like)


@contextlib.contextmanager
def _told_once() -> Iterator[None]:
    """Keep TensorStore from printing hundreds of tracebacks after an error.

    Orbax gives up at the first array that cannot be read, and closes its event loop;
    the reading of each of the others then ends with "Event loop is closed".
    """
    usual = sys.unraisablehook

    def rest(what: "sys.UnraisableHookArgs") -> None:
        if str(what.exc_value) != "Event loop is closed":
            usual(what)

    sys.unraisablehook = rest
    try:
        yield
    except Exception:
        time.sleep(PENDING_S)
        raise
    finally:
        sys.unraisablehook = usual


def _fitting(folder: Path, found: Any, like: Any) -> Any:
    """`found`; a CheckpointError unless it has the names and shapes of `like`."""

    def shapes(tree: Any) -> dict[str, tuple[int, ...]]:
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        return {jax.tree_util.keystr(path): np.shape(leaf) for path, leaf in leaves}

    if shapes(found) != shapes(like):
        raise errors.CheckpointError(
            f"checkpoint {folder.name} in {folder.parent} is of another network: its "
            "arrays have other names or shapes"
        )
    return found


def steps(folder: Path) -> list[int]:
    """Steps that have a checkpoint in `folder`, oldest first; nothing is changed."""
    found = folder.glob("[0-9]*") if folder.is_dir() else ()
    return sorted(int(path.name) for path in found if path.name.isdigit())


def evaluated_step(folder: Path, which: str) -> int:
    """The "newest" or "best" step of the checkpoints in `folder` (evaluate.checkpoint).

    The newest where none was validated.

    Raises:
        CheckpointError: there is none.
    """
    found = steps(folder)
    if not found:
        raise errors.CheckpointError(f"{folder} holds no checkpoint: train first")
    scores = list(_scores(folder, found)) if which == "best" else []
    return min(scores, key=lambda pair: pair[1])[0] if scores else found[-1]


def _scores(folder: Path, among: Sequence[int]) -> Iterator[tuple[int, float]]:
    """Step and validation score of the checkpoints that have one and can be read."""
    for step in among:
        with contextlib.suppress(errors.CheckpointError):  # `restore` deals with it
            score = read_run(folder / str(step)).get("score")
            if score is not None:
                yield step, score


def read_run(folder: Path) -> dict[str, Any]:
    """The JSON item of the checkpoint in `folder`."""
    try:
        run = json.loads((Path(folder) / "run" / "metadata").read_text())
        run["digest"]
        # Checkpoints of earlier versions have none.
        if run.pop("description_digest", None) not in (None, files.json_digest(run)):
            raise ValueError("it differs from its digest")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise errors.CheckpointError(
            f"checkpoint {folder} is missing or damaged: its description cannot be read"
        ) from error
    return run
