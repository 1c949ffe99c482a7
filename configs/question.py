"""Does learning both tasks at once help? All roles by one recipe, at a reduced size.

    python -m mtl_jax.study --config=configs/question.py --seeds=0,1,2 --roles=...

The recipe is that of configs/openkbp_best.py on coarser images and at half its width,
so that two cores train many runs. All roles take equally many steps on the same slices
in the same order. On two cores (Intel Xeon, AVX-512) a single-task run takes 7
minutes, CTAN 11.
"""

import ml_collections

from mtl_jax.configs import openkbp_best


def get_config(role: str = "multi") -> ml_collections.ConfigDict:
    """The configuration of the comparison's run in `role`."""
    config = openkbp_best.get_config(role)
    config.data.cohort = "paper"
    config.data.image_size = (96, 96)
    config.data.image_spacing_mm = 5.0
    # The same input and the same slices for all roles.
    config.data.neighbours = 2
    config.data.neighbour_mm = 5.0
    config.data.target_distance_mm = 40.0
    config.data.draws = (1, 1, 2)
    # In so few steps flips and shifts cost more than they gain; see learning.md.
    config.augment.enabled = False
    config.model.width = 16
    config.model.decoder_widths = (64, 32, 16, 16, 16)
    config.model.bottleneck_width = 64
    config.dwa.interval_steps = 500
    # In the same time, 4,000 steps of 4 learn more than 2,000 of 8 (validation loss of
    # `contour`: 0.135 and 0.194).
    config.train.batch_size = 4
    config.train.steps = 4000
    config.evaluate.best_patients = 0
    config.evaluate.splits = ("test",)
    return config
