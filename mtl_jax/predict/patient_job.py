"""One patient from its folder to its files, or not at all; and what is done already.

A patient's folder has a statistics.json that says what it was made of: checkpoint,
settings, input. Where all of that is the same, there is nothing to do.
"""

import dataclasses
import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mtl_jax import __version__
from mtl_jax.core import errors
from mtl_jax.evaluation import scoring
from mtl_jax.predict import (
    cases,
    inputs,
    output_files,
    predictor,
    statistics,
    trained_model,
    whole_folders,
)
from mtl_jax.run import training_data, workdir


@dataclasses.dataclass(frozen=True)
class Order:
    """What is asked for, the same for every patient."""

    about: trained_model.Description
    out: Path
    how: cases.How
    contours: cases.Place  # where the contours are that the role takes in
    reference: cases.Place  # to evaluate against; None: not asked for
    formats: output_files.Formats

    def folder(self, one: inputs.Input) -> Path:
        """Where the patient's files go."""
        return self.out / one.patient_id

    def basis(self, one: inputs.Input) -> dict[str, Any]:
        """What the patient's files depend on; nothing of it tells who it is."""
        places = (self.contours, self.reference, self.formats.plan)
        beside = [place for place in places if isinstance(place, Path)]
        # A mapping has names of ROIs, which are foreign text.
        reading = repr((self.how.options, sorted(self.how.mapping.items())))
        return {
            "version": __version__,
            "network": self.about.basis,
            "input": inputs.fingerprint(one, beside),
            "read_with": hashlib.sha256(reading.encode()).hexdigest(),
            "evaluated": self.reference is not None,
            "with_plan": self.formats.plan is not None,
            "dicom": self.formats.dicom,
            "nifti": self.formats.nifti,
        }


def is_done(order: Order, one: inputs.Input, basis: Mapping[str, Any]) -> bool:
    """Whether the patient's folder is what `deliver` would make of `basis`."""
    folder = order.folder(one)
    try:
        said = workdir.read_json(folder / output_files.STATISTICS)
        return said["basis"] == basis and _names(folder).issuperset(said["files"])
    except (errors.WorkdirError, KeyError, TypeError):
        return False


def _names(folder: Path) -> set[str]:
    """The files in `folder` and below."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
    }


def deliver(
    order: Order,
    one: inputs.Input,
    basis: Mapping[str, Any],
    network: trained_model.Network,
    tell: Callable[[str], None],
) -> None:
    """Make the patient's folder; `tell` is called with each warning.

    Raises:
        MtlError: it cannot be made, and why; what was there before stays.
    """
    about, clock = order.about, Clock()
    case = cases.read(one, about, order.how, order.contours)
    warnings = unlike_training(case, about)
    for warning in warnings:
        tell(warning)
    clock.stop("read")
    predicted = predictor.predict(network, case.patient)
    found = predicted.as_configured(case.patient, about.rules)
    clock.stop("predict")
    with whole_folders.whole(order.folder(one)) as folder:
        told = predicted.drawn or case.patient.structures
        said = output_files.write(folder, case, found, told, about, order.formats)
        clock.stop("write")
        if order.reference is not None:
            patient = cases.read_reference(one, about, order.how, order.reference)
            rows = scoring.score_arrays(
                patient,
                predicted.dose_gy,
                about.rules.variants(predicted.masks),
                about.rules,
            )
            scoring.write_csv(rows, folder / output_files.EVALUATION)
            clock.stop("evaluate")
        statement = {
            "patient": one.patient_id,
            **statistics.of_model(about),
            **said,
            "warnings": warnings,
            "notes": list(case.notes),
            "seconds": clock.seconds,
            "files": sorted(_names(folder)),
            "basis": basis,
        }
        workdir.write_json(statement, folder / output_files.STATISTICS)


def unlike_training(case: cases.Case, about: trained_model.Description) -> list[str]:
    """What of the CT is unlike what the network was trained on, in words."""
    if about.training is None:
        return []
    hu = case.patient.ct - about.site.ct_offset_hu
    return training_data.unlike(about.training, hu, case.patient.grid, case.body_part)


class Clock:
    """Seconds by what was done in them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def stop(self, what: str) -> None:
        """What was done since the last call is `what`."""
        now = time.perf_counter()
        self.seconds[what] = round(now - self._since, 3)
        self._since = now
