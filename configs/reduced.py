"""A reduced OpenKBP run: narrow networks, coarse images, few steps.

    python -m mtl_jax.study --config=configs/reduced.py --roles=...

Six roles on 40 patients take 39 minutes on two cores (AMD EPYC, AVX2). With seed 0, the
dose scores from the CT are 7.8 to 8.1 Gy (mean dose map: 9.2), and the mean Dice is
0.56. docs/explanation/reduced-study.md has the tables. They say little about the full
networks.
"""

import ml_collections

from mtl_jax.configs import common


def get_config(role: str = "multi") -> ml_collections.ConfigDict:
    """The configuration of the reduced run in `role`."""
    config = common.get_config()
    config.role = role
    config.data.image_size = (64, 64)
    config.data.image_spacing_mm = 8.0
    common.flip_only(config)
    config.model.stage_sizes = (2, 2, 2, 2)
    config.model.width = 16
    config.model.decoder_widths = (96, 64, 32, 24, 16)
    config.model.bottleneck_width = 64
    config.model.pretrained = "none"
    # From random weights, a constant rate of 1e-4 would need many more steps.
    config.optimizer.learning_rate = 2e-3
    config.optimizer.schedule = "cosine"
    config.dwa.interval_steps = 100
    config.train.epochs = 0
    config.train.steps = 2000
    config.train.validate_every = 500
    config.train.checkpoint_every = 500
    config.train.images_every = 2000
    config.evaluate.checkpoint = "newest"
    return config
