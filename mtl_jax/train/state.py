"""Everything that a training step changes, and nothing else: what a checkpoint holds.

Input: a network's variables and an optimiser. Output: the state before the first step.
"""

from collections.abc import Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from mtl_jax.losses import weighting


@flax.struct.dataclass
class TrainState:
    """Parameters, batch-norm statistics, optimiser, DWA, and the open log window."""

    step: jax.Array  # int32: updates made
    params: Any
    batch_stats: Any
    opt_state: optax.OptState
    dwa: weighting.DwaState
    window: dict[str, jax.Array]  # sums of the metrics since the last log line
    # Variables of the averaged network; {} if the weights are not averaged.
    average: dict[str, Any] = flax.struct.field(default_factory=dict)


def weights(state: TrainState) -> dict[str, Any]:
    """The variables with which the network predicts, in the form that Flax takes.

    They are the averaged ones, if the weights are averaged.
    """
    return state.average or {"params": state.params, "batch_stats": state.batch_stats}


def learning_rate(
    highest: float, *, cosine_steps: int, warmup_steps: int, final_rate: float
) -> optax.ScalarOrSchedule:
    """The learning rate: a number, or a function of the number of updates made.

    Args:
        highest: the rate after the warm-up.
        cosine_steps: the step at which a cosine ends; 0: the rate stays at `highest`.
        warmup_steps: steps over which the rate rises to `highest`, in equal parts.
        final_rate: the rate at the cosine's end and after it, as a part of `highest`.
    """
    if not cosine_steps and not warmup_steps:
        return highest
    after = optax.constant_schedule(highest)
    if cosine_steps:
        falling_steps = cosine_steps - warmup_steps
        after = optax.cosine_decay_schedule(highest, falling_steps, final_rate)
    if not warmup_steps:
        return after
    lowest = highest / (warmup_steps + 1)  # not 0: the first update counts too
    rising = optax.linear_schedule(lowest, highest, warmup_steps)
    return optax.join_schedules([rising, after], [warmup_steps])


def optimizer(
    *,
    learning_rate: optax.ScalarOrSchedule,
    weight_decay: float,
    b1: float,
    b2: float,
    eps: float,
    no_decay: Sequence[str],
    clip_norm: float = 0.0,
) -> optax.GradientTransformation:
    """Adam with L2 decay added to the gradient, as torch's Adam.

    The parameters of the network's modules that `no_decay` names are not decayed. With
    `clip_norm` above 0, a gradient of a larger norm, over all parameters and without
    the decay, is scaled down to it.
    """
    return optax.chain(
        *([optax.clip_by_global_norm(clip_norm)] if clip_norm else []),
        _l2_decay(weight_decay, frozenset(no_decay)),
        optax.scale_by_adam(b1=b1, b2=b2, eps=eps),
        optax.scale_by_learning_rate(learning_rate),
    )


def _l2_decay(rate: float, left_out: frozenset[str]) -> optax.GradientTransformation:
    """Add `rate` times the parameter to each gradient, but not in modules `left_out`.

    The state is empty, as that of `optax.add_decayed_weights` without a mask: with one,
    the state would have another structure, and so would checkpoints.
    """

    def add(path: tuple[Any, ...], grad: jax.Array, param: jax.Array) -> jax.Array:
        module = getattr(path[0], "key", None) if path else None
        return grad if module in left_out else grad + rate * param

    return optax.stateless(
        lambda grads, params: jax.tree_util.tree_map_with_path(add, grads, params)
    )


def create(
    variables: dict[str, Any],
    transform: optax.GradientTransformation,
    *,
    tasks: int,
    metrics: Sequence[str],
    averaged: bool = False,
) -> TrainState:
    """The state before the first step; `metrics` are the names that the step logs."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=transform.init(variables["params"]),
        dwa=weighting.start(tasks),
        window={name: jnp.zeros(()) for name in metrics},
        average=jax.tree.map(jnp.array, variables) if averaged else {},
    )
