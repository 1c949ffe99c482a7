"""Kim et al. 2024 on the OpenKBP challenge data (head and neck, 70 Gy).

python -m mtl_jax.main --config=configs/openkbp.py[:ROLE]
"""

import ml_collections

from mtl_jax.configs import common


def get_config(role: str = "multi") -> ml_collections.ConfigDict:
    """The paper's run in `role`; common.py marks values that are not in the paper."""
    config = common.get_config()
    config.role = role
    return config
