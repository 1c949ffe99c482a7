"""The learning rate of a run: made, checked, and compared with that of before.

Input: the configuration's `optimizer` section, and the run's schedule. Output: the
rate, errors and warnings.
"""

import logging
from typing import Any

import ml_collections

from mtl_jax.core import config as configs
from mtl_jax.core import errors
from mtl_jax.train import state as states

logger = logging.getLogger(__name__)


def make(optimizer: ml_collections.ConfigDict, cosine_steps: int) -> Any:
    """A number, or a function of the number of updates made.

    Its cosine ends at step `cosine_steps`; with 0 it has none.
    """
    return states.learning_rate(
        optimizer.learning_rate,
        cosine_steps=cosine_steps,
        warmup_steps=optimizer.warmup_steps,
        final_rate=optimizer.final_rate,
    )


def check(optimizer: ml_collections.ConfigDict, schedule: configs.Schedule) -> None:
    """Check that the rate is above 0 in all steps.

    Raises:
        ConfigError: it would be 0 for some of them.
    """
    end, steps = schedule.cosine_steps, schedule.steps
    if 0 < end < steps and optimizer.final_rate == 0:
        raise errors.ConfigError(
            f"optimizer.decay_steps is {end}, but the run has {steps} steps: the "
            f"learning rate would be 0 from step {end} on; set "
            "optimizer.schedule=cosine and optimizer.decay_steps=0, so that it "
            f"falls until the last step, or train.steps={end}"
        )


def warn_of_another_cosine(
    optimizer: ml_collections.ConfigDict,
    schedule: configs.Schedule,
    earlier: ml_collections.ConfigDict,
    *,
    step: int,
) -> None:
    """Warn if the steps up to `step`, which `earlier` configured, had another one."""
    before = configs.Schedule.of(earlier, schedule.epoch_steps)
    ends = before.cosine_steps, schedule.cosine_steps
    if step >= schedule.steps or ends[0] == ends[1]:
        return
    old, new = (float(make(optimizer, end)(step)) for end in ends)
    logger.warning(
        "the cosine of the learning rate ended at step %d and now ends at step %d: "
        "after step %d the rate goes on from %.3g instead of %.3g. The steps "
        "before had the old rates, so the result is not that of a run with the "
        "new cosine from its start; for that, choose another --workdir",
        *(*ends, step, new, old),
    )
