"""The optimizer of a run, and the course of its learning rate.

Input: the configuration's `optimizer` section and the run's schedule. Output: the
optimizer; the course in words; an error or a warning if a longer run would spoil it.
"""

import logging
from collections.abc import Mapping
from typing import Any

import ml_collections

from mtl_jax.core import config as configs
from mtl_jax.core import errors
from mtl_jax.train import state as states

logger = logging.getLogger(__name__)


def optimizer(settings: ml_collections.ConfigDict, schedule: configs.Schedule) -> Any:
    """Adam as configured, an Optax transformation."""
    return states.optimizer(
        learning_rate=_rate(settings, schedule.cosine_steps),
        weight_decay=settings.weight_decay,
        b1=settings.b1,
        b2=settings.b2,
        eps=settings.eps,
        no_decay=settings.no_decay,
        clip_norm=settings.clip_norm,
    )


def _rate(settings: ml_collections.ConfigDict, cosine_steps: int) -> Any:
    """A number, or a function of the number of updates made."""
    return states.learning_rate(
        settings.learning_rate,
        cosine_steps=cosine_steps,
        warmup_steps=settings.warmup_steps,
        final_rate=settings.final_rate,
    )


def in_words(settings: ml_collections.ConfigDict, schedule: configs.Schedule) -> str:
    """The course of the learning rate."""
    words = f"{settings.learning_rate:g}"
    if settings.warmup_steps:
        words += f" after a warm-up of {settings.warmup_steps} steps"
    if not schedule.cosine_steps:
        return f"{words}, constant"
    final = settings.learning_rate * settings.final_rate
    return f"{words}, along a cosine to {final:g} at step {schedule.cosine_steps}"


def check(settings: ml_collections.ConfigDict, schedule: configs.Schedule) -> None:
    """Check that no step has a learning rate of 0.

    Raises:
        ConfigError: the cosine ends at 0 before the run does.
    """
    end, steps = schedule.cosine_steps, schedule.steps
    if 0 < end < steps and settings.final_rate == 0:
        raise errors.ConfigError(
            f"optimizer.decay_steps is {end}, but the run has {steps} steps: the "
            f"learning rate would be 0 from step {end} on; set "
            "optimizer.schedule=cosine and optimizer.decay_steps=0, so that it "
            f"falls until the last step, or train.steps={end}"
        )


def warn_of_another_cosine(
    settings: ml_collections.ConfigDict,
    schedule: configs.Schedule,
    *,
    earlier: Mapping[str, Any],
    step: int,
) -> None:
    """Warn if the steps up to `step`, as `earlier` configured, had another cosine.

    `earlier` is the flat configuration of the run before it was started again.
    """
    before = configs.Schedule.of(configs.unflatten(earlier), schedule.epoch_steps)
    ends = before.cosine_steps, schedule.cosine_steps
    if step >= schedule.steps or ends[0] == ends[1]:
        return
    old, new = (float(_rate(settings, end)(step)) for end in ends)
    logger.warning(
        "the cosine of the learning rate ended at step %d and now ends at step %d: "
        "after step %d the rate goes on from %.3g instead of %.3g. The steps "
        "before had the old rates, so the result is not that of a run with the "
        "new cosine from its start; for that, choose another --workdir",
        *(*ends, step, new, old),
    )
