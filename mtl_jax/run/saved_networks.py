"""Networks that were trained before: found, described, and their weights read.

Input: a working directory, its folder `checkpoints`, one of the steps in that, or a
network that was packed: its folder, or its name if it comes with the package. Output:
what is stored of the network.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_collections

from mtl_jax.core import config as configs
from mtl_jax.core import errors, sites
from mtl_jax.run import workdir
from mtl_jax.train import checkpoint
from mtl_jax.zoo import network_folder, packaged

# The configuration keys that a prediction depends on.
_GROUPS = ("role", "data.", "model.", "evaluate.")


@dataclasses.dataclass(frozen=True)
class SavedNetwork:
    """A network in a folder."""

    folder: Path  # of a checkpoint, or of a packed network
    item: Mapping[str, Any]  # the JSON item that describes it
    # Evaluation settings of its working directory; {}: those of `item` apply.
    settings: Mapping[str, Any]

    @property
    def config(self) -> ml_collections.ConfigDict:
        """Its configuration, with the evaluation of its working directory."""
        return config_of(self.folder, self.item, self.settings)

    @property
    def site(self) -> sites.Site:
        """The site of its patients."""
        return sites.from_json(self.item["site"])

    def weights(self) -> Any:
        """Its variables, verified.

        Raises:
            CheckpointError: they are damaged.
        """
        if network_folder.is_one(self.folder):
            return network_folder.weights(self.folder)
        return checkpoint.stored_weights(self.folder)


def find(path: Path) -> SavedNetwork:
    """The network in `path`, or of that name; its weights are not read.

    A name counts if there is no such path. Of a working directory: the checkpoint that
    its configuration evaluates, with the evaluation settings of that configuration.

    Raises:
        CheckpointError: there is none, or its description is damaged.
    """
    if not path.exists() and path == Path(path.name):
        try:
            path = packaged.folder(path.name)
        except errors.CheckpointError as error:
            raise errors.CheckpointError(
                f"there is no folder {path}; {error}"
            ) from None
    if network_folder.is_one(path):
        return SavedNetwork(path, network_folder.describe(path), {})
    folder, settings = _locate(path)
    return SavedNetwork(folder, checkpoint.read_run(folder), settings)


def load_weights(folder: Path, like: Any) -> Any:
    """The variables of the network in `folder`, with the names and shapes of `like`.

    Raises:
        CheckpointError: they are damaged, or of another network.
    """
    if not network_folder.is_one(folder):
        return checkpoint.load_weights(folder, like)
    return checkpoint.with_shapes(folder, network_folder.weights(folder), like)


def config_of(
    folder: Path, item: Mapping[str, Any], settings: Mapping[str, Any]
) -> ml_collections.ConfigDict:
    """The configuration in `item`, which describes a network in `folder`.

    `settings` replace values of it. `evaluate.metrics` is "": the file that it names is
    not in a checkpoint.

    Raises:
        CheckpointError: `item` lacks a part, or is from another version.
    """
    for key in ("config", "site", "statistics", "digest", "step"):
        if key not in item:
            raise errors.CheckpointError(
                f"checkpoint {folder.name} does not contain its {key}: it is damaged, "
                "or from another version"
            )
    flat = configs.completed(item["config"] | settings) | {"evaluate.metrics": ""}
    expected = {key for key in configs.KEYS if key.startswith(_GROUPS)}
    present = {key for key in flat if key.startswith(_GROUPS)}
    if different := sorted(expected ^ present):
        raise errors.CheckpointError(
            f"checkpoint {folder.name} is from another version of mtl_jax: the "
            f"configurations differ in {', '.join(different)}; use the version that "
            "trained it"
        )
    for key in sorted(expected):
        if not configs.KEYS[key].accepts(flat[key]):
            raise errors.CheckpointError(
                f"checkpoint {folder.name} has a {key} that is not "
                f"{configs.KEYS[key].expected}: its description was changed or is "
                "damaged"
            )
    return configs.unflatten(flat)


def _locate(path: Path) -> tuple[Path, dict[str, Any]]:
    """The folder of a step, and the evaluation settings of its working directory."""
    if (path / "run" / "metadata").is_file():
        return path, {}
    home = path if (path / "checkpoints").is_dir() else None
    folder = path / "checkpoints" if home else path
    steps = checkpoint.steps(folder)
    if not steps:
        # A study's folder has a working directory for each role.
        workdirs = sorted(found.parent.name for found in path.glob("*/checkpoints"))
        hint = f" ({', '.join(workdirs[:8])} in it)" if workdirs else ""
        raise errors.CheckpointError(
            f"{path} holds no checkpoint: give a working directory{hint}, "
            "its folder `checkpoints`, or one of the steps in that folder"
        )
    if home and (home / "config.json").is_file():
        flat = workdir.read_json(home / "config.json")
        if not isinstance(flat, dict):
            raise errors.WorkdirError(f"{home / 'config.json'} holds no configuration")
    else:
        home, flat = None, checkpoint.read_run(folder / str(steps[-1]))["config"]
    which = flat.get("evaluate.checkpoint", "")  # a missing key is reported later
    chosen = folder / str(checkpoint.evaluated_step(folder, which))
    settings = {key: flat[key] for key in flat if key.startswith("evaluate.")}
    return chosen, settings if home else {}
