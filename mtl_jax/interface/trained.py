"""A trained network in Python: load it, and predict CTs with it.

Input: a working directory, a checkpoint, or the name of a network that comes with the
package; and CTs. Output: dose in Gy and masks on the CT's own grid. For research only.

>>> import mtl_jax
>>> model = mtl_jax.load_model("multi")
>>> made = model.predict(ct, spacing_mm=(2.5, 1.0, 1.0))  # doctest: +SKIP
>>> made.dose_gy.shape == ct.shape, list(made.masks)  # doctest: +SKIP
(True, ['Brainstem', 'SpinalCord', 'LeftParotid', 'RightParotid'])
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtl_jax.core import errors, sites
from mtl_jax.export import ct_reference
from mtl_jax.interface import images, patients
from mtl_jax.predict import averaged, case_checks, cases, result_checks, trained_model
from mtl_jax.sources.nifti import oriented
from mtl_jax.train import compilation
from mtl_jax.zoo import packaged


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a network predicts for a CT, in the order of the CT's own array."""

    dose_gy: np.ndarray | None  # float32; None: the network predicts no dose
    masks: dict[str, np.ndarray]  # bool, by structure; {} without contours
    warnings: tuple[str, ...] = ()  # reasons not to trust it, a sentence each
    site: sites.Site | None = dataclasses.field(
        default=None, repr=False
    )  # of the network


class Model:
    """A trained network, or several whose predictions are averaged."""

    def __init__(self, network: trained_model.Network) -> None:
        self._network = network

    def __repr__(self) -> str:
        return f"<mtl_jax.Model {self.role} of {self.site}: {self.structures}>"

    @property
    def role(self) -> str:
        """The network's role, such as `multi`: what goes in and comes out."""
        return self._network.model.role.name

    @property
    def site(self) -> str:
        """The treatment site."""
        return self._network.model.site.name

    @property
    def structures(self) -> tuple[str, ...]:
        """The structures that it contours, or that it needs as input."""
        return tuple(self._network.model.config.data.structures)

    @property
    def prescription_gy(self) -> float:
        """The prescription of the plans that it learned from."""
        return float(self._network.model.config.data.prescription_gy)

    def predict(
        self,
        ct: Any,
        *,
        spacing_mm: Sequence[float] | None = None,
        contours: Mapping[str, np.ndarray] | None = None,
    ) -> Prediction:
        """Contours and dose of a patient.

        Args:
            ct: in Hounsfield units. A NumPy array [Z, Y, X] whose axes run to the head,
                to the back and to the patient's left; a NIfTI file or an image of
                nibabel or SimpleITK, in any order of axes; a list of pydicom's slices
                or the folder of a DICOM series, whose result runs as an array's; or a
                Patient, whose dose is not read, and contours only if the role needs
                them.
            spacing_mm: voxel size (z, y, x) of an array; other CTs have their own.
            contours: masks by structure in the order of the CT's array, for a role that
                needs contours as input; by default those of the Patient.

        Raises:
            SourceError: `ct` is no CT in Hounsfield units, or contours are missing.
        """
        image, model = images.read(ct, spacing_mm), self._network.model
        possible = None
        if isinstance(ct, patients.Patient):
            possible = ct.possible_dose_mask
            if contours is None and model.role.input.needs_rtstruct:
                contours = ct.structures
        case = _case(image, model, contours or {}, possible)
        warnings = case_checks.warnings(case, model)
        raw = trained_model.predict(self._network, case.patient)
        made = raw.cleaned_up(case.patient, model.rules)
        return Prediction(
            None if made.dose_gy is None else image.own(made.dose_gy),
            {name: image.own(mask) for name, mask in made.contours.items()},
            (*warnings, *result_checks.failures(made, model)),
            model.site,
        )


def load_model(source: str | os.PathLike[str] = packaged.DEFAULT) -> Model:
    """The trained network of `source`, verified and compiled.

    Args:
        source: a working directory, its folder `checkpoints`, a step in it, the name of
            a network that comes with the package, or what `fit` returned.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    compilation.keep_programs()
    model = averaged.describe([Path(source).expanduser()])
    return Model(trained_model.load(model))


def _case(
    image: oriented.Image,
    model: trained_model.TrainedModel,
    contours: Mapping[str, np.ndarray],
    possible_dose_mask: np.ndarray | None,
) -> cases.Case:
    """The case of a CT, as `predict` reads it from files."""
    if bool(contours) != model.role.input.needs_rtstruct:
        needs = "needs" if model.role.input.needs_rtstruct else "takes no"
        raise errors.SourceError(
            f"the role {model.role.name} {needs} contours as input"
        )
    own_shape = image.own(image.voxels).shape
    for name, mask in contours.items():
        if np.shape(mask) != own_shape:
            raise errors.SourceError(
                f"the contour {name} has the shape {np.shape(mask)}, the CT {own_shape}"
            )
    masks = {n: image.canonical(np.asarray(m, bool)) for n, m in contours.items()}
    patient = patients.as_record(
        patients.Patient(
            image.voxels, image.grid, masks, None, possible_dose_mask, "ct"
        ),
        model.site,
    )
    if contours:
        cases.check_contours(patient, model)
    return cases.Case(
        patient,
        ct_reference.invented(image.grid, patient_id="ct"),
        body_part="",
        notes=(),
    )
