"""A small network on generated patients: minutes on two cores, no data needed.

python -m mtl_jax.main --config=configs/demo.py[:ROLE]
"""

import ml_collections

from configs import common


def get_config(role: str = "multi") -> ml_collections.ConfigDict:
    """The demo's run of `role`."""
    config = common.get_config()
    config.role = role
    config.data.source = "phantom"
    config.data.cohort = "phantom"
    config.data.statistics = "fitted"
    config.model.stage_sizes = (2, 2, 2, 2)
    config.model.width = 16
    config.model.decoder_widths = (64, 32, 32, 16, 16)
    config.model.bottleneck_width = 32
    config.model.pretrained = "none"
    config.optimizer.learning_rate = 1e-3
    config.train.epochs = 0
    config.train.steps = 600
    config.train.checkpoint_every = 200
    config.train.validate_every = 200
    config.train.images_every = 200
    return config
