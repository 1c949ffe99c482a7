"""Yardsticks: predictors that use no image, to compare the networks with.

Input: a training split. Output: Yardsticks, which predict for a Patient like a network
and are scored by the same code. They average the training patients voxel by voxel (if
arrays differ in shape: on a shared grid around the CT's centre). Two of them get
information that no network of the paper has: the targets with their prescriptions, or
the true centroid of an organ.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from tqdm import tqdm

from mtl_jax.core import geometry, records, roles, sites
from mtl_jax.datasets import prepared
from mtl_jax.inference import volumes


@dataclasses.dataclass(frozen=True)
class Entry:
    """A yardstick as tables list it."""

    task: roles.Task
    label: str  # names the patient data that the yardstick is given, if any


TABLE = {
    "mean_dose_map": Entry("dose", "mean dose map"),
    "plain_mean_dose_map": Entry("dose", "plain mean dose map"),
    "mean_dose_map_with_prescriptions": Entry(
        "dose", "mean dose map, given target prescriptions"
    ),
    "prior_map": Entry("contours", "prior map"),
    "mean_shape_at_true_centroid": Entry(
        "contours", "mean shape, given the true centroid"
    ),
}

# Candidate thresholds: percentages of the training patients.
LEVELS = np.arange(1, 100)


class Yardstick(Protocol):
    """Something that predicts without an image."""

    def predict(self, patient: records.Patient) -> volumes.Prediction:
        """The prediction for `patient`, on its grid."""
        ...


def fit(
    split: prepared.Split,
    site: sites.Site,
    structures: Sequence[str],
    *,
    on: prepared.Split,
) -> dict[str, Yardstick]:
    """The yardsticks of a training split, by name; each patient is read once.

    They share a grid if the arrays differ in shape, within the training split or in the
    split `on` which they are scored.
    """
    shapes = {entry.grid.shape for entry in (*split.patients, *on.patients)}
    shared = None
    if len(shapes) > 1:
        shared = covering_grid([entry.grid for entry in split.patients])
        shapes = {shared.shape}
    (shape,) = shapes
    total, count, doses = np.zeros(shape), np.zeros(shape), 0
    voxels: dict[str, list[np.ndarray]] = {name: [] for name in structures}
    for index in tqdm(range(len(split.patients)), desc="yardsticks", unit="pt"):
        patient = split.volume(index)
        if shared is not None:
            patient = lay_onto(patient, shared)
        if patient.dose_gy is not None:
            covers = patient.possible_dose_mask
            covers = np.ones(shape, bool) if covers is None else covers
            total[covers] += patient.dose_gy[covers]
            count += covers
            doses += 1
        for name in structures:
            if name in patient.structures:
                voxels[name].append(np.argwhere(patient.structures[name]))

    def on_own_grid(yardstick: Yardstick) -> Yardstick:
        return yardstick if shared is None else OnSharedGrid(yardstick, shared)

    fitted: dict[str, Yardstick] = {}
    if count.any():
        mean = (total / np.maximum(count, 1)).astype(np.float32)
        plain = (total / doses).astype(np.float32)
        fitted["mean_dose_map"] = on_own_grid(MeanDoseMap(mean))
        fitted["plain_mean_dose_map"] = on_own_grid(MeanDoseMap(plain))
        fitted["mean_dose_map_with_prescriptions"] = PaintedDoseMap(
            fitted["mean_dose_map"], site
        )
    if any(voxels.values()):
        for name, centred in (
            ("prior_map", False), ("mean_shape_at_true_centroid", True)
        ):  # fmt: skip
            fitted[name] = on_own_grid(PriorMap.fit(voxels, shape, at_centroid=centred))
    return fitted


@dataclasses.dataclass(frozen=True)
class OnSharedGrid:
    """A yardstick on a shared grid, read at the voxels of each patient."""

    yardstick: Yardstick
    grid: geometry.Grid

    def predict(self, patient: records.Patient) -> volumes.Prediction:
        shared = self.yardstick.predict(lay_onto(patient, self.grid))
        grids = {"grid": self.grid, "at": patient.grid}
        dose_gy, contours = shared.dose_gy, shared.contours
        if dose_gy is not None:
            dose_gy = read_at(dose_gy, order=1, **grids)
        if contours is not None:
            contours = np.stack([read_at(c, order=0, **grids) for c in contours])
        return volumes.Prediction(patient.grid, dose_gy, contours, shared.structures)


@dataclasses.dataclass(frozen=True)
class MeanDoseMap:
    """A mean of the training doses.

    It is the mean over the patients whose possible-dose mask covers the voxel. The
    plain one is the mean over all patients.
    """

    dose_gy: np.ndarray  # [Z, Y, X] float32

    def predict(self, patient: records.Patient) -> volumes.Prediction:
        return volumes.Prediction(patient.grid, self.dose_gy, None, ())


@dataclasses.dataclass(frozen=True)
class PaintedDoseMap:
    """A dose map in which the patient's targets have their prescriptions."""

    map: Yardstick
    site: sites.Site

    def predict(self, patient: records.Patient) -> volumes.Prediction:
        mean = self.map.predict(patient).dose_gy
        assert mean is not None
        dose_gy = mean.copy()
        targets = [s for s in self.site.structures if s.target_gy is not None]
        for target in sorted(targets, key=lambda s: s.target_gy or 0.0):
            if target.name in patient.structures:
                dose_gy[patient.structures[target.name]] = target.target_gy
        return volumes.Prediction(patient.grid, dose_gy, None, ())


@dataclasses.dataclass(frozen=True)
class PriorMap:
    """Voxels that are inside a structure in enough of the training patients.

    With `at_centroid`, the training shapes are aligned by their centroids, rounded to
    voxels, and the mean shape is placed at the centroid of the patient's own contour.
    """

    inside: Mapping[str, np.ndarray]  # [Z, Y, X] int32: patients, by structure
    patients: Mapping[str, int]  # in total, by structure
    threshold: Mapping[str, int]  # percent; has the highest mean Dice in training
    at_centroid: bool

    @classmethod
    def fit(
        cls,
        voxels: Mapping[str, Sequence[np.ndarray]],
        shape: tuple[int, int, int],
        *,
        at_centroid: bool,
    ) -> "PriorMap":
        """Count the `voxels` [V, 3] of each training patient, by structure."""
        inside, threshold = {}, {}
        for name, patients in voxels.items():
            moved = [
                _inside(v - _offset(v, shape), shape) if at_centroid else v
                for v in patients
            ]
            counts = np.zeros(shape, np.int32)
            for indices in moved:
                counts[tuple(indices.T)] += 1
            inside[name] = counts
            threshold[name] = _best_threshold(counts, moved)
        numbers = {name: len(patients) for name, patients in voxels.items()}
        return cls(inside, numbers, threshold, at_centroid)

    def predict(self, patient: records.Patient) -> volumes.Prediction:
        names = tuple(self.inside)
        contours = np.zeros((len(names), *patient.grid.shape), np.float16)
        for mask, name in zip(contours, names, strict=True):
            level = _counts(self.threshold[name], self.patients[name])
            indices = np.argwhere(self.inside[name] >= level)
            if self.at_centroid:
                own = np.argwhere(patient.structures.get(name, np.zeros((1, 1, 1))))
                if not len(own):
                    continue  # no centroid is known
                indices = _inside(indices + _offset(own, mask.shape), mask.shape)
            mask[tuple(indices.T)] = 1
        return volumes.Prediction(patient.grid, None, contours, names)


def _offset(indices: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Whole voxels from the middle of the array to the centroid of `indices`."""
    middle = np.asarray(shape) // 2
    if not len(indices):
        return np.zeros(3, int)
    return np.rint(indices.mean(0)).astype(int) - middle


def _inside(indices: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return indices[np.all((indices >= 0) & (indices < shape), axis=1)]


def _counts(percent: np.ndarray | int, patients: int) -> np.ndarray | int:
    """The smallest number that is at least `percent` of `patients`, and at least 1."""
    return np.maximum(-(-percent * patients // 100), 1)


def _best_threshold(inside: np.ndarray, patients: Sequence[np.ndarray]) -> int:
    """The level with the highest mean Dice; `patients` are voxels inside, [V, 3]."""
    levels = np.asarray(_counts(LEVELS, len(patients)))
    sizes = np.array([np.count_nonzero(inside >= level) for level in levels])
    dice = np.zeros(len(levels))
    for indices in patients:
        shared = len(indices) - np.searchsorted(
            np.sort(inside[tuple(indices.T)]), levels
        )
        dice += 2 * shared / np.maximum(sizes + len(indices), 1)
    return int(LEVELS[np.argmax(dice)])


# Finer voxels would not make a mean over patients sharper, only larger.
FINEST_MM = 3.0


def covering_grid(grids: Sequence[geometry.Grid]) -> geometry.Grid:
    """A grid of the median spacing, at least 3 mm, that covers each of `grids`."""
    spacings = np.array([grid.spacing_mm for grid in grids])
    sizes = spacings * np.array([grid.shape for grid in grids])
    spacing = np.maximum(np.median(spacings, axis=0), FINEST_MM)
    shape = np.ceil(sizes.max(axis=0) / spacing - 1e-6).astype(int)
    z, y, x = shape.tolist()
    return geometry.Grid((z, y, x), tuple(spacing.tolist()))


def lay_onto(patient: records.Patient, onto: geometry.Grid) -> records.Patient:
    """`patient` on the grid `onto`, with a CT of zeros.

    Voxels outside the CT are outside the possible-dose mask.
    """

    def mask(volume: np.ndarray) -> np.ndarray:
        return read_at(volume, patient.grid, at=onto, order=0)

    covers = patient.possible_dose_mask
    dose_gy = patient.dose_gy
    if dose_gy is not None:
        dose_gy = read_at(dose_gy, patient.grid, at=onto, order=1)
    return records.Patient(
        patient_id=patient.patient_id,
        grid=onto,
        ct=np.zeros(onto.shape, np.float32),
        structures={name: mask(m) for name, m in patient.structures.items()},
        dose_gy=dose_gy,
        possible_dose_mask=mask(
            np.ones(patient.grid.shape, bool) if covers is None else covers
        ),
    )


def read_at(
    volume: np.ndarray, grid: geometry.Grid, *, at: geometry.Grid, order: int
) -> np.ndarray:
    """`volume` [Z, Y, X] on `grid`, read at the voxels of `at` with equal centres."""
    return geometry.resample(volume, _centred(grid), _centred(at), order=order)


def _centred(grid: geometry.Grid) -> geometry.Grid:
    """The grid with its centre at 0 mm."""
    size = (np.array(grid.shape) - 1) * np.array(grid.spacing_mm)
    z, y, x = (-size / 2).tolist()
    return dataclasses.replace(grid, origin_mm=(x, y, z), direction=geometry.CANONICAL)
