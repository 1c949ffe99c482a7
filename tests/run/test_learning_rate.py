"""The course of the learning rate in words."""

from mtl_jax.configs import common
from mtl_jax.core import config as configs
from mtl_jax.run import learning_rate


def in_words(config):
    schedule = configs.Schedule.of(config, 40)
    return learning_rate.in_words(config.optimizer, schedule)


def test_the_course_in_words():
    config = common.get_config()
    assert in_words(config) == "0.0001, constant"
    config.train.steps = 7500
    config.optimizer.update(schedule="cosine", warmup_steps=300, final_rate=0.1)
    assert in_words(config) == (
        "0.0001 after a warm-up of 300 steps, along a cosine to 1e-05 at step 7500"
    )
