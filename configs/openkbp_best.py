"""The best runs on the OpenKBP challenge data that this project knows.

    python -m mtl_jax.main --config=configs/openkbp_best.py:ROLE

configs/openkbp.py is the paper's run. This one differs in what makes the networks learn
more in less time: half-width networks from random weights, trained for hours on two
cores. docs/explanation/learning.md has the reasons and the measured gains.
"""

import ml_collections

from mtl_jax.configs import common


def get_config(role: str = "multi") -> ml_collections.ConfigDict:
    """The configuration of the best run in `role`."""
    config = common.get_config()
    config.role = role
    config.data.cohort = "official"
    # Hounsfield units, which other scanners give too, within the range of tissue.
    config.data.ct_values = "hu"
    config.data.ct_window = (-1000.0, 1000.0)
    config.data.ct_mean = 0.0
    config.data.ct_std = 400.0
    # Rows in front of and behind every patient are left out: a quarter of the work.
    config.data.image_size = (96, 128)
    # A slice alone does not show how near the targets of its neighbours are.
    config.data.target_distance_mm = 40.0
    # Slices without a possible dose teach a dose network nothing; slices with organs
    # are rare.
    contours = role not in ("baseline", "informed", "seq_human", "seq_auto")
    config.data.draws = (1, 1, 2) if contours else (0, 1, 0)
    if contours:
        # One slice alone does not show where the brainstem ends and the cord begins.
        config.data.neighbours = 2
        config.data.neighbour_mm = 5.0
    common.flip_only(config)
    config.augment.translation_px = 16.0
    # Half of the paper's width: eight times faster, and 169 patients fill it.
    config.model.width = 32
    config.model.decoder_widths = (128, 64, 32, 16, 16)
    config.model.bottleneck_width = 128
    config.model.image_skip = True
    config.model.pretrained = "none"
    # From random weights: a high rate, reached slowly, that ends at 0.
    config.optimizer.learning_rate = 1.5e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 300
    config.optimizer.weight_decay = 0.0
    config.optimizer.clip_norm = 1.0
    config.optimizer.average_decay = 0.998
    config.dwa.interval_steps = 500
    config.train.batch_size = 16
    config.train.epochs = 0
    config.train.steps = 8000
    config.train.log_every = 50
    config.train.validate_every = 1000
    config.train.checkpoint_every = 500
    config.train.images_every = 4000
    config.evaluate.checkpoint = "newest"
    config.evaluate.mirror = True
    return config
