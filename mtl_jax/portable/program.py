"""A trained network as a function of the image alone, and what its image must be.

Input: a network that was saved (`run/saved_networks`). Output: the function, with its
weights inside; a description for whoever makes its input, as plain values; an example.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from mtl_jax import __version__
from mtl_jax.core import roles
from mtl_jax.models import parameters
from mtl_jax.pipeline import image_channels, preprocess
from mtl_jax.run import saved_networks, wiring
from mtl_jax.train import step

# The forms of the operations on GPUs are the plain ones, which compile everywhere.
PLAIN = "gpu"


@dataclasses.dataclass(frozen=True)
class Program:
    """A network that predicts images."""

    # [B, H, W, C] float32 to contour probabilities [B, H, W, N] and dose [B, H, W, 1].
    function: Callable[[Any], Mapping[str, Any]]
    # The same as `predict` computes it on this machine.
    here: Callable[[Any], Mapping[str, Any]]
    preprocess: preprocess.Preprocess
    description: dict[str, Any]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """[H, W, C] of an image."""
        return (*self.preprocess.image_size, self.preprocess.channels)

    @functools.cached_property
    def example(self) -> dict[str, np.ndarray]:
        """Two images of noise, and what the network makes of them."""
        noise = np.random.default_rng(0).normal(size=(2, *self.image_shape))
        image = noise.astype(np.float32)
        outputs = jax.jit(self.here)(image)
        return {"image": image} | {k: np.asarray(v) for k, v in outputs.items()}


def of(saved: saved_networks.SavedNetwork) -> Program:
    """The program of a saved network, with its verified weights.

    Raises:
        CheckpointError: it is damaged.
    """
    config = saved.config
    made = wiring.make_preprocess(config, saved.item["statistics"], saved.site)
    network = wiring.make_network(config, None, PLAIN)
    shapes = parameters.shapes(network, (*made.image_size, made.channels))
    weights = saved_networks.load_weights(saved.folder, shapes)
    head = config.model.contour_head
    function, here = (
        functools.partial(step.predict, form, head, weights)
        for form in (network, wiring.make_network(config, None))
    )
    return Program(function, here, made, _describe(saved, made))


def _describe(
    saved: saved_networks.SavedNetwork, made: preprocess.Preprocess
) -> dict[str, Any]:
    """What goes in and comes out, for a reader who does not have this package."""
    config, item = saved.config, saved.item
    role = roles.get(config.role)
    offset = image_channels.ct_offset(saved.site, made.ct_values)
    tasks = {
        "contours": {
            "shape": ["batch", *made.image_size, len(made.structures)],
            "structures": list(made.structures),
            "values": "probability of each structure",
            "threshold": config.evaluate.contour_threshold,
        },
        "dose": {
            "shape": ["batch", *made.image_size, 1],
            "values": "dose / prescription, may be a little below 0",
            "prescription_gy": made.prescription_gy,
        },
    }
    return {
        "network": item.get("name", role.name),
        "role": role.name,
        "site": saved.site.name,
        "checkpoint": item["digest"],
        "step": item["step"],
        "mtl_jax": __version__,
        "type": config.model.dtype,
        "use": "for research only, not for clinical use",
        "input": {
            "image": {
                "shape": ["batch", *made.image_size, made.channels],
                "type": "float32",
                "axes": "slice, row (to the back), column (to the left), channel",
                "pixel_mm": made.image_spacing_mm or "the CT's own",
                "channels": list(made.channel_names),
            },
            "ct": {
                "formula": "(clip(HU + add, low, high) - mean) / std",
                "add": saved.site.ct_offset_hu - offset,
                "low_high": list(made.ct_window),
                "mean": made.ct_mean,
                "std": made.ct_std,
            },
            "second_window": list(made.further.ct_second_window),
            "neighbour_mm": made.further.neighbour_mm,
            "target_distance_mm": made.further.target_distance_mm,
        },
        "output": {task: tasks[task] for task in role.tasks},
    }
