"""A plan for a phantom: density, targets and organs go in, dose in Gy comes out.

Coplanar beams, nine unless told otherwise. A beam's dose is its fluence across
(blurred: the penumbra) times the depth dose along (build-up, then exponential in the
water-equivalent depth).
Fluences are planned by a multiplicative update that fits the prescription in the
targets while each organ at risk costs what its weight says. Little of it is clinical,
but the dose bends around an organ just where the anatomy makes it.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage, sparse

GANTRY_DEG = tuple(range(0, 360, 40))
ATTENUATION_PER_MM = 0.0048
BUILD_UP_MM = 5.0
PENUMBRA_MM = 5.0  # standard deviation, across the beam
ENDS_MM = 3.0  # the same at a field's ends
SCATTER, SCATTER_MM = 0.04, (8.0, 25.0, 25.0)  # share of the dose, and how far it goes
# Cost of a gray in a voxel of an organ, relative to the targets' pull of 1.
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
    """How one of the beams reaches the voxels P of square slices Z."""

    spread: sparse.csr_array  # [P, U] float32: fluence bins across the beam -> voxels
    depth_dose: np.ndarray  # [P, Z] float32

    def deliver(self, fluence: np.ndarray) -> np.ndarray:
        """Dose [P, Z] of a fluence [U, Z]."""
        return (self.spread @ fluence) * self.depth_dose

    def gather(self, pull: np.ndarray) -> np.ndarray:
        """What each bin would change [U, Z], of what each voxel wants [P, Z]."""
        return self.spread.T @ (pull * self.depth_dose)


def beam(density: np.ndarray, spacing_mm: float, gantry_deg: float) -> Beam:
    """The beam at `gantry_deg` through `density` [Z, N, N] (1: water; square voxels).

    0 degrees enters from the front, 90 from the patient's left (IEC 61217, head first
    supine).
    """
    slices, size, _ = density.shape
    tail = int(np.ceil(3.5 * PENUMBRA_MM / spacing_mm))
    bins = size + 2 * (int(np.ceil(size * (np.sqrt(2) - 1) / 2)) + tail)
    angle = np.radians(gantry_deg)
    along = np.array([np.cos(angle), -np.sin(angle)], np.float32)  # y, x
    across = np.array([np.sin(angle), np.cos(angle)], np.float32)
    centre, middle = (size - 1) / 2, (bins - 1) / 2

    # Rays through the slices, and the water that they have crossed at each step.
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
    """Dose [Z, N, N] in Gy, not yet scaled to a prescription; volumes are [Z, N, N].

    `prescription_gy` is 0 outside the targets; `spacing_mm` is (z, in plane).
    """

    def by_voxel(volume: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(volume.reshape(len(volume), -1).T)

    beams = [beam(density, spacing_mm[1], gantry) for gantry in gantry_deg]
    # The goal reaches a voxel further than the targets: room for the penumbra.
    goal = by_voxel(ndimage.grey_dilation(prescription_gy, size=(3, 3, 3)))
    cost = np.where(body, np.float32(BODY_COST), 0)
    for name, weight in organ_cost.items():
        cost[organs[name]] = weight
    cost = np.where(goal > 0, np.float32(1), by_voxel(cost))

    costs = [b.gather(cost) + np.float32(1e-6) for b in beams]
    wanted = (goal > 0).astype(np.float32)
    fluences = [np.where(b.gather(wanted) > 1e-3, np.float32(20), 0) for b in beams]
    for _ in range(PLANNING_ROUNDS):
        dose = _deliver(beams, fluences)
        pull = np.divide(goal, dose, out=np.zeros_like(dose), where=goal > 0)
        fluences = [
            fluence * b.gather(pull) / worth
            for fluence, b, worth in zip(fluences, beams, costs, strict=True)
        ]
    ends = ENDS_MM / spacing_mm[0]
    fluences = [ndimage.gaussian_filter1d(f, ends, axis=1) for f in fluences]
    dose = _deliver(beams, fluences).T.reshape(density.shape)
    sigma = np.divide(SCATTER_MM, (spacing_mm[0], spacing_mm[1], spacing_mm[1]))
    dose = dose + SCATTER * ndimage.gaussian_filter(dose * body, sigma)
    return np.where(body, dose, 0)


def _deliver(beams: list[Beam], fluences: list[np.ndarray]) -> np.ndarray:
    return np.sum([b.deliver(f) for b, f in zip(beams, fluences, strict=True)], axis=0)
