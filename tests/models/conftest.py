"""Small networks of every kind, and random variables that nothing compiles for."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax.models import multitask

BOTH = ("contours", "dose")
TINY = {
    "stage_sizes": (2, 2, 2, 2),
    "width": 4,
    "decoder_widths": (16, 8, 8, 4, 4),
    "bottleneck_width": 8,
}
FULL = {
    "stage_sizes": (3, 4, 6, 3),
    "width": 64,
    "decoder_widths": (256, 128, 64, 32, 16),
    "bottleneck_width": 256,
}
SHARED = {
    "structures": 4,
    "cross_gating": True,
    "attended_skips": True,
    "bottleneck": True,
    "gamma_init": 0.0,
    "contour_head": "sigmoid",
    "dtype": jnp.float32,
    "remat": False,
    "axis_name": None,
    "fast_variance": True,
}


@pytest.fixture(scope="session")
def build() -> Callable[..., multitask.MultiTask]:
    """Build(network, **changes): a tiny network, or with full=True the paper's size."""

    def build(network: str, *, full: bool = False, **changes: Any):
        tasks = ("dose",) if network == "single" else BOTH
        size = FULL if full else TINY
        return multitask.build_network(
            **{"network": network, "tasks": tasks, **SHARED, **size, **changes}
        )

    return build


@pytest.fixture(scope="session")
def shapes() -> Callable[..., multitask.Variables]:
    """The variables of a network as shapes only: nothing is computed."""

    def shapes(network: multitask.MultiTask, channels: int = 1):
        return multitask.shapes(network, channels)

    return shapes


@pytest.fixture(scope="session")
def random_variables(shapes) -> Callable[..., multitask.Variables]:
    """Random values for every variable, gammas and batch statistics among them."""

    def random_variables(network: multitask.MultiTask, channels: int = 1):
        rng = np.random.default_rng(0)

        def draw(path, leaf):
            name = path[-1].key
            if name == "kernel":
                scale = np.sqrt(2.0 / np.prod(leaf.shape[:-1]))
                values = scale * rng.standard_normal(leaf.shape)
            elif name in ("scale", "var") or name.startswith("gamma"):
                values = rng.uniform(0.5, 1.5, leaf.shape)
            else:
                values = 0.1 * rng.standard_normal(leaf.shape)
            return np.asarray(values, np.float32)

        return jax.tree_util.tree_map_with_path(draw, shapes(network, channels))

    return random_variables
