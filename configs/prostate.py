"""Kim et al. 2024 on your own prostate patients (pelvis, 60 Gy).

    python -m mtl_jax.main --config=configs/prostate.py[:ROLE] --manual_dir=DIR

CT values are in Hounsfield units. Their mean and standard deviation are fitted to the
training patients, because the paper's constants belong to its private cohort's field of
view.
"""

import ml_collections

from mtl_jax.configs import common


def get_config(role: str = "multi") -> ml_collections.ConfigDict:
    """The paper's run in `role`; comments mark values that are not in the paper."""
    config = common.get_config()
    config.role = role
    config.site = "prostate"
    config.data.builder = "prostate"
    config.data.cohort = "own"
    config.data.structures = ("Prostate", "Rectum", "Bladder", "Femur_L", "Femur_R")
    config.data.prescription_gy = 60.0
    config.data.ct_values = "hu"
    config.data.statistics = "fitted"
    # 192 pixels of 2.5 mm (not in the paper) span 480 mm. A pelvis is 350 to 450 mm
    # wide; the rest of a planning CT is couch and air. Dose grids are 2 to 3 mm, so the
    # dose loses little, and a prostate is about 18 pixels wide. 128 pixels of 4 mm
    # take half the time, for a first look.
    config.data.image_size = (192, 192)
    config.data.image_spacing_mm = 2.5
    config.train.batch_size = 32
    return config
