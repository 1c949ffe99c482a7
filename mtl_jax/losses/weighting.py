"""Dynamic weight average (DWA; Liu et al. 2019): pure functions, explicit state.

Input: the *unweighted* training losses of each step. Output: a weight for each task. A
task whose loss falls more slowly than the others' gets a larger weight. Weights change
once an interval (an epoch in the paper), by the means of the last two intervals; in the
first two intervals all weights are 1.
"""

import flax.struct
import jax
import jax.numpy as jnp


@flax.struct.dataclass
class DwaState:
    """Losses of K tasks: the means of the last two intervals and the running sum."""

    past: jax.Array  # [2, K]: the interval before the last, the last
    sums: jax.Array  # [K]: of the current interval
    steps: jax.Array  # int32: in the current interval
    intervals: jax.Array  # int32: completed


def start(tasks: int) -> DwaState:
    """The state before the first step."""
    return DwaState(
        past=jnp.zeros((2, tasks)),
        sums=jnp.zeros(tasks),
        steps=jnp.zeros((), jnp.int32),
        intervals=jnp.zeros((), jnp.int32),
    )


def weights(state: DwaState, *, temperature: float) -> jax.Array:
    """Weights [K] of the current interval; they sum to K."""
    tasks = state.sums.size
    before_last, last = state.past
    # A loss of exactly 0 cannot fall further: its pace is 1.
    pace = jnp.where(
        before_last > 0, last / jnp.where(before_last > 0, before_last, 1), 1
    )
    balanced = tasks * jax.nn.softmax(pace / temperature)
    return jnp.where(state.intervals < 2, jnp.ones_like(balanced), balanced)


def update(state: DwaState, losses: jax.Array, *, interval: int) -> DwaState:
    """Add a step's unweighted losses [K]; `interval` steps close the interval."""
    sums, steps = state.sums + losses.astype(state.sums.dtype), state.steps + 1
    closes = steps == interval
    mean = sums / steps.astype(sums.dtype)
    return DwaState(
        past=jnp.where(closes, jnp.stack([state.past[1], mean]), state.past),
        sums=jnp.where(closes, jnp.zeros_like(sums), sums),
        steps=jnp.where(closes, 0, steps),
        intervals=state.intervals + closes.astype(state.intervals.dtype),
    )
