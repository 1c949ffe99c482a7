"""The table of losses by task, and a role's losses from outputs and batch.

Input: a network's outputs by task, and a batch (`core.records`). Output: the loss of
each task and its named parts, scalars. `sums` is additive over slices, batches and
devices; `losses` divides once. Training adds the sums over the devices, validation also
over the batches of a split.

To add a loss, write its file and put its row into `LOSSES` (docs/how-to/extend.md).
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from mtl_jax.losses import contour_loss, dose_loss

Batch = Mapping[str, jax.Array]
Options = Mapping[str, Any]
Sums = dict[str, dict[str, jax.Array]]


class TaskLoss(NamedTuple):
    """A row of the table; `options` are those of the `Objective`."""

    # Batch and options to [B], [B, N] or [B, H, W, 1]: 1 for a slice (or a structure or
    # a voxel of it) that counts, else 0.
    counts: Callable[[Batch, Options], jax.Array]
    # Output, batch, counts and options to named sums, additive over slices.
    sums: Callable[[jax.Array, Batch, jax.Array, Options], dict[str, jax.Array]]
    # Sums and options to the loss and its parts by name.
    losses: Callable[
        [Mapping[str, jax.Array], Options], tuple[jax.Array, dict[str, jax.Array]]
    ]
    # The names of these parts, logged as loss/<name>.
    parts: tuple[str, ...] = ()


LOSSES: dict[str, TaskLoss] = {
    "contours": TaskLoss(
        contour_loss.counts,
        contour_loss.sums,
        contour_loss.losses,
        parts=("dice", "cross_entropy"),
    ),
    "dose": TaskLoss(dose_loss.counts, dose_loss.sums, dose_loss.losses),
}


@dataclasses.dataclass(frozen=True)
class Objective:
    """The losses of a role's tasks."""

    tasks: tuple[str, ...]
    options: Options  # the configuration's `loss` section, and `contour_head`

    @property
    def names(self) -> tuple[str, ...]:
        """What is logged as loss/<name>: the tasks, the total, and the named parts."""
        parts = [part for task in self.tasks for part in LOSSES[task].parts]
        return (*self.tasks, "total", *parts)

    def sums(self, outputs: dict[str, jax.Array], batch: dict[str, jax.Array]) -> Sums:
        """Additive sums of each task, without padding and absent structures."""
        by_task: Sums = {}
        for task in self.tasks:
            loss, output = LOSSES[task], outputs[task]
            counts = loss.counts(batch, self.options).astype(output.dtype)
            by_task[task] = loss.sums(output, batch, counts, self.options)
        return by_task

    def losses(
        self, sums: Sums
    ) -> tuple[dict[str, jax.Array], dict[str, dict[str, jax.Array]]]:
        """The unweighted loss of each task, and its named parts by task."""
        by_task, parts = {}, {}
        for task in self.tasks:
            by_task[task], parts[task] = LOSSES[task].losses(sums[task], self.options)
            assert tuple(parts[task]) == LOSSES[task].parts, f"parts of LOSSES[{task}]"
        return by_task, parts

    def terms(self, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """How many slices, structures or voxels each task's loss averages over."""
        return {
            task: LOSSES[task].counts(batch, self.options).sum() for task in self.tasks
        }
