"""A trained network from its checkpoint alone.

Goes in: a working directory, its folder `checkpoints`, or one of the steps in that.
Comes out: what the checkpoint says of itself (`describe`), then the network, its
weights verified, compiled and ready to predict (`load`).
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np

from mtl_jax import __version__
from mtl_jax.core import config as configs
from mtl_jax.core import errors, roles, sites
from mtl_jax.evaluation import scoring
from mtl_jax.export import author as authors
from mtl_jax.inference import volumes
from mtl_jax.models import parameters
from mtl_jax.pipeline import preprocess
from mtl_jax.run import contour_network as drawings
from mtl_jax.run import wiring, workdir
from mtl_jax.train import checkpoint, parallel, step

# What of a configuration a prediction depends on.
_GROUPS = ("role", "data.", "model.", "evaluate.")


@dataclasses.dataclass(frozen=True)
class Description:
    """What a checkpoint says of its network."""

    folder: Path
    config: ml_collections.ConfigDict
    site: sites.Site
    statistics: Mapping[str, Any]
    digest: str
    step: int
    training: Mapping[str, Any] | None  # what it was trained on; None: not told
    drawing: "Description | None"  # of the network whose contours it takes in

    @property
    def role(self) -> roles.Role:
        return roles.get(self.config.role)

    @property
    def author(self) -> authors.Author:
        """Who signs what is exported."""
        name = f"{self.role.name} ({self.site.name})"
        return authors.Author(name, __version__, self.digest)

    @functools.cached_property
    def rules(self) -> scoring.Rules:
        """What a prediction goes through; metrics are those of the site."""
        return scoring.Rules.of(self.config, self.site)

    @functools.cached_property
    def preprocess(self) -> preprocess.Preprocess:
        return wiring.make_preprocess(self.config, self.statistics, self.site)

    @property
    def basis(self) -> dict[str, Any]:
        """What all that it predicts depends on, but for the patient."""
        settings = {
            name: self.config.evaluate[name]
            for name in (*drawings.SETTINGS, "apply_possible_dose_mask")
        }
        drawing = None if self.drawing is None else self.drawing.basis
        return {"checkpoint": self.digest, "drawing": drawing, **settings}


@dataclasses.dataclass(frozen=True)
class Network:
    """A network, ready to predict."""

    about: Description
    predict: Callable[[np.ndarray], dict[str, np.ndarray]]  # images [B, H, W, C]
    batch_size: int
    drawing: "Network | None"


def describe(path: Path) -> Description:
    """What the checkpoint in `path` says of itself, none of its arrays read.

    Of a working directory, the checkpoint that is evaluated, as it is evaluated there.

    Raises:
        CheckpointError: there is none, or one of another version.
    """
    folder, evaluated_as = _locate(path)
    return _described(folder, checkpoint.read_run(folder), evaluated_as)


def _locate(path: Path) -> tuple[Path, dict[str, Any]]:
    """The folder of a step, and how its working directory says it is evaluated."""
    if (path / "run" / "metadata").is_file():
        return path, {}
    home = path if (path / "checkpoints").is_dir() else None
    folder = path / "checkpoints" if home else path
    found = checkpoint.steps(folder)
    if not found:
        # A study's home has one for each role.
        inside = sorted(one.parent.name for one in path.glob("*/checkpoints"))
        such_as = f" ({', '.join(inside[:8])} in it)" if inside else ""
        raise errors.CheckpointError(
            f"{path} holds no checkpoint: give a working directory{such_as}, its "
            "folder `checkpoints`, or one of the steps in that"
        )
    if home and (home / "config.json").is_file():
        flat = workdir.read_json(home / "config.json")
    else:
        home, flat = None, checkpoint.read_run(folder / str(found[-1]))["config"]
    which = flat.get("evaluate.checkpoint", "")  # `_described` tells if it is missing
    chosen = folder / str(checkpoint.evaluated_step(folder, which))
    settings = {key: flat[key] for key in flat if key.startswith("evaluate.")}
    return chosen, settings if home else {}


def _described(
    folder: Path, run: Mapping[str, Any], changes: Mapping[str, Any]
) -> Description:
    # A file of metrics is not in a checkpoint.
    flat = run.get("config", {}) | changes | {"evaluate.metrics": ""}
    known = {key for key in configs.KEYS if key.startswith(_GROUPS)}
    has = {key for key in flat if key.startswith(_GROUPS)}
    if unknown := sorted(known ^ has):
        raise errors.CheckpointError(
            f"checkpoint {folder.name} is of another version of mtl_jax: its "
            f"configuration and this version's differ in {', '.join(unknown)}; use "
            "the version that it was trained with"
        )
    config = configs.unflatten(flat)
    for key in ("site", "statistics", "digest", "step"):
        if key not in run:
            raise errors.CheckpointError(
                f"checkpoint {folder.name} does not say its {key}: it is damaged, or "
                "of another version"
            )
    drawing = None
    if roles.get(config.role).beside_ct == "predicted":
        if "drawing" not in run:
            raise errors.CheckpointError(
                f"checkpoint {folder.name} lacks the network whose contours the role "
                f"{config.role} takes in: it was saved by an earlier version; train it "
                "again"
            )
        drawing = _described(folder, run["drawing"], {})
    return Description(
        folder=folder,
        config=config,
        site=sites.from_json(run["site"]),
        statistics=run["statistics"],
        digest=run["digest"],
        step=run["step"],
        training=run.get("training_data"),
        drawing=drawing,
    )


def load(about: Description) -> Network:
    """The network of `about`, verified and compiled.

    Raises:
        CheckpointError: it is damaged.
    """
    drawing = None
    if about.drawing is not None:
        drawing = _ready(about.drawing, checkpoint.load_drawing, None)
    return _ready(about, checkpoint.load_weights, drawing)


def _ready(
    about: Description, read: Callable[[Path, Any], Any], drawing: Network | None
) -> Network:
    """The network whose weights `read` gives; images of one shape compile it once."""
    settings = about.config
    network = wiring.make_network(settings, None)
    image_shape = (*about.preprocess.image_size, about.preprocess.channels)
    weights = read(about.folder, parameters.shapes(network, image_shape))
    backend, batch_size = parallel.for_prediction(settings.evaluate.batch_size)
    placed = backend.put_state(weights)
    head = settings.model.contour_head
    call = backend.by_slice(functools.partial(step.predict, network, head))

    def straight(image: np.ndarray) -> dict[str, np.ndarray]:
        return call(placed, image)

    predict = straight
    if settings.evaluate.mirror:
        predict = volumes.with_mirror(straight, about.preprocess)
    straight(np.zeros((batch_size, *image_shape), np.float32))
    return Network(about, predict, batch_size, drawing)
