"""A planned dose for a phantom.

Input: density, targets and organs at risk. Output: dose in Gy.

Beams are coplanar, nine by default. The dose of a beam is its fluence across the beam,
blurred by the penumbra, times the depth dose along it: a build-up, then an exponential
in the water-equivalent depth. A multiplicative update fits the fluences to the
prescription in the targets, at a cost for the dose in each organ at risk. The model is
far simpler than a clinical one, but the dose bends around organs where the anatomy
demands it.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage, sparse

GANTRY_DEG = tuple(range(0, 360, 40))
ATTENUATION_PER_MM = 0.0048
BUILD_UP_MM = 5.0
PENUMBRA_MM = 5.0  # standard deviation across the beam, in plane
ENDS_MM = 3.0  # standard deviation along z
SCATTER, SCATTER_MM = 0.04, (8.0, 25.0, 25.0)  # share of the dose; standard deviation
# Cost of 1 Gy in a voxel of an organ; in a target voxel the weight is 1.
ORGAN_COST = {
    "SpinalCord": 0.45,
    "Brainstem": 0.4,
    "LeftParotid": 0.22,
    "RightParotid": 0.22,
    "Larynx": 0.08,
    "Mandible": 0.04,
}
BODY_COST = 0.01
PLANNING_ROUNDS = 14


@dataclasses.dataclass(frozen=True)
class Beam:
    """The effect of one beam on P voxels in each of Z square slices."""

    spread: sparse.csr_array  # [P, U] float32: from U fluence bins to voxels
    depth_dose: np.ndarray  # [P, Z] float32

    def deliver(self, fluence: np.ndarray) -> np.ndarray:
        """Dose [P, Z] of a `fluence` [U, Z]."""
        return (self.spread @ fluence) * self.depth_dose

    def gather(self, voxel_weights: np.ndarray) -> np.ndarray:
        """Sum `voxel_weights` [P, Z] over the voxels that each bin reaches: [U, Z].

        This is the transpose of `deliver`.
        """
        return self.spread.T @ (voxel_weights * self.depth_dose)


def beam(density: np.ndarray, spacing_mm: float, gantry_deg: float) -> Beam:
    """The beam at `gantry_deg` through `density` [Z, N, N], which is 1 in water.

    Voxels are square in plane, with sides of `spacing_mm`. At 0 degrees the beam enters
    from the front, at 90 from the patient's left (IEC 61217, head first supine).
    """
    slices, size, _ = density.shape
    tail = int(np.ceil(3.5 * PENUMBRA_MM / spacing_mm))
    bins = size + 2 * (int(np.ceil(size * (np.sqrt(2) - 1) / 2)) + tail)
    angle = np.radians(gantry_deg)
    along = np.array([np.cos(angle), -np.sin(angle)], np.float32)  # y, x
    across = np.array([np.sin(angle), np.cos(angle)], np.float32)
    centre, middle = (size - 1) / 2, (bins - 1) / 2

    # Rays through the slices, and their water-equivalent depth at each step.
    steps = np.arange(bins, dtype=np.float32) - np.float32(middle)
    rows, columns = (
        np.rint(steps[:, None] * along[i] + steps[None, :] * across[i] + centre)
        for i in (0, 1)
    )
    inside = (rows >= 0) & (rows < size) & (columns >= 0) & (columns < size)
    index = np.where(inside, rows * size + columns, 0).astype(np.intp)
    voxels = np.ascontiguousarray(density.reshape(slices, -1).T)  # [P, Z]
    rays = voxels[index] * inside[:, :, None]  # [T, U, Z]
    depth_mm = (np.cumsum(rays, axis=0) - 0.5 * rays) * np.float32(spacing_mm)

    y, x = (axis.ravel() - np.float32(centre) for axis in np.indices((size, size)))
    t, u = y * along[0] + x * along[1] + middle, y * across[0] + x * across[1] + middle
    depth_mm = depth_mm[np.rint(t).astype(np.intp), np.rint(u).astype(np.intp)]
    depth_dose = np.exp(-np.float32(ATTENUATION_PER_MM) * depth_mm)
    depth_dose *= 1 - np.float32(0.55) * np.exp(-depth_mm / np.float32(BUILD_UP_MM))

    near = np.rint(u)[:, None] + np.arange(-tail, tail + 1)
    weight = np.exp(-0.5 * np.square((near - u[:, None]) * spacing_mm / PENUMBRA_MM))
    weight /= weight.sum(axis=1, keepdims=True)
    starts = np.arange(size * size + 1) * near.shape[1]
    spread = sparse.csr_array(
        (weight.ravel().astype(np.float32), near.ravel().astype(np.int32), starts),
        shape=(size * size, bins),
    )
    return Beam(spread, depth_dose)


def plan(
    *,
    density: np.ndarray,
    body: np.ndarray,
    prescription_gy: np.ndarray,
    organs: dict[str, np.ndarray],
    spacing_mm: tuple[float, float],
    organ_cost: Mapping[str, float] = ORGAN_COST,
    gantry_deg: Sequence[float] = GANTRY_DEG,
) -> np.ndarray:
    """Dose [Z, N, N] in Gy, not yet normalised to the prescription.

    Args:
        density: float [Z, N, N], relative to water.
        body: bool [Z, N, N]; the dose is 0 outside.
        prescription_gy: float32 [Z, N, N], 0 outside the targets.
        organs: bool [Z, N, N] by name; all those of `organ_cost`.
        spacing_mm: between slices, and in plane.
        organ_cost: cost of dose by organ, relative to the targets' weight of 1.
        gantry_deg: gantry angles of the beams.
    """

    def by_voxel(volume: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(volume.reshape(len(volume), -1).T)

    beams = [beam(density, spacing_mm[1], gantry) for gantry in gantry_deg]
    # The goal is one voxel larger than the targets, to leave room for the penumbra.
    goal = by_voxel(ndimage.grey_dilation(prescription_gy, size=(3, 3, 3)))
    cost = np.where(body, np.float32(BODY_COST), 0)
    for name, weight in organ_cost.items():
        cost[organs[name]] = weight
    cost = np.where(goal > 0, np.float32(1), by_voxel(cost))

    costs = [b.gather(cost) + np.float32(1e-6) for b in beams]
    targets = (goal > 0).astype(np.float32)
    fluences = [np.where(b.gather(targets) > 1e-3, np.float32(20), 0) for b in beams]
    for _ in range(PLANNING_ROUNDS):
        dose = _deliver(beams, fluences)
        ratio = np.divide(goal, dose, out=np.zeros_like(dose), where=goal > 0)
        fluences = [
            fluence * b.gather(ratio) / bin_cost
            for fluence, b, bin_cost in zip(fluences, beams, costs, strict=True)
        ]
    ends_sigma = ENDS_MM / spacing_mm[0]
    fluences = [ndimage.gaussian_filter1d(f, ends_sigma, axis=1) for f in fluences]
    dose = _deliver(beams, fluences).T.reshape(density.shape)
    sigma = np.divide(SCATTER_MM, (spacing_mm[0], spacing_mm[1], spacing_mm[1]))
    dose = dose + SCATTER * ndimage.gaussian_filter(dose * body, sigma)
    return np.where(body, dose, 0)


def _deliver(beams: list[Beam], fluences: list[np.ndarray]) -> np.ndarray:
    return np.sum([b.deliver(f) for b, f in zip(beams, fluences, strict=True)], axis=0)
