"""The paper's run on GPUs or TPUs: half precision, 64 slices on each device.

    python -m mtl_jax.main --config=configs/accelerator.py:ROLE[,DEVICES]

It starts from configs/openkbp.py, whose network is the one that compilers were asked
about, and whose rate stays within what was trained: 1e-4 for 8 slices becomes 8e-4 for
64, where configs/openkbp_best.py would come to 6e-3. Nothing was run on an accelerator;
docs/how-to/train-on-many-devices.md says what to expect.
"""

import ml_collections

from mtl_jax.configs import openkbp

SLICES = 64  # on each device


def get_config(choice: str = "multi") -> ml_collections.ConfigDict:
    """The configuration for "ROLE", on one device, or "ROLE,DEVICES"."""
    role, _, devices = choice.partition(",")
    config = openkbp.get_config(role)
    batch_size = SLICES * int(devices or 1)
    # By the linear rule (Goyal et al. 2017), which needs a warm-up.
    config.optimizer.learning_rate *= batch_size / config.train.batch_size
    config.optimizer.warmup_steps = 500
    config.train.batch_size = batch_size
    config.evaluate.batch_size = batch_size
    # Each device normalises its own slices and waits for no other.
    config.train.batch_norm_slices = SLICES
    config.model.dtype = "bfloat16"
    # OpenKBP takes 3 GB of each device, and no batch waits for the host.
    config.data.on_device = True
    # The host's work is shared by the steps of a call.
    config.train.steps_per_call = config.train.log_every
    return config
