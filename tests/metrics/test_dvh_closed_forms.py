"""DVHs of a sphere, a cylinder and a cone in a linear dose gradient.

As Nelms et al., Med. Phys. 42, 4435 (2015): the volume above a dose is known, so that
every metric has a closed form. The gradient is 1 Gy/mm: an error of 1 Gy is 1 mm.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import optimize

from mtl_jax.metrics import dvh

RADIUS_MM, HEIGHT_MM, MIDDLE_GY = 15.0, 40.0, 40.0


@dataclasses.dataclass(frozen=True)
class Body:
    inside: Callable[..., np.ndarray]  # of x, y, z in mm
    gradient: tuple[float, float, float]  # Gy/mm along x, y, z
    reach_mm: float  # doses are MIDDLE_GY plus and minus this
    share_above: Callable[[float], float]  # of a place in -1 ... 1 along the reach
    volume_mm3: float
    mean: float  # as a place


def cone(x, y, z):
    """Tip at the low end of z."""
    radius = RADIUS_MM * (z + HEIGHT_MM / 2) / HEIGHT_MM
    return (x**2 + y**2 <= radius**2) & (np.abs(z) <= HEIGHT_MM / 2)


def cylinder(x, y, z):
    return (x**2 + y**2 <= RADIUS_MM**2) & (np.abs(z) <= HEIGHT_MM / 2)


DISC_MM2 = math.pi * RADIUS_MM**2
BODIES = {
    "sphere": Body(
        lambda x, y, z: x**2 + y**2 + z**2 <= RADIUS_MM**2,
        (0.6, 0.0, 0.8),  # any direction is as good
        RADIUS_MM,
        lambda u: (1 - u) ** 2 * (2 + u) / 4,
        4 / 3 * math.pi * RADIUS_MM**3,
        0.0,
    ),
    "cylinder along its axis": Body(
        cylinder, (0.0, 0.0, 1.0), HEIGHT_MM / 2, lambda u: (1 - u) / 2,
        DISC_MM2 * HEIGHT_MM, 0.0,
    ),
    "cylinder across": Body(
        cylinder, (1.0, 0.0, 0.0), RADIUS_MM,
        lambda u: (math.acos(u) - u * math.sqrt(1 - u**2)) / math.pi,
        DISC_MM2 * HEIGHT_MM, 0.0,
    ),
    "cone": Body(
        cone, (0.0, 0.0, 1.0), HEIGHT_MM / 2, lambda u: 1 - ((u + 1) / 2) ** 3,
        DISC_MM2 * HEIGHT_MM / 3, 0.5,  # three quarters of the way from the tip
    ),
}  # fmt: skip
PERCENTAGES = (1, 2, 5, 20, 50, 80, 95, 98, 99)
VOLUMES_CC = (0.1, 1.0)


def voxels(body: Body, spacing_mm: tuple[float, ...], shift: np.ndarray) -> np.ndarray:
    """Doses of the voxels whose centre is inside; `shift` of the grid in voxels."""
    axes = [
        (np.arange(-(22 // s) - 1, 22 // s + 2) + part) * s
        for s, part in zip(spacing_mm, shift, strict=True)
    ]
    places = np.meshgrid(*axes, indexing="ij", sparse=True)
    dose = MIDDLE_GY + sum(
        g * place for g, place in zip(body.gradient, places, strict=True)
    )
    mask = body.inside(*places)
    return np.broadcast_to(dose, mask.shape)[mask]


def dose_of(body: Body, share: float) -> float:
    """Closed form of the least dose to the hottest `share` of the volume."""
    place = optimize.brentq(lambda u: body.share_above(u) - share, -1, 1)
    return MIDDLE_GY + body.reach_mm * place


def expected(body: Body) -> dict[str, float]:
    values = {f"D_{p}": dose_of(body, p / 100) for p in PERCENTAGES}
    values |= {f"D_{v}cc": dose_of(body, v * 1e3 / body.volume_mm3) for v in VOLUMES_CC}
    values["D_mean"] = MIDDLE_GY + body.reach_mm * body.mean
    for gy in (30, 40, 50):
        place = (gy - MIDDLE_GY) / body.reach_mm
        values[f"V_{gy}Gy"] = 100 * body.share_above(place)
    return values


def mean_errors(body: Body, dialect: str, spacing_mm: tuple[float, ...]) -> dict:
    """Mean absolute error of each metric over grids that are shifted at random."""
    shifts = np.random.default_rng(7).random((6, 3))
    truth = expected(body)
    names = [f"{dialect}:{name}" for name in truth]
    found = [
        dvh.metrics(names, voxels(body, spacing_mm, shift), math.prod(spacing_mm))
        for shift in shifts
    ]
    error = np.abs(np.array(found) - list(truth.values())).mean(axis=0)
    return dict(zip(truth, error.tolist(), strict=True))


@pytest.mark.parametrize("dialect", ["openkbp", "exact"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_fine_grid_is_within_a_millimetre_and_a_percent(body: Body, dialect: str):
    for name, error in mean_errors(body, dialect, (1.0, 1.0, 1.0)).items():
        assert error <= (0.9 if name.startswith("V_") else 0.7), name


@pytest.mark.parametrize("dialect", ["openkbp", "exact"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_grid_such_as_the_challenges_costs_this_much(body: Body, dialect: str):
    """Half a slice or column of voxels at the ends."""
    for name, error in mean_errors(body, dialect, (3.9, 3.9, 2.5)).items():
        assert error <= (4.0 if name.startswith("V_") else 1.5), name


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_the_error_falls_as_the_grid_is_refined(body: Body):
    for dialect in ("openkbp", "exact"):
        coarse, middle, fine = (
            np.mean(list(mean_errors(body, dialect, spacing).values()))
            for spacing in ((4.0, 4.0, 2.5), (2.0, 2.0, 1.25), (1.0, 1.0, 0.625))
        )
        assert fine < 0.7 * middle < 0.7 * 0.8 * coarse
