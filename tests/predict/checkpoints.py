"""Checkpoints of tiny networks with weights by chance, saved as a run saves them."""

import pathlib
from collections.abc import Mapping

import flax.struct
import ml_collections
import numpy as np

from mtl_jax.configs import demo, prostate_demo
from mtl_jax.core import config as configs
from mtl_jax.core import sites
from mtl_jax.models import parameters
from mtl_jax.run import wiring
from mtl_jax.train import checkpoint

SITES = {"prostate": prostate_demo, "openkbp": demo}
STATISTICS = {"ct_mean": -300.0, "ct_std": 500.0, "origin": "chosen"}


@flax.struct.dataclass
class State:
    """What is saved beside the weights matters to no prediction."""

    step: np.ndarray
    params: dict
    batch_stats: dict
    moments: dict
    average: dict = flax.struct.field(default_factory=dict)


def configure(
    role: str,
    site: str,
    changes: Mapping[str, object] | None = None,
    **evaluate: object,
) -> ml_collections.ConfigDict:
    """A tiny network's configuration, with `changes` by dotted key."""
    config = SITES[site].get_config(role)
    config.model.update(
        stage_sizes=(2, 2, 2, 2), width=4, decoder_widths=(8, 8, 4, 4, 4)
    )
    config.model.bottleneck_width = 8
    config.data.image_size = (32, 32)
    config.data.image_spacing_mm = 14.0 if site == "openkbp" else 3.0
    config.evaluate.update(batch_size=4, checkpoint="newest", mirror=False, **evaluate)
    config.update_from_flattened_dict(changes or {})
    return configs.check(config)


def weights(config: ml_collections.ConfigDict, seed: int) -> dict:
    channels = wiring.make_preprocess(config, STATISTICS).channels
    made = parameters.initialise(
        wiring.make_network(config, None), seed, (*config.data.image_size, channels)
    )
    for name, head in made["params"].items():
        if name.startswith("head"):  # so that contours are neither empty nor all
            head["project"]["kernel"] *= np.float32(20)
            head["project"]["bias"] += np.float32(0.2 if "dose" in name else 0)
    return made


def describe(config: ml_collections.ConfigDict, **more: object) -> dict:
    """The JSON item that a run saves."""
    site = sites.get(config.site)
    return {
        "config": configs.flatten(config),
        "statistics": STATISTICS,
        "site": sites.to_json(site),
        "structures": list(config.data.structures),
        "data_fingerprint": "none",
        **more,
    }


def write(
    home: pathlib.Path,
    role: str,
    site: str,
    *,
    steps=(1,),
    changes: Mapping[str, object] | None = None,
    **evaluate: object,
) -> pathlib.Path:
    """Checkpoints of a network of `role` in `home`, which is returned.

    Its weights depend on the step.
    """
    config = configure(role, site, changes, **evaluate)
    run, drawing = describe(config), None
    if role == "seq_auto":
        own = configure("contour", site, **evaluate)
        drawing = weights(own, 77)
        item = {"digest": "0", "weights_digest": checkpoint.digest(drawing), "step": 1}
        run["drawing"] = describe(own) | item
    with checkpoint.Checkpoints(home / "checkpoints", drawing) as checkpoints:
        for step in steps:
            made = weights(config, step)
            moments = {"mu": made["params"]}
            state = State(np.array(step, np.int32), **made, moments=moments)
            checkpoints.save(step, state, run, None)
            checkpoints.wait()
    return home
