"""A tiny CTAN and its step, on batches of noise."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax.losses import objective
from mtl_jax.models import layers, networks, parameters
from mtl_jax.models.fast import rewrites
from mtl_jax.train import state as states
from mtl_jax.train import step as steps

TASKS = ("contours", "dose")
LOSS = {
    "dice_weight": 0.3,
    "cross_entropy_weight": 0.7,
    "dice_per_sample": False,
    "dice_smooth": 1e-5,
    "dose_region": "possible",
    "dose_slices": "possible",
    "contour_head": "sigmoid",
}


class TinyRun:
    """Builds the same network, step, state and batches for every test."""

    def network(self, *, name="ctan", tasks=TASKS, **changes):
        numerics = {
            "dtype": jnp.float32,
            "axis_name": None,
            "fast_variance": False,
            "remat": False,
            "rewrites": rewrites.PLAIN,
            "norm_slices": 0,
        }
        model = {
            # A stage has all that devices share; a second one doubles what is compiled.
            "stage_sizes": (2,),
            "width": 4,
            "decoder_widths": (8, 4),
            "cross_gating": True,
            "attended_skips": True,
            "bottleneck": True,
            "bottleneck_width": 8,
            "gamma_init": 0.1,
            "image_skip": False,
            "contour_head": "sigmoid",
        }
        for key, value in changes.items():
            (numerics if key in numerics else model)[key] = value
        numerics["dtype"] = jnp.dtype(numerics["dtype"])
        return networks.build(
            name,
            types.SimpleNamespace(**model),
            tasks=tasks,
            structures=2,
            numerics=layers.Numerics(**numerics),
        )

    def step(self, *, dtype=jnp.float32, axis_name=None, **changes):
        settings = {
            "network": self.network(dtype=dtype, axis_name=axis_name),
            "objective": objective.Objective(TASKS, LOSS),
            "transform": states.optimizer(
                learning_rate=1e-3,
                weight_decay=1e-5,
                b1=0.9,
                b2=0.999,
                eps=1e-8,
                no_decay=(),
            ),
            "dwa_temperature": 2.0,
            "dwa_interval": 1,
            "accumulate": 1,
            "log_every": 5,
            "axis_name": axis_name,
        }
        return steps.Step(**(settings | changes))

    def state(self, step, *, dtype=np.float32, averaged=False):
        variables = jax.tree.map(lambda x: np.array(x, dtype), initial_variables())
        state = states.create(
            variables,
            step.transform,
            tasks=2,
            metrics=step.metrics,
            averaged=averaged,
        )
        return jax.device_get(state)

    def batches(self, count, *, dtype=np.float32, size=8, side=16):
        rng = np.random.default_rng(0)
        return [
            {
                "image": rng.normal(size=(size, side, side, 1)).astype(dtype),
                "contours": (rng.random((size, side, side, 2)) < 0.3).astype(np.uint8),
                "present": (rng.random((size, 2)) < 0.7).astype(np.float32),
                "dose": rng.random((size, side, side, 1)).astype(dtype),
                "has_dose": (rng.random(size) < 0.8).astype(np.float32),
                "mask": np.ones(size, np.float32),
                "possible_dose": (rng.random((size, side, side, 1)) < 0.6).astype(
                    np.uint8
                ),
            }
            for _ in range(count)
        ]


@functools.cache
def initial_variables():
    """Those of every state; not to be changed."""
    with jax.enable_x64(False):  # whoever asks first
        return parameters.initialise(TinyRun().network(), 0, (16, 16, 1))


@pytest.fixture(scope="session")
def tiny():
    return TinyRun()
