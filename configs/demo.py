"""A small network on generated patients: minutes on two cores, no data needed.

    python -m mtl_jax.main --config=configs/demo.py[:ROLE]

Mean Dice 0.812, dose score 6.62 Gy (mean dose map: 15.72) on eight phantoms, seed 0.
"""

import ml_collections

from configs import common


def get_config(role: str = "multi") -> ml_collections.ConfigDict:
    """The demo's run of `role`."""
    config = common.get_config()
    config.role = role
    config.data.phantom_patients = (96, 4, 8)
    config.data.ct_values = "hu"
    config.data.statistics = "fitted"
    config.data.image_size = (64, 64)
    common.small_on_phantoms(config, steps=1000)
    config.evaluate.mirror = True
    return config
