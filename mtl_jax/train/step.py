"""One update of the network: pure, and the same under jit and pmap.

Input: a training state and a batch. Output: the next state, sums of losses, or outputs.

Sums, batch-norm statistics and gradients are those of the global batch. If batch-norm
has groups of slices, the statistics are the means of those of the groups. Under jit the
batch is one (sharded) array and XLA adds over the devices; under pmap the step itself
adds over the axis `Step.axis_name`.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import flatten_util

from mtl_jax.losses import contour_loss, weighting
from mtl_jax.losses import objective as objectives
from mtl_jax.models import parameters
from mtl_jax.train import state as states

Batch = dict[str, jax.Array]


def outputs(
    network: nn.Module, weights: parameters.Variables, image: jax.Array
) -> dict[str, jax.Array]:
    """Outputs [B, H, W, ...] by task for images [B, H, W, C], outside of training."""
    by_task: Any = network.apply(weights, image, train=False)
    return by_task


def predict(
    network: nn.Module,
    contour_head: str,
    weights: parameters.Variables,
    image: jax.Array,
) -> dict[str, jax.Array]:
    """As `outputs`, with the contours as probabilities [B, H, W, N]."""
    by_task = outputs(network, weights, image)
    if "contours" in by_task:
        logits = by_task["contours"]
        by_task |= {"contours": contour_loss.probabilities(logits, contour_head)}
    return by_task


@dataclasses.dataclass(frozen=True)
class Step:
    """The static parts of a step; its methods take what changes."""

    network: nn.Module
    objective: objectives.Objective
    transform: optax.GradientTransformation
    dwa_temperature: float
    dwa_interval: int
    accumulate: int
    log_every: int
    axis_name: str | None
    average_decay: float = 0.0  # of the averaged weights; 0: none are

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of what `train` logs."""
        losses = [f"loss/{name}" for name in self.objective.names]
        return (*losses, *(f"weight/{task}" for task in self.objective.tasks))

    def train(self, state: states.TrainState, batch: Batch) -> states.TrainState:
        """One update. `state` is donated; its window sums what is logged."""
        task_weights = weighting.weights(state.dwa, temperature=self.dwa_temperature)
        grads, batch_stats, logged = self.gradients(state, batch, task_weights)
        # The name is that of a part of the network in benchmarks.roofline.
        with jax.named_scope("optimizer"):
            updates, opt_state = self.transform.update(
                grads, state.opt_state, state.params
            )
            params = optax.apply_updates(state.params, updates)
        tasks = self.objective.tasks
        unweighted = jnp.stack([logged[f"loss/{task}"] for task in tasks])
        logged |= {
            f"weight/{task}": w for task, w in zip(tasks, task_weights, strict=True)
        }
        opens = state.step % self.log_every == 0
        return states.TrainState(
            step=state.step + 1,
            params=params,
            batch_stats=batch_stats,
            opt_state=opt_state,
            dwa=weighting.update(state.dwa, unweighted, interval=self.dwa_interval),
            window={
                name: jnp.where(opens, 0, value) + logged[name]
                for name, value in state.window.items()
            },
            average=self._average(state, params),
        )

    def train_several(
        self, state: states.TrainState, batches: Batch
    ) -> states.TrainState:
        """An update for each of the `batches` [K, B, ...]: one call, K steps."""

        def update(state: states.TrainState, batch: Batch):
            return self.train(state, batch), None

        return jax.lax.scan(update, state, batches)[0]

    def _average(self, state: states.TrainState, params: Any) -> dict[str, Any]:
        """The averaged variables after an update to `params`.

        At the start the average forgets faster, since the first weights are random.
        """
        if not state.average:
            return {}
        made = state.step.astype(jnp.float32)
        decay = jnp.minimum(self.average_decay, (1 + made) / (10 + made))
        averaged = jax.tree.map(
            lambda mean, new: mean + (1 - decay) * (new - mean),
            state.average["params"],
            params,
        )
        return state.average | {"params": averaged}

    def batch_statistics(self, weights: parameters.Variables, batch: Batch) -> Any:
        """The batch-norm statistics of `weights`, updated by those of `batch`."""
        return self._apply(weights, batch["image"])[1]

    def _apply(
        self, weights: parameters.Variables, image: jax.Array
    ) -> tuple[dict[str, jax.Array], Any]:
        """Outputs in training, and the updated batch-norm statistics."""
        outputs, updated = self.network.apply(
            weights, image, train=True, mutable=["batch_stats"]
        )
        before: Any = weights["batch_stats"]
        # A network without batch normalisation has no statistics to update.
        after = updated.get("batch_stats", before)
        statistics = jax.tree.leaves(after)
        if not statistics or not all(each.ndim == 2 for each in statistics):
            return outputs, after
        # Those of groups of slices, [G, C]: in one array, so that one sum over the
        # devices gives all their means.
        by_group = jax.vmap(lambda tree: flatten_util.ravel_pytree(tree)[0])(after)
        means = self._mean_over_devices(by_group.mean(0))
        return outputs, flatten_util.ravel_pytree(before)[1](means)

    def evaluate(self, state: states.TrainState, batch: Batch) -> objectives.Sums:
        """Additive sums of the losses of `batch`, batch-norm as in prediction."""
        outputs = self.outputs(state, batch["image"])
        return self._over_devices(self.objective.sums(outputs, batch))

    def outputs(
        self, state: states.TrainState, image: jax.Array
    ) -> dict[str, jax.Array]:
        """The network's outputs [B, H, W, ...] for images [B, H, W, C], by task."""
        return outputs(self.network, states.weights(state), image)

    def predict(
        self, state: states.TrainState, image: jax.Array
    ) -> dict[str, jax.Array]:
        """As `outputs`, with the contours as probabilities [B, H, W, N]."""
        head = self.objective.options["contour_head"]
        return predict(self.network, head, states.weights(state), image)

    def _over_devices(self, tree: Any) -> Any:
        if self.axis_name is None:
            return tree
        return jax.lax.psum(tree, self.axis_name)

    def _mean_over_devices(self, tree: Any) -> Any:
        if self.axis_name is None:
            return tree
        return jax.lax.pmean(tree, self.axis_name)

    def gradients(
        self, state: states.TrainState, batch: Batch, task_weights: jax.Array
    ) -> tuple[Any, Any, dict[str, jax.Array]]:
        """Gradients of the global loss, new batch statistics, and what is logged.

        With `accumulate` > 1 the loss of each part of the batch is weighted by its
        share of the terms. For the dose and the cross-entropy that equals the whole
        batch; Dice sums and batch-norm statistics are those of each part.
        """
        if self.accumulate == 1:
            whole = {task: jnp.ones(()) for task in self.objective.tasks}
            return self._part_gradients(
                state, state.batch_stats, batch, task_weights, whole
            )
        totals = self._over_devices(self.objective.terms(batch))

        def add_part(carry, part):
            grads, batch_stats, logged = carry
            counts = self._over_devices(self.objective.terms(part))
            share = {t: counts[t] / jnp.maximum(totals[t], 1) for t in counts}
            more_grads, batch_stats, more_logged = self._part_gradients(
                state, batch_stats, part, task_weights, share
            )
            grads = jax.tree.map(jnp.add, grads, more_grads)
            logged = jax.tree.map(jnp.add, logged, more_logged)
            return (grads, batch_stats, logged), None

        start = (
            jax.tree.map(jnp.zeros_like, state.params),
            state.batch_stats,
            {name: jnp.zeros(()) for name in self.metrics if name.startswith("loss/")},
        )
        carry, _ = jax.lax.scan(add_part, start, jax.tree.map(self._split, batch))
        return carry

    def _split(self, array: jax.Array) -> jax.Array:
        """[B, ...] to [accumulate, B / accumulate, ...], parts from all devices."""
        split = array.reshape(-1, self.accumulate, *array.shape[1:])
        return split.swapaxes(0, 1)

    def _part_gradients(self, state, batch_stats, part, task_weights, share):
        def loss_fn(params):
            weights = {"params": params, "batch_stats": batch_stats}
            outputs, statistics = self._apply(weights, part["image"])
            sums = self._over_devices(self.objective.sums(outputs, part))
            by_task, parts = self.objective.losses(sums)
            shared = {task: loss * share[task] for task, loss in by_task.items()}
            total = sum(
                weight * shared[task]
                for weight, task in zip(task_weights, self.objective.tasks, strict=True)
            )
            logged = {f"loss/{task}": loss for task, loss in shared.items()}
            logged |= {
                f"loss/{name}": value * share[task]
                for task, named in parts.items()
                for name, value in named.items()
            }
            return total, (logged | {"loss/total": total}, statistics)

        (_, (logged, batch_stats)), grads = jax.value_and_grad(loss_fn, has_aux=True)(
            state.params
        )
        # Every device differentiates the sum of all devices' equal losses.
        return self._mean_over_devices(grads), batch_stats, logged
