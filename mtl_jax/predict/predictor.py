"""A patient's CT to contours and dose on its own grid.

Goes in: a Network and a Patient. Comes out: a Predicted. No more than one structure's
probabilities are on the CT's grid at a time.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from mtl_jax.core import records, sites
from mtl_jax.datasets import examples, prepared
from mtl_jax.evaluation import scoring
from mtl_jax.inference import postprocess, volumes
from mtl_jax.pipeline import batches, predicted_contours
from mtl_jax.predict import trained_model


@dataclasses.dataclass(frozen=True)
class Predicted:
    """What a network says of a patient, before clean-up; and what it was told."""

    masks: dict[str, np.ndarray]  # [Z, Y, X] bool by structure, all pieces
    dose_gy: np.ndarray | None  # [Z, Y, X] float32
    drawn: dict[str, np.ndarray]  # by the network that draws for it

    def as_configured(
        self, patient: records.Patient, rules: scoring.Rules
    ) -> records.PredictedVolumes:
        """With the clean-up that `rules` ask for: what is exported."""
        dose_gy, masks = self.dose_gy, self.masks
        if dose_gy is not None:
            dose_gy = rules.doses(patient, dose_gy)[""]
        if rules.largest_component:
            masks = postprocess.largest_of(masks)
        return records.PredictedVolumes(dose_gy, masks)


def predict(network: trained_model.Network, patient: records.Patient) -> Predicted:
    """What `network` says of `patient`, whose structures are what it is told."""
    drawn: dict[str, np.ndarray] = {}
    if network.drawing is not None:
        rules = network.drawing.about.rules
        drawn = predict(network.drawing, patient).as_configured(patient, rules).contours
    about = network.about
    source = _Slices(patient, about.site, drawn)
    feed = batches.evaluation(
        source.split(), preprocess=about.preprocess, batch_size=network.batch_size
    )
    ((_, outputs),) = volumes.by_patient(feed, network.predict)
    dose_gy, masks = None, {}
    if "dose" in outputs:
        dose_gy = volumes.restore_dose(outputs["dose"], patient.grid, about.preprocess)
    if "contours" in outputs:
        for channel, name in enumerate(about.preprocess.structures):
            masks[name] = volumes.restore_mask(
                outputs["contours"],
                channel,
                patient.grid,
                about.preprocess,
                about.rules.contour_threshold,
            )
    return Predicted(masks, dose_gy, drawn)


class _Slices:
    """The slices of one patient as a data set would have them, without a dose."""

    def __init__(
        self,
        patient: records.Patient,
        site: sites.Site,
        drawn: Mapping[str, np.ndarray],
    ) -> None:
        self._patient, self._site = patient, site
        shape = patient.grid.shape
        self._masks = predicted_contours.bits(patient.structures, site, shape)
        self._drawn = predicted_contours.bits(drawn, site, shape) if drawn else None
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
        if self._drawn is not None:
            example["predicted"] = self._drawn[z]
        return example

    def split(self) -> prepared.Split:
        """A split of this patient alone."""
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
