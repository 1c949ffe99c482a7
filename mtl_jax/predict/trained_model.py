"""A trained model from its checkpoint alone: described, loaded, applied to a patient.

Input: a working directory, its folder `checkpoints`, or one of the steps in that.
Output: what the checkpoint says of the model (`describe`); its network, with verified
weights, compiled (`load`); a patient's contours and dose on its own grid (`predict`).
A model may have others that are averaged with it (`averaged`).
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
from mtl_jax.core import errors, records, roles, sites
from mtl_jax.datasets import examples, prepared
from mtl_jax.evaluation import scoring
from mtl_jax.export import author as authors
from mtl_jax.inference import postprocess, volumes
from mtl_jax.models import parameters
from mtl_jax.pipeline import batches, predicted_contours, preprocess, target_distance
from mtl_jax.run import contour_runs, wiring, workdir
from mtl_jax.train import checkpoint, parallel, step

# The configuration keys that a prediction depends on.
_GROUPS = ("role", "data.", "model.", "evaluate.")


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """What a checkpoint says of its model."""

    folder: Path
    config: ml_collections.ConfigDict
    site: sites.Site
    statistics: Mapping[str, Any]
    digest: str
    step: int
    training: Mapping[str, Any] | None  # the training data; None: not recorded
    contour_model: "TrainedModel | None"  # predicts this network's input contours
    others: tuple["TrainedModel", ...] = ()  # whose predictions are averaged with its

    @property
    def role(self) -> roles.Role:
        return roles.get(self.config.role)

    @property
    def author(self) -> authors.Author:
        """The author that exported files name."""
        name = f"{self.role.name} ({self.site.name})"
        if self.others:
            name += f", mean of {1 + len(self.others)} networks"
        digests = (self.digest, *(other.digest for other in self.others))
        return authors.Author(name, __version__, digests)

    @functools.cached_property
    def rules(self) -> scoring.Rules:
        """How predictions are cleaned up and scored; metrics are those of the site."""
        return scoring.Rules.of(self.config, self.site)

    @functools.cached_property
    def preprocess(self) -> preprocess.Preprocess:
        return wiring.make_preprocess(self.config, self.statistics, self.site)

    @property
    def basis(self) -> dict[str, Any]:
        """All that a prediction depends on, except for the patient."""
        contour_basis = self.contour_model.basis if self.contour_model else None
        basis = {
            "checkpoint": self.digest,
            "drawing": contour_basis,
            **contour_runs.settings(self.config),
            "apply_possible_dose_mask": self.config.evaluate.apply_possible_dose_mask,
        }
        if self.others:  # without the key, predictions are of this network alone
            basis["averaged_with"] = [other.basis for other in self.others]
        return basis


@dataclasses.dataclass(frozen=True)
class Network:
    """A model's network with its weights, compiled."""

    model: TrainedModel
    apply: Callable[[np.ndarray], dict[str, np.ndarray]]  # images [B, H, W, C]
    batch_size: int
    contour_network: "Network | None"
    others: tuple["Network", ...] = ()  # whose outputs are averaged with its


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A network's prediction for a patient before clean-up, and its input contours."""

    masks: dict[str, np.ndarray]  # [Z, Y, X] bool by structure, all components
    dose_gy: np.ndarray | None  # [Z, Y, X] float32
    contours_in: dict[str, np.ndarray]  # from the contour network; {} without one

    def cleaned_up(
        self, patient: records.Patient, rules: scoring.Rules
    ) -> records.PredictedVolumes:
        """With the clean-up that `rules` ask for: this is exported."""
        dose_gy, masks = self.dose_gy, self.masks
        if dose_gy is not None:
            dose_gy = rules.doses(patient, dose_gy)[""]
        if rules.largest_component:
            masks = postprocess.largest_of(masks)
        return records.PredictedVolumes(dose_gy, masks)


def describe(path: Path) -> TrainedModel:
    """What the checkpoint in `path` says of its model; no arrays are read.

    Of a working directory: the checkpoint that its configuration evaluates, with the
    evaluation settings of that configuration.

    Raises:
        CheckpointError: there is none, or one of another version.
    """
    folder, settings = _locate(path)
    return _describe(folder, checkpoint.read_run(folder), settings)


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
    else:
        home, flat = None, checkpoint.read_run(folder / str(steps[-1]))["config"]
    which = flat.get("evaluate.checkpoint", "")  # `_describe` reports a missing key
    chosen = folder / str(checkpoint.evaluated_step(folder, which))
    settings = {key: flat[key] for key in flat if key.startswith("evaluate.")}
    return chosen, settings if home else {}


def _describe(
    folder: Path, run: Mapping[str, Any], settings: Mapping[str, Any]
) -> TrainedModel:
    # A file of metrics is not in a checkpoint.
    flat = configs.completed(run.get("config", {}) | settings)
    flat["evaluate.metrics"] = ""
    expected = {key for key in configs.KEYS if key.startswith(_GROUPS)}
    present = {key for key in flat if key.startswith(_GROUPS)}
    if different := sorted(expected ^ present):
        raise errors.CheckpointError(
            f"checkpoint {folder.name} is from another version of mtl_jax: the "
            f"configurations differ in {', '.join(different)}; use the version that "
            "trained it"
        )
    config = configs.unflatten(flat)
    for key in ("site", "statistics", "digest", "step"):
        if key not in run:
            raise errors.CheckpointError(
                f"checkpoint {folder.name} does not contain its {key}: it is damaged, "
                "or from another version"
            )
    contour_model = None
    if roles.get(config.role).input.contoured_by:
        if checkpoint.CONTOUR_NETWORK not in run:
            raise errors.CheckpointError(
                f"checkpoint {folder.name} lacks the contour network that the role "
                f"{config.role} needs: it was saved by an earlier version; train it "
                "again"
            )
        contour_model = _describe(folder, run[checkpoint.CONTOUR_NETWORK], {})
    return TrainedModel(
        folder=folder,
        config=config,
        site=sites.from_json(run["site"]),
        statistics=run["statistics"],
        digest=run["digest"],
        step=run["step"],
        training=run.get("training_data"),
        contour_model=contour_model,
    )


def load(model: TrainedModel) -> Network:
    """The network of `model`, of its contour model and others, verified and compiled.

    Raises:
        CheckpointError: one is damaged.
    """
    contour_network = None
    if model.contour_model is not None:
        contour_network = _load(
            model.contour_model, checkpoint.load_contour_weights, None
        )
    network = _load(model, checkpoint.load_weights, contour_network)
    return dataclasses.replace(network, others=tuple(map(load, model.others)))


def _load(
    model: TrainedModel,
    read: Callable[[Path, Any], Any],
    contour_network: Network | None,
) -> Network:
    """The network with the weights that `read` returns, compiled for one shape."""
    settings = model.config
    network = wiring.make_network(settings, None)
    image_shape = (*model.preprocess.image_size, model.preprocess.channels)
    weights = read(model.folder, parameters.shapes(network, image_shape))
    backend, batch_size = parallel.for_prediction(settings.evaluate.batch_size)
    placed = backend.put_state(weights)
    head = settings.model.contour_head
    predict_slices = backend.by_slice(functools.partial(step.predict, network, head))

    def plain(image: np.ndarray) -> dict[str, np.ndarray]:
        return predict_slices(placed, image)

    apply = plain
    if settings.evaluate.mirror:
        apply = volumes.with_mirror(plain, model.preprocess)
    plain(np.zeros((batch_size, *image_shape), np.float32))
    return Network(model, apply, batch_size, contour_network)


def predict(network: Network, patient: records.Patient) -> Prediction:
    """Contours and dose of `patient`, on the grid [Z, Y, X] of its CT.

    Its structures are the network's input contours, unless a contour network predicts
    them: each of the networks that are averaged has its own, and the first's are
    returned. Only one structure's probabilities are on the CT's grid at a time.
    """
    mean = volumes.Mean()
    contours_in = _add_outputs(network, patient, mean)
    for other in network.others:
        _add_outputs(other, patient, mean)
    rules, masks = network.model.rules, {}
    dose_gy = mean.dose(patient.grid) if "dose" in mean.tasks else None
    if "contours" in mean.tasks:
        masks = mean.masks(
            patient.grid, head=rules.contour_head, threshold=rules.contour_threshold
        )
    return Prediction(masks, dose_gy, contours_in)


def _add_outputs(
    network: Network, patient: records.Patient, mean: volumes.Mean
) -> dict[str, np.ndarray]:
    """Count a network's outputs for `patient` in `mean`; its predicted input contours.

    They are {} without a contour network.
    """
    contours_in: dict[str, np.ndarray] = {}
    if network.contour_network is not None:
        rules = network.contour_network.model.rules
        contours = predict(network.contour_network, patient)
        contours_in = contours.cleaned_up(patient, rules).contours
    model = network.model
    with_distance = model.preprocess.further.target_distance_mm > 0
    slices = _Slices(patient, model.site, contours_in, with_distance)
    feed = batches.evaluation(
        slices.split(), preprocess=model.preprocess, batch_size=network.batch_size
    )
    ((_, outputs),) = volumes.by_patient(feed, network.apply)
    mean.add(outputs, model.preprocess)
    return contours_in


class _Slices:
    """The slices of one patient as a data set has them, without a dose."""

    def __init__(
        self,
        patient: records.Patient,
        site: sites.Site,
        contours_in: Mapping[str, np.ndarray],
        with_distance: bool,
    ) -> None:
        self._patient, self._site = patient, site
        shape = patient.grid.shape
        self._masks = predicted_contours.bits(patient.structures, site, shape)
        self._predicted = None
        if contours_in:
            self._predicted = predicted_contours.bits(contours_in, site, shape)
        self._distance = None
        if with_distance:
            self._distance = target_distance.compute(
                self._masks, patient.grid.spacing_mm, site
            )
        self._no_dose = np.zeros(shape[1:], np.float32)
        self._present = np.array([name in patient.structures for name in site.names])

    def __len__(self) -> int:
        return self._patient.grid.shape[0]

    def __getitem__(self, z: int) -> records.Example:
        example = records.Example(
            ct=self._patient.ct[z],
            dose_gy=self._no_dose,
            masks=self._masks[z],
            present=self._present,
            has_dose=False,
            patient=self._patient.patient_id,
            slice=z,
            spacing_mm=np.asarray(self._patient.grid.spacing_mm),
        )
        if self._predicted is not None:
            example["predicted"] = self._predicted[z]
        if self._distance is not None:
            example["target_distance"] = self._distance[z]
        return example

    def split(self) -> prepared.Split:
        """A split with this patient alone."""
        entry = examples.PatientEntry(
            patient_id=self._patient.patient_id,
            start=0,
            slices=len(self),
            grid=self._patient.grid,
            structures=tuple(self._patient.structures),
            has_dose=False,
            has_mask=False,
            body=np.ones(len(self), bool),
        )
        return prepared.Split("predict", self, (entry,), self._site)
