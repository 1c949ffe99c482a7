"""A training state that is nothing but arrays, for tests of checkpoints."""

import flax.struct
import numpy as np


@flax.struct.dataclass
class State:
    step: np.ndarray
    params: dict
    batch_stats: dict
    average: dict = flax.struct.field(default_factory=dict)
