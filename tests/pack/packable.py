"""A working directory that can be packed, as a run and its evaluation leave it."""

import json
import pathlib

import numpy as np

from mtl_jax.core import config as configs
from mtl_jax.pack import packing
from mtl_jax.train import checkpoint
from tests.predict import checkpoints

TRAINING_DATA = {
    "site": "openkbp",
    "body_part": "head and neck",
    "patients": 3,
    "slices": 30,
    "structures": {
        "Brainstem": 3,
        "SpinalCord": 3,
        "PTV56": 1,
        "PTV70": 3,
    },
    "spacing_mm": [4.0, 4.5],
    "slice_spacing_mm": [2.5, 3.5],
    "field_of_view_mm": {"y": [500.0, 520.0], "x": [500.0, 580.0]},
    "length_mm": [300.0, 400.0],
    "ct_hu": {
        "slices": 1,
        "patients": 1,
        "grid": {"1": [-1024.0] * 3, "99": [1500.0] * 3},
        "body": {
            "5": [-110.0] * 3,
            "25": [-50.0] * 3,
            "50": [25.0] * 3,
            "75": [100.0] * 3,
            "95": [160.0] * 3,
        },
    },
}
CARD = """# Model card

## How to use it

python -m mtl_jax.predict --checkpoint=SECRET_FOLDER CT_DIR

## Which checkpoint

- digest: {}
"""


def write(
    home: pathlib.Path, role: str = "multi", *, average: dict | None = None, **changes
) -> pathlib.Path:
    """The working directory `home`; `changes` are those of its weights, by path."""
    config = checkpoints.configure(role, "openkbp")
    config.model.unlock()
    config.model.pretrained = "/secret/weights.pth"
    config.data.unlock()
    config.data.roi_mapping = "/secret/mapping.yaml"
    made = checkpoints.weights(config, 1)
    for path, value in changes.items():
        *modules, leaf = path.split("__")
        part = made["params"]
        for module in modules:
            part = part[module]
        part[leaf] = np.full_like(part[leaf], value)
    state = checkpoints.State(
        np.array(3, np.int32), **made, moments={}, average=average or {}
    )
    run = checkpoints.describe(config, training_data=TRAINING_DATA)
    with checkpoint.Checkpoints(home / "checkpoints") as opened:
        opened.save(3, state, run, None)
    digest = checkpoint.read_run(home / "checkpoints" / "3")["digest"]
    (home / "config.json").write_text(json.dumps(configs.flatten(config)))
    (home / "model_card.md").write_text(CARD.format(digest))
    evaluation = {
        "checkpoint": digest,
        "patients": 7,
        "settings": {"mirror": False},
        "openkbp_dose_score": 3.25,
        "mean_dice": 0.75,
        "metrics": {"dice/Brainstem": {"mean": 0.5, "std": 0.1, "n": 7}},
        "yardsticks": {
            "mean_dose_map": {"openkbp_dose_score": 9.0},
            "painted": {"openkbp_dose_score": 8.0},
            "prior_map": {"mean_dice": 0.25},
            "mean_shape": {"mean_dice": 0.5},
        },
    }
    (home / "evaluation").mkdir()
    (home / "evaluation" / "test.json").write_text(json.dumps(evaluation))
    return home


def pack(folder: pathlib.Path, role: str = "multi", name: str = "") -> pathlib.Path:
    """The folder of a packed network, in `folder`/zoo."""
    home = write(folder / "run", role)
    packing.pack(home, name or role, folder / "zoo", None)
    return folder / "zoo" / (name or role)
