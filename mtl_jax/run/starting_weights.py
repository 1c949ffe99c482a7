"""The weights of an earlier network that a run starts from (`model.start_from`).

Input: a run's initial variables, and its configuration. Output: the variables with the
weights that fit, and what the working directory notes of them.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_collections

from mtl_jax.core import errors, sites
from mtl_jax.models import carried_weights, parameters
from mtl_jax.pipeline import preprocess
from mtl_jax.run import saved_networks

logger = logging.getLogger(__name__)

BACKGROUND = "background"  # the first channel of a softmax head

MakePreprocess = Callable[
    [ml_collections.ConfigDict, Mapping[str, Any], sites.Site], preprocess.Preprocess
]


def check(config: ml_collections.ConfigDict, workdir: Path) -> None:
    """Check that the earlier network is there, if the run in `workdir` is to begin.

    Raises:
        CheckpointError: it is not, or its description is damaged.
    """
    if config.model.start_from and not (workdir / "config.json").exists():
        find(config)


def find(config: ml_collections.ConfigDict) -> saved_networks.SavedNetwork:
    """The network that `config` names.

    Raises:
        CheckpointError: it is not there, or its description is damaged.
    """
    try:
        return saved_networks.find(Path(config.model.start_from).expanduser())
    except errors.CheckpointError as error:
        raise errors.CheckpointError(f"model.start_from: {error}") from error


def load(
    variables: parameters.Variables,
    config: ml_collections.ConfigDict,
    preprocess: preprocess.Preprocess,
    make_preprocess: MakePreprocess,
) -> tuple[parameters.Variables, dict[str, Any]]:
    """`variables` with the weights of the earlier network, and a note for the workdir.

    Args:
        variables: the network's initial ones, NumPy arrays.
        config: the run's configuration.
        preprocess: the run's.
        make_preprocess: makes that of the earlier network.

    Raises:
        CheckpointError: the earlier network is missing or damaged, or nothing fits.
    """
    earlier = find(config)
    earlier_preprocess = make_preprocess(
        earlier.config, earlier.item["statistics"], earlier.site
    )
    carried = carried_weights.carry_over(
        variables,
        earlier.weights(),
        _channels(config, preprocess),
        _channels(earlier.config, earlier_preprocess),
    )
    if not carried.kernels:
        raise errors.CheckpointError(
            f"model.start_from: no kernel of {earlier.folder} ({_name(earlier)}) fits "
            "this network: give a network of the same model.width and "
            "model.decoder_widths"
        )
    _log(carried, earlier)
    return carried.variables, {
        "pretrained": "not used: model.start_from takes precedence",
        "start_from": {
            "path": config.model.start_from,
            "role": earlier.config.role,
            "site": earlier.site.name,
            "step": earlier.item["step"],
            "digest": earlier.item["digest"],
            "carried": carried.carried,
            "parameters": carried.parameters,
            "anew": list(carried.anew),
        },
    }


def _name(network: saved_networks.SavedNetwork) -> str:
    return f"role {network.config.role}, site {network.site.name}"


def _log(
    carried: carried_weights.Carried, earlier: saved_networks.SavedNetwork
) -> None:
    """Log what is carried, and what starts anew; a warning if that is most of it."""
    share = carried.carried / carried.parameters
    logger.info(
        "starts from step %d of a trained network (%s): %s of %s parameters (%.1f %%)",
        earlier.item["step"],
        _name(earlier),
        f"{carried.carried:,}",
        f"{carried.parameters:,}",
        100 * share,
    )
    if carried.anew:
        level = logging.INFO if share >= 0.5 else logging.WARNING
        logger.log(level, "start anew: %s", "; ".join(carried.anew))


def _channels(
    config: ml_collections.ConfigDict, preprocess: preprocess.Preprocess
) -> carried_weights.Channels:
    """Names of the channels of a network; structures have their TG-263 names."""
    contours = preprocess.structure_names
    if config.model.contour_head == "softmax":
        contours = (BACKGROUND, *contours)
    last_block = f"block{len(config.model.decoder_widths)}"
    return carried_weights.Channels(
        inputs=preprocess.channel_names,
        outputs={"contours": contours, "dose": ("dose",)},
        image_skip=last_block if config.model.image_skip else "",
    )
