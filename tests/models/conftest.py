"""Small networks of every kind, and random variables that nothing compiles for."""

import types
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax.models import layers, networks, parameters
from mtl_jax.models.fast import rewrites

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
FLAGS = {
    "cross_gating": True,
    "attended_skips": True,
    "bottleneck": True,
    "gamma_init": 0.0,
    "image_skip": False,
    "contour_head": "sigmoid",
}
NUMERICS = {
    "dtype": jnp.float32,
    "axis_name": None,
    "fast_variance": True,
    "remat": False,
    "rewrites": rewrites.PLAIN,
}


@pytest.fixture(scope="session")
def build() -> Callable[..., networks.Network]:
    """Build(name, **changes): a tiny network, or with full=True the paper's size.

    `changes` are keys of the model or of how it is computed.
    """

    def build(
        name: str,
        *,
        full: bool = False,
        tasks: tuple[str, ...] | None = None,
        structures: int = 4,
        **changes: Any,
    ):
        model = FLAGS | (FULL if full else TINY)
        numerics = NUMERICS.copy()
        for key, value in changes.items():
            (numerics if key in numerics else model)[key] = value
        numerics["dtype"] = jnp.dtype(numerics["dtype"])
        return networks.build(
            name,
            types.SimpleNamespace(**model),
            tasks=tasks or (("dose",) if name == "single" else BOTH),
            structures=structures,
            numerics=layers.Numerics(**numerics),
        )

    return build


@pytest.fixture(scope="session")
def shapes() -> Callable[..., parameters.Variables]:
    """The variables of a network as shapes only: nothing is computed."""

    def shapes(network: networks.Network, channels: int = 1):
        return parameters.shapes(network, (32, 32, channels))

    return shapes


@pytest.fixture(scope="session")
def random_variables(shapes) -> Callable[..., parameters.Variables]:
    """Random values for every variable, gammas and batch statistics among them."""

    def random_variables(network: networks.Network, channels: int = 1):
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
