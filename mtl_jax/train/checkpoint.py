"""Checkpoints through Orbax: whole, verified, and enough on their own.

Each holds the training state and a JSON item with the run's configuration, statistics
and structure names, and a digest of every array. Orbax itself does not notice a flipped
bit, nor go back to an older checkpoint when the newest is damaged: `restore` does.
"""

import contextlib
import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from mtl_jax.core import errors

logger = logging.getLogger(__name__)


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

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        policies = checkpoint_managers.preservation_policy
        self._manager = ocp.CheckpointManager(
            self.folder.absolute(),
            options=ocp.CheckpointManagerOptions(
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
            item_names=("state", "run"),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()

    @property
    def steps(self) -> list[int]:
        """Steps that have a checkpoint, oldest first."""
        return sorted(self._manager.all_steps())

    def best_score(self) -> float:
        """The lowest validation score of the checkpoints; infinite without one."""
        return min((score for _, score in self._scores()), default=float("inf"))

    def best_step(self) -> int | None:
        """The step with the lowest validation score; the newest where none has one."""
        scores = list(self._scores())
        if scores:
            return min(scores, key=lambda pair: pair[1])[0]
        return self.steps[-1] if self.steps else None

    def save(
        self, step: int, state: Any, run: Mapping[str, Any], score: float | None
    ) -> None:
        """Save host `state` in the background; `score`: of its validation, if any."""
        item = dict(run) | {"digest": digest(state), "step": step, "score": score}
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.PyTreeSave(state), run=ocp.args.JsonSave(item)
            ),
            metrics=None if score is None else {"score": score},
        )

    def wait(self) -> None:
        """Return when the last checkpoint is on disk, whole."""
        self._manager.wait_until_finished()

    def restore(self, like: Any) -> tuple[Any, dict[str, Any]] | None:
        """The newest undamaged state and its JSON item; None where there is none.

        Damaged checkpoints are named in a warning and moved to `damaged/` beside the
        folder, so that their steps can be saved again.
        """
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

    def _scores(self) -> Iterator[tuple[int, float]]:
        for step in self.steps:
            with contextlib.suppress(errors.CheckpointError):  # `restore` deals with it
                score = read_run(self.folder / str(step)).get("score")
                if score is not None:
                    yield step, score


def load(folder: Path, like: Any) -> tuple[Any, dict[str, Any]]:
    """The state saved in `folder` with the structure and types of `like`, verified.

    Raises:
        CheckpointError: the checkpoint is missing, unreadable, of another network, or
            its contents differ from their digest.
    """
    run = read_run(folder)
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    try:
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
            state = checkpointer.restore(
                (folder / "state").absolute(),
                args=ocp.args.PyTreeRestore(
                    item=abstract,
                    restore_args=jax.tree.map(
                        lambda _: ocp.RestoreArgs(restore_type=np.ndarray), abstract
                    ),
                ),
            )
    except (
        Exception
    ) as error:  # Orbax and TensorStore raise many types for damaged files
        raise errors.CheckpointError(
            f"checkpoint {folder.name} in {folder.parent} cannot be read "
            f"({type(error).__name__}): it is damaged, or of another network"
        ) from error
    state = jax.tree.map(np.asarray, state)
    if digest(state) != run["digest"]:
        raise errors.CheckpointError(
            f"checkpoint {folder.name} in {folder.parent} is damaged: its contents "
            "differ from their digest"
        )
    return state, run


def read_run(folder: Path) -> dict[str, Any]:
    """The JSON item of the checkpoint in `folder`."""
    try:
        run = json.loads((Path(folder) / "run" / "metadata").read_text())
        run["digest"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise errors.CheckpointError(
            f"checkpoint {folder} is missing or damaged: its description cannot be read"
        ) from error
    return run
