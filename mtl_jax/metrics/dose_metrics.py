"""What is reported of a predicted dose: errors over the patient, and DVH metrics.

Goes in: both doses on the CT's own grid, and the patient, whose structures serve for
both. Comes out: the values that a template asks for, in its order.
"""

import math

import numpy as np
from scipy import ndimage

from mtl_jax.core import errors, metric_names, records, reported_metrics, sites
from mtl_jax.metrics import dvh, openkbp, surface

# Air in and around a patient lies below, lung mostly too; fat and tissue above.
BODY_HU = -400.0


def score(
    reference_gy: np.ndarray,
    predicted_gy: np.ndarray,
    patient: records.Patient,
    site: sites.Site,
    template: reported_metrics.Template,
) -> list[reported_metrics.Value]:
    """The template's metrics of a predicted dose [Z, Y, X].

    Errors are |prediction - reference|, in the metric's unit. A structure that the
    patient lacks has a NaN, and the note says why.

    Raises:
        GeometryError: a dose is not on the patient's grid.
        RecordError: a dose has NaN or infinite values.
    """
    for what, dose_gy in (("reference", reference_gy), ("predicted", predicted_gy)):
        _check(what, dose_gy, patient)
    values = []
    if template.patient:
        absolute = openkbp.absolute_error(reference_gy, predicted_gy)
        values += [
            _of_patient(name, absolute, reference_gy, patient, site)
            for name in template.patient
        ]
    for structure, names in template.dvh.items():
        values += _of_structure(structure, names, reference_gy, predicted_gy, patient)
    return values


def body(ct_hu: np.ndarray) -> np.ndarray:
    """Where the patient is in a CT [Z, Y, X] in Hounsfield units, bool.

    The largest part above -400 HU that hangs together by voxels' faces in 3D, and the
    holes in its slices (airways, bowel gas); False everywhere where nothing is above.
    """
    found = np.zeros(ct_hu.shape, bool)
    above = ct_hu > BODY_HU
    box = surface.bounding_box(above)
    parts, _ = ndimage.label(above[box])
    sizes = np.bincount(parts.ravel())
    if sizes.size > 1:
        found[box] = parts == 1 + sizes[1:].argmax()
        box = surface.bounding_box(found)
        found[box] = _filled(found[box])
    return found


def _filled(mask: np.ndarray) -> np.ndarray:
    """With what does not reach the edge in its slice, [Z, Y, X]."""
    in_plane = np.zeros((3, 3, 3), bool)
    in_plane[1] = ndimage.generate_binary_structure(2, 1)
    rest, count = ndimage.label(~mask, in_plane)
    filled = np.ones(count + 1, bool)
    for edge in (rest[:, 0], rest[:, -1], rest[:, :, 0], rest[:, :, -1]):
        filled[edge.ravel()] = False
    filled[0] = True  # the mask itself
    return filled[rest]


def _check(what: str, dose_gy: np.ndarray, patient: records.Patient) -> None:
    who = f"patient {patient.patient_id}: the {what} dose"
    if dose_gy.shape != patient.grid.shape:
        raise errors.GeometryError(
            f"{who} has shape {dose_gy.shape}, the grid {patient.grid.shape}; resample "
            "it first with geometry.resample(dose, grid, onto=patient.grid)"
        )
    finite = np.isfinite(dose_gy)
    if not finite.all():
        raise errors.RecordError(
            f"{who} has {np.count_nonzero(~finite)} NaN or infinite values of "
            f"{dose_gy.size}; a score needs a number in every voxel"
        )


def _of_patient(
    name: str,
    absolute: np.ndarray,
    reference_gy: np.ndarray,
    patient: records.Patient,
    site: sites.Site,
) -> reported_metrics.Value:
    """A mean of the absolute error; the reference's value, 0, is that of no error."""
    metric = metric_names.parse(name, "patient")
    note = ""
    if metric.kind == "dose_error":
        error = float(absolute.sum())
        count, none = absolute.size, "the possible-dose mask is empty"
        if patient.possible_dose_mask is None:
            note = "possible-dose mask not known: per voxel of the grid"
        else:
            count = np.count_nonzero(patient.possible_dose_mask)
    else:
        if metric.kind == "dose_mae_body":
            region, none = body(patient.ct - site.ct_offset_hu), "no body in the CT"
        else:
            region = reference_gy >= metric.amount
            none = f"no reference dose of {metric.amount:g} Gy"
        inside = absolute[region]
        error, count = float(inside.sum()), inside.size
    if not count:
        nan = math.nan
        return reported_metrics.Value("", name, metric.unit, nan, nan, nan, none)
    mean = error / count
    return reported_metrics.Value("", name, metric.unit, 0.0, mean, mean, note)


def _of_structure(
    structure: str,
    names: tuple[str, ...],
    reference_gy: np.ndarray,
    predicted_gy: np.ndarray,
    patient: records.Patient,
) -> list[reported_metrics.Value]:
    """DVH metrics of both doses in the patient's own structure."""
    units = [metric_names.parse(name, "dvh").unit for name in names]
    mask = patient.structures.get(structure)
    if not names or mask is None:
        return _without(structure, names, units, "not contoured")
    reference, predicted = dvh.inside(mask, reference_gy, predicted_gy)
    if not reference.size:
        return _without(structure, names, units, "empty in reference")
    voxel = patient.grid.voxel_mm3
    values = []
    for name, unit, before, after in zip(
        names,
        units,
        dvh.metrics(names, reference, voxel),
        dvh.metrics(names, predicted, voxel),
        strict=True,
    ):
        small = dvh.lacks_volume(name, reference.size, voxel)
        note = "structure smaller than that: its minimum dose" if small else ""
        values.append(
            reported_metrics.Value(
                structure, name, unit, before, after, abs(after - before), note
            )
        )
    return values


def _without(
    structure: str, names: tuple[str, ...], units: list[str], note: str
) -> list[reported_metrics.Value]:
    nan = math.nan
    return [
        reported_metrics.Value(structure, name, unit, nan, nan, nan, note)
        for name, unit in zip(names, units, strict=True)
    ]
