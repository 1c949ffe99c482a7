"""A run's evaluated network, made ready to be passed on.

Input: a working directory that was trained and evaluated. Output: the network's folder
(`zoo/network_folder`): weights in half precision, description, model card. No path of
this machine is in it.
"""

from pathlib import Path
from typing import Any

from mtl_jax import __version__
from mtl_jax.core import config as configs
from mtl_jax.core import errors, records, roles, sites
from mtl_jax.evaluation import summary
from mtl_jax.run import model_card, saved_networks, workdir
from mtl_jax.zoo import network_folder

# What is said of the data by the source of a run: builder, then kind of patients.
LICENCES = {
    ("openkbp", "manual"): "trained on the data of the OpenKBP challenge (MIT licence; "
    "cite Babier et al., Medical Physics 48, 5549, 2021)",
    ("openkbp", "phantom"): "trained on generated phantoms, no patient's data",
    ("prostate", "phantom"): "trained on generated phantoms, no patient's data",
}


def pack(home: Path, name: str, out: Path, licence: str | None) -> dict[str, Any]:
    """Write the network of the working directory `home` to `out`/`name`.

    `licence` says under which terms the data were used; None: that of known data.
    Returns the description.

    Raises:
        CheckpointError: there is no checkpoint, or one that depends on another network.
        WorkdirError: it was not evaluated, or its model card is of another checkpoint.
        ConfigError: the licence of the data is not known.
        WeightsError: the weights do not fit half precision, or are too large.
    """
    saved = saved_networks.find(home)
    config, digest = saved.config, saved.item["digest"]
    role = roles.get(config.role)
    if role.input.contoured_by:
        raise errors.CheckpointError(
            f"a network of the role {role.name} needs another network for its input: "
            "only a network that works alone can be packed"
        )
    if "training_data" not in saved.item:
        raise errors.CheckpointError(
            f"checkpoint {saved.folder.name} does not say what it was trained on: an "
            "older version saved it; train it again"
        )
    source = config.data.builder, config.data.source
    if licence is None and source not in LICENCES:
        raise errors.ConfigError(
            f"the terms of use of the data (builder {source[0]}) are not known: give "
            "--licence='trained on ...'"
        )
    description = {
        "name": name,
        "version": __version__,
        "role": role.name,
        "config": configs.without_paths(configs.flatten(config))
        | {"site": saved.site.name},
        "statistics": saved.item["statistics"],
        "site": sites.to_json(saved.site),
        "structures": saved.item["structures"],
        "training_data": saved.item["training_data"],
        "data_fingerprint": saved.item["data_fingerprint"],
        "data": {key: config.data[key] for key in ("builder", "cohort", "source")},
        "licence": licence or LICENCES[source],
        "step": saved.item["step"],
        "checkpoint": digest,
        "reached": _reached(home, digest),
    }
    before, after = _card(home, digest)

    def card(weights_digest: str) -> str:
        use = (
            *model_card.use(role, name),
            "The weights are in half precision: `weights.safetensors`, SHA-256 "
            f"{weights_digest}. The results above are those of the checkpoint below, "
            "in single precision.",
        )
        return "\n".join([before, *use, after])

    return network_folder.write(out / name, saved.weights(), description, card)


def _reached(home: Path, digest: str) -> dict[str, Any]:
    """The scores of each split that was evaluated with the checkpoint `digest`."""
    reached = {}
    for split in records.SPLITS[1:]:
        path = home / "evaluation" / f"{split}.json"
        found = workdir.read_json(path) if path.exists() else {}
        if found.get("settings", {}).get("also"):
            raise errors.WorkdirError(
                f"{path} has the results of several networks (evaluate.also), but one "
                "is packed: evaluate it with --config.evaluate.also='()'"
            )
        if found.get("checkpoint") == digest:
            reached[split] = {
                "patients": found["patients"],
                "settings": found["settings"],
                "scores": _scores(found),
                "yardsticks": {k: _scores(y) for k, y in found["yardsticks"].items()},
            }
    if not reached:
        raise errors.WorkdirError(
            f"{home}: the checkpoint has no evaluation: run the training command "
            "again, which evaluates evaluate.splits"
        )
    return reached


def _scores(evaluation: dict[str, Any]) -> dict[str, Any]:
    return {key: evaluation[key] for key, _ in summary.SCORES if key in evaluation}


def _card(home: Path, digest: str) -> tuple[str, str]:
    """The model card of `home`: what is before the lines on its use, and after them."""
    path = home / model_card.NAME
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    before, title, after = text.partition(f"## {model_card.USE}\n")
    if digest not in after:
        raise errors.WorkdirError(
            f"{path} is missing, or of another checkpoint: run the training command "
            "again, which writes it"
        )
    _, mark, rest = after.partition("\n## ")
    return f"{before}{title}", f"{mark}{rest}"
