"""How the layers under test are computed: float32, exact variance, plain forms."""

import jax.numpy as jnp

from mtl_jax.models import layers
from mtl_jax.models.fast import rewrites

PLAIN = layers.Numerics(
    jnp.dtype("float32"),
    axis_name=None,
    fast_variance=False,
    remat=False,
    rewrites=rewrites.PLAIN,
)
