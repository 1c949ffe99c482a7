"""Kim et al. 2024 on prostate patients of your own (pelvis, 60 Gy).

    python -m mtl_jax.main --config=configs/prostate.py[:ROLE] --manual_dir=DIR

The paper's cohort is private, and so are the constants of its field of view: CT values
are Hounsfield units, and their mean and deviation are fitted to the training patients.
"""

import ml_collections

from configs import common


def get_config(role: str = "multi") -> ml_collections.ConfigDict:
    """The paper's run of `role`; what is not in the paper is marked so."""
    config = common.get_config()
    config.role = role
    config.site = "prostate"
    config.data.builder = "prostate"
    config.data.cohort = "own"
    config.data.structures = ("Prostate", "Rectum", "Bladder", "Femur_L", "Femur_R")
    config.data.prescription_gy = 60.0
    config.data.ct_values = "hu"
    config.data.statistics = "fitted"
    # 192 pixels of 2.5 mm (not in the paper) span 480 mm, where a pelvis is 350 to 450
    # mm wide and the rest of a planning CT is couch and air. Dose grids are 2 to 3 mm,
    # so the dose loses little; a prostate is some 18 pixels across. For a first look,
    # 128 pixels of 4 mm take half the time.
    config.data.image_size = (192, 192)
    config.data.image_spacing_mm = 2.5
    config.train.batch_size = 32
    return config
