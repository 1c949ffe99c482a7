"""Warnings about a patient for whom a network may not be made.

Input: a Case, and the model. Output: sentences: how the CT differs from the training
data, what the network does not see of it, which contours it lacks. The patient is
predicted all the same.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from mtl_jax.core import body_region, geometry
from mtl_jax.predict import cases, trained_model
from mtl_jax.run import training_data

# Part of the body outside the network's image; a couch and an arm are less.
UNSEEN = 0.1
# Part of the training patients in whom an input structure was contoured.
USUAL = 0.9


def warnings(case: cases.Case, model: trained_model.TrainedModel) -> list[str]:
    """The warnings, a sentence each; also of the networks averaged with `model`."""
    found = (_of_one(case, each) for each in (model, *model.others))
    return list(dict.fromkeys(itertools.chain(*found)))


def _of_one(case: cases.Case, model: trained_model.TrainedModel) -> Iterator[str]:
    hu, grid = case.patient.ct - np.float32(model.site.ct_offset_hu), case.patient.grid
    if model.training is not None:
        yield from training_data.differences(model.training, hu, grid, case.body_part)
    preprocess = model.preprocess_for(grid)
    if preprocess is not model.preprocess:
        yield (
            f"the CT is read with pixels of {preprocess.image_spacing_mm:.2f} mm, as "
            "in training"
        )
    yield from _unseen(hu, grid, preprocess.network_grid(grid))
    yield from _missing_contours(case, model)


def _unseen(hu: np.ndarray, grid: geometry.Grid, image: geometry.Grid) -> Iterator[str]:
    """What of the body [Z, Y, X] is outside of the network's `image`."""
    inside = [slice(None)]
    for axis in (1, 2):
        # Both grids have the same centre; a voxel counts by its own.
        half = image.shape[axis] * image.spacing_mm[axis] / 2
        steps = np.arange(grid.shape[axis]) - (grid.shape[axis] - 1) / 2
        seen = np.flatnonzero(np.abs(steps * grid.spacing_mm[axis]) <= half)
        inside.append(slice(seen[0], seen[-1] + 1))
    body = hu > body_region.DATA_HU
    count = np.count_nonzero(body)
    part = 1 - np.count_nonzero(body[tuple(inside)]) / max(count, 1)
    if count and part > UNSEEN:
        y, x = np.multiply(image.shape, image.spacing_mm)[1:]
        yield (
            f"the network's image shows {y:.0f} x {x:.0f} mm (y, x): {part:.0%} of the "
            "body is outside, and gets no dose and no contour"
        )


def _missing_contours(
    case: cases.Case, model: trained_model.TrainedModel
) -> Iterator[str]:
    """The contours that the input lacks, but nearly all training patients had."""
    if not model.role.input.needs_rtstruct or model.training is None:
        return
    names = model.config.data.structures
    if not model.role.input.by_structure:
        names = model.site.names
    patients, counts = model.training["patients"], model.training["structures"]
    missing = [
        name
        for name in names
        if name not in case.patient.structures
        and counts.get(name, 0) >= USUAL * patients
    ]
    if missing:
        yield (
            f"no contour of {', '.join(missing)}, which nearly all training patients "
            "had: the network takes its absence as empty"
        )
