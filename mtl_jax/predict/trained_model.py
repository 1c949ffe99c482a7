"""A trained model from its checkpoint alone: described, loaded, applied to a patient.

Input: a working directory, a checkpoint, or a packed network (`run/saved_networks`).
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
from mtl_jax.core import body_region, errors, geometry, records, roles, sites
from mtl_jax.datasets import examples, prepared
from mtl_jax.evaluation import scoring
from mtl_jax.export import author as authors
from mtl_jax.inference import postprocess, volumes
from mtl_jax.models import parameters
from mtl_jax.pipeline import batches, predicted_contours, preprocess, target_distance
from mtl_jax.run import contour_runs, saved_networks, training_data, wiring
from mtl_jax.train import checkpoint, parallel, step
from mtl_jax.zoo import packaged


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
    introduction: str  # what a packed network is, in words; "" for a checkpoint
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

    def preprocess_for(self, grid: geometry.Grid) -> "preprocess.Preprocess":
        """Its preprocessing for a CT on `grid`.

        A network that takes the CT's own pixels cannot read those of another size. A CT
        with pixels beyond those of the training data is read with pixels as there.
        """
        if self.training is None or self.config.data.image_spacing_mm:
            return self.preprocess
        pixel_mm = training_data.usual_pixel_mm(self.training, grid)
        if pixel_mm is None:
            return self.preprocess
        return dataclasses.replace(self.preprocess, image_spacing_mm=pixel_mm)

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
    apply: volumes.Network
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
            dose_gy = rules.doses(_in_body(patient, rules.site), dose_gy)[""]
        if rules.largest_component:
            masks = postprocess.largest_of(masks)
        return records.PredictedVolumes(dose_gy, masks)


def _in_body(patient: records.Patient, site: sites.Site) -> records.Patient:
    """`patient`, with its body as the place of a possible dose if that is not known.

    Networks learn the dose where it is possible. What they predict in the air around
    the body means nothing.
    """
    if patient.possible_dose_mask is not None:
        return patient
    hu = patient.ct - np.float32(site.ct_offset_hu)
    body = body_region.largest(hu, body_region.DATA_HU)
    if not body.any():
        return patient
    return dataclasses.replace(patient, possible_dose_mask=body)


def describe(path: Path) -> TrainedModel:
    """What is stored of the model in `path`; no arrays are read.

    Raises:
        CheckpointError: as `saved_networks.find`, or it is from another version.
    """
    saved = saved_networks.find(path)
    try:
        model = _describe(saved.folder, saved.item, saved.settings)
        _check(model)
    except errors.CheckpointError:
        raise
    # What somebody wrote into a description may be anything, at any place in it.
    except Exception as error:
        raise errors.CheckpointError(
            f"checkpoint {saved.folder.name} has a description that was changed or is "
            f"damaged ({type(error).__name__}: {str(error)[:200]}); get it again"
        ) from error
    return model


def _describe(
    folder: Path, run: Mapping[str, Any], settings: Mapping[str, Any]
) -> TrainedModel:
    config = saved_networks.config_of(folder, run, settings)
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
        introduction=packaged.introduce(run) if "reached" in run else "",
    )


def _check(model: TrainedModel) -> None:
    """Use all that the description of `model` says, as for a small image of air."""
    grid = geometry.Grid((2, 32, 32), (3.0, 3.0, 3.0))
    air = np.full(grid.shape, -1000, np.float32)
    for each in filter(None, (model, model.contour_model)):
        _ = each.author, each.basis, each.rules
        for name in each.config.data.structures:
            each.site.structure(name)
        each.preprocess_for(grid).network_grid(grid)
        if not all(np.isfinite([each.preprocess.ct_mean, each.preprocess.ct_std])):
            raise ValueError("the statistics of the CT are not finite")
        if each.training is not None:
            training_data.differences(each.training, air, grid, "")
            _ = each.training["patients"] + 1, dict(each.training["structures"])


def load(model: TrainedModel) -> Network:
    """The network of `model`, of its contour model and others, verified and compiled.

    Raises:
        CheckpointError: one is damaged.
    """
    batches.take_default_flags()
    contour_network = None
    if model.contour_model is not None:
        contour_network = _load(
            model.contour_model, checkpoint.load_contour_weights, None
        )
    network = _load(model, saved_networks.load_weights, contour_network)
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

    def plain(image: np.ndarray) -> Mapping[str, Any]:
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
    preprocess = model.preprocess_for(patient.grid)
    with_distance = preprocess.further.target_distance_mm > 0
    slices = _Slices(patient, model.site, contours_in, with_distance)
    feed = batches.evaluation(
        slices.split(), preprocess=preprocess, batch_size=network.batch_size
    )
    ((_, outputs),) = volumes.by_patient(feed, network.apply)
    mean.add(outputs, preprocess)
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
