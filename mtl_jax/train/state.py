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


def weights(state: TrainState) -> dict[str, Any]:
    """The variables of the network, in the form that Flax takes."""
    return {"params": state.params, "batch_stats": state.batch_stats}


def optimizer(
    *,
    learning_rate: float,
    decay_steps: int,
    weight_decay: float,
    b1: float,
    b2: float,
    eps: float,
) -> optax.GradientTransformation:
    """Adam with L2 decay added to the gradient of every parameter, as torch's Adam.

    With `decay_steps` > 0 the learning rate falls to 0 along a cosine over that many
    steps.
    """
    rate: optax.ScalarOrSchedule = learning_rate
    if decay_steps:
        rate = optax.cosine_decay_schedule(learning_rate, decay_steps)
    return optax.chain(
        optax.add_decayed_weights(weight_decay),
        optax.scale_by_adam(b1=b1, b2=b2, eps=eps),
        optax.scale_by_learning_rate(rate),
    )


def create(
    variables: dict[str, Any],
    transform: optax.GradientTransformation,
    *,
    tasks: int,
    metrics: Sequence[str],
) -> TrainState:
    """The state before the first step; `metrics` are the names that the step logs."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=transform.init(variables["params"]),
        dwa=weighting.start(tasks),
        window={name: jnp.zeros(()) for name in metrics},
    )
