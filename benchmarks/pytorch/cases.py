"""The cases that are compared: networks, sizes, random weights and batches.

Input: a case and a size. Output: the network in both frameworks, variables, batches.
"""

import dataclasses
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks.pytorch import networks
from mtl_jax.models import layers, parameters
from mtl_jax.models import networks as flax_networks
from mtl_jax.models.fast import rewrites

STRUCTURES = 4
STEPS = 5  # each on its own batch
# The same in both frameworks; random weights replace gamma_init.
FLAGS = {
    "cross_gating": True,
    "attended_skips": True,
    "bottleneck": True,
    "gamma_init": 0.0,
    "image_skip": False,
    "contour_head": "sigmoid",
}


@dataclasses.dataclass(frozen=True)
class Size:
    """How large networks and batches are."""

    stage_sizes: tuple[int, ...]
    width: int
    decoder_widths: tuple[int, ...]
    bottleneck_width: int
    image: tuple[int, int, int]  # B, H, W


TINY = Size((2, 2), 4, (8, 4, 4), 8, image=(4, 32, 48))
FULL = Size((3, 4, 6, 3), 64, (256, 128, 64, 32, 16), 256, image=(4, 128, 128))


@dataclasses.dataclass(frozen=True)
class Case:
    """A network, its tasks and its input channels."""

    network: str
    tasks: tuple[str, ...]
    channels: int = 1  # of the image

    def image_shape(self, size: Size) -> tuple[int, int, int]:
        """H, W, C of an image."""
        return (*size.image[1:], self.channels)

    def sizes(self, size: Size) -> dict[str, Any]:
        """Keys of the model, tasks and structures, for both frameworks."""
        sizes = {**dataclasses.asdict(size), **FLAGS}
        del sizes["image"]
        return sizes | {
            "network": self.network,
            "tasks": self.tasks,
            "structures": STRUCTURES,
        }


BOTH = ("contours", "dose")
CASES = {
    "single: dose": Case("single", ("dose",)),
    "single: contours": Case("single", ("contours",)),
    "single: dose, 5 inputs": Case("single", ("dose",), channels=1 + STRUCTURES),
    "hps": Case("hps", BOTH),
    "mtan": Case("mtan", BOTH),
    "ctan": Case("ctan", BOTH),
}


def draw_variables(case: Case, size: Size, dtype: np.dtype) -> parameters.Variables:
    """Random weights and statistics, as Flax variables."""
    rng = np.random.default_rng(0)
    network = flax_network(case, size, np.dtype(np.float32))
    shapes = parameters.shapes(network, case.image_shape(size))

    def draw(path: Any, leaf: Any) -> np.ndarray:
        name = path[-1].key
        if name == "kernel":
            scale = np.sqrt(2 / np.prod(leaf.shape[:-1]))
            return (scale * rng.standard_normal(leaf.shape)).astype(dtype)
        if name in ("scale", "var") or name.startswith("gamma"):
            return rng.uniform(0.5, 1.5, leaf.shape).astype(dtype)
        return np.asarray(0.1 * rng.standard_normal(leaf.shape), dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def draw_batches(case: Case, size: Size, dtype: np.dtype) -> list[dict[str, Any]]:
    """Random batches [B, H, W, C] with padding, absent structures and missing plans."""
    rng = np.random.default_rng(1)
    count, *sides = size.image
    batches = []
    for _ in range(STEPS):
        present = (rng.random((count, STRUCTURES)) < 0.7).astype(dtype)
        present[:, 1] = 0  # a structure that no slice has
        has_dose, mask = np.ones((2, count), dtype)
        has_dose[0] = mask[-1] = 0
        contours = rng.random((count, *sides, STRUCTURES)) < 0.3
        image = rng.normal(size=(count, *sides, case.channels)).astype(dtype)
        dose = rng.random((count, *sides, 1)).astype(dtype)
        possible = rng.random((count, *sides, 1)) < 0.5
        batches.append(
            {
                "image": image,
                "contours": contours.astype(np.uint8),
                "present": present,
                "dose": dose,
                "possible_dose": possible.astype(np.uint8),
                "has_dose": has_dose,
                "mask": mask,
            }
        )
    return batches


def flax_network(case: Case, size: Size, dtype: np.dtype) -> flax_networks.Network:
    """The network of `mtl_jax`; its variance is the exact one, as torch's is."""
    return flax_networks.build(
        case.network,
        types.SimpleNamespace(**case.sizes(size)),
        tasks=case.tasks,
        structures=STRUCTURES,
        numerics=layers.Numerics(
            dtype=jnp.dtype(dtype),
            axis_name=None,
            fast_variance=False,
            remat=False,
            rewrites=rewrites.for_platform(jax.default_backend()),
        ),
    )


def torch_network(case: Case, size: Size, dtype: np.dtype) -> networks.MultiTask:
    """The network of this package, with its own random weights."""
    network = networks.build_network(**case.sizes(size), channels=case.channels)
    return network.to(getattr(torch, dtype.name))
