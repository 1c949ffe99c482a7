"""Gamma indices: closed forms, a search of all points, and pymedphys."""

import itertools
import math
import os
import subprocess

import numpy as np
import pytest
from scipy import interpolate, ndimage

from mtl_jax.metrics import gamma_index

SPACING = (2.5, 4.0, 3.0)
GLOBAL, LOCAL = gamma_index.Criterion(3, 3), gamma_index.Criterion(3, 3, local=True)


def smooth(rng: np.random.Generator, shape: tuple[int, ...], gy: float) -> np.ndarray:
    field = ndimage.gaussian_filter(rng.standard_normal(shape), 2.5)
    return (gy * field / field.std()).astype(np.float32)


@pytest.fixture
def doses(rng) -> gamma_index.Doses:
    """A dose with a cold spot, and one that differs by some 2 Gy."""
    reference = np.clip(30 + smooth(rng, (11, 9, 10), 10), 0, None)
    reference[3:5, 3:5, 3:5] = 1
    evaluated = reference + smooth(rng, reference.shape, 2)
    return gamma_index.Doses(reference, evaluated.astype(np.float32), SPACING)


@pytest.mark.parametrize("criterion", [GLOBAL, LOCAL])
def test_equal_doses_have_gamma_zero(doses, criterion):
    equal = gamma_index.Doses(doses.reference_gy, doses.reference_gy, SPACING)
    assert gamma_index.pass_rate(equal, criterion) == 100
    found = gamma_index.gamma(equal, criterion)
    counts = doses.reference_gy >= 0.1 * doses.reference_gy.max()
    assert 0 < counts.sum() < counts.size
    assert np.array_equal(found == 0, counts)
    assert np.array_equal(np.isnan(found), ~counts)


@pytest.mark.parametrize("percent", [1.5, -2.0, 3.0, 4.5])
def test_a_uniform_offset_is_its_share_of_the_criterion(percent):
    """No point has another dose, so the distance does not help."""
    reference = np.full((6, 6, 6), 60.0)
    reference[3:] = 20.0
    moved = gamma_index.Doses(reference, reference + 60 * percent / 100, SPACING)
    found = gamma_index.gamma(moved, GLOBAL)
    # Far from the step between the halves.
    assert found[0, 0, 0] == pytest.approx(abs(percent) / 3, rel=1e-5)
    assert found[5, 0, 0] == pytest.approx(abs(percent) / 3, rel=1e-5)
    scaled = gamma_index.Doses(reference, reference * (1 + percent / 100), SPACING)
    found = gamma_index.gamma(scaled, LOCAL)
    assert found[0, 0, 0] == pytest.approx(abs(percent) / 3, rel=1e-5)
    assert found[5, 0, 0] == pytest.approx(abs(percent) / 3, rel=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shift_mm", [0.9, 2.4, 4.0])
def test_a_shifted_linear_gradient(axis, shift_mm):
    """A point and a line: gamma is s / sqrt(1 + (dose / (g distance))^2) / distance."""
    gradient = 1.2  # Gy/mm
    shape = [9, 9, 9]
    shape[axis] = 21
    mm = np.arange(21) * SPACING[axis]
    ramp = 20 + gradient * mm
    sides = [1, 1, 1]
    sides[axis] = 21
    reference = np.broadcast_to(ramp.reshape(sides), shape).copy()
    evaluated = reference - gradient * shift_mm
    doses = gamma_index.Doses(reference, evaluated, SPACING)
    dose_gy = 0.03 * ramp.max()
    exact = shift_mm / 3 / math.hypot(1, dose_gy / (gradient * 3))
    inner = [slice(4, 5)] * 3
    inner[axis] = slice(4, 16)  # the nearest equal dose lies inside the grid
    found = gamma_index.gamma(doses, GLOBAL)[tuple(inner)]
    assert found.min() >= exact - 1e-4
    # Along an axis of the lattice its step is 0.1; the minimum is flat.
    assert found.max() <= exact + 0.02
    assert gamma_index.gamma(doses, GLOBAL, upto=1)[4, 4, 4] == (
        found.flat[0] if exact < 0.98 else np.inf
    )


@pytest.mark.parametrize("criterion", [GLOBAL, LOCAL, gamma_index.Criterion(5, 2)])
def test_all_points_of_the_lattice_are_searched(doses, criterion):
    """A second implementation, with no pruning and another interpolation."""
    steps = range(-2 * gamma_index.STEPS, 2 * gamma_index.STEPS + 1)
    lattice = np.array(list(itertools.product(steps, steps, steps))) / gamma_index.STEPS
    lattice = lattice[np.sum(lattice**2, axis=1) <= 4 + 1e-9]
    axes = [
        np.arange(n) * s for n, s in zip(doses.reference_gy.shape, SPACING, strict=True)
    ]
    evaluate = interpolate.RegularGridInterpolator(
        axes, doses.evaluated_gy.astype(float), bounds_error=False, fill_value=np.inf
    )
    found = gamma_index.gamma(doses, criterion)
    highest = doses.reference_gy.max()
    for voxel in [(0, 0, 0), (5, 6, 6), (10, 8, 9), (2, 7, 1), (7, 3, 9), (4, 0, 7)]:
        dose = float(doses.reference_gy[voxel])
        if dose < 0.1 * highest:
            assert np.isnan(found[voxel])
            continue
        gy = criterion.dose_percent / 100 * (dose if criterion.local else highest)
        points = np.array(voxel) * SPACING + lattice * criterion.distance_mm
        inside = np.clip(points, 0, [axis[-1] for axis in axes])
        points = np.where(np.abs(points - inside) < 1e-9, inside, points)
        squares = np.sum(lattice**2, axis=1) + ((evaluate(points) - dose) / gy) ** 2
        lowest = math.sqrt(squares.min())
        expected = lowest if lowest <= 2 else np.inf
        assert found[voxel] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("criterion", [GLOBAL, LOCAL, gamma_index.Criterion(2, 2)])
def test_the_pass_rate_is_of_the_counted_voxels(doses, criterion):
    found = gamma_index.gamma(doses, criterion)
    counted = found[~np.isnan(found)]
    rate = gamma_index.pass_rate(doses, criterion)
    assert 10 < rate < 100
    assert rate == pytest.approx(100 * np.mean(counted <= 1 + gamma_index.ROUNDING))


def test_no_dose_has_no_rate():
    nothing = np.zeros((3, 3, 3))
    assert math.isnan(
        gamma_index.pass_rate(gamma_index.Doses(nothing, nothing + 1, SPACING), GLOBAL)
    )


PYMEDPHYS = """
import sys, numpy, pymedphys
case = numpy.load(sys.argv[1])
sizes = zip(case["reference"].shape, case["spacing"])
axes = tuple(numpy.arange(n) * s for n, s in sizes)
for local in (False, True):
    found = pymedphys.gamma(
        axes, case["reference"], axes, case["evaluated"], 3, 3,
        lower_percent_dose_cutoff=10, interp_fraction=10, max_gamma=2,
        local_gamma=local, interp_algo="scipy")
    numpy.save(sys.argv[2 + local], found)
"""


def test_gamma_is_that_of_pymedphys(doses, tmp_path):
    """Its points lie on spheres, ours on a lattice; both are 0.1 of the distance apart.

    So a gamma may differ by the step, more where the dose is steep. Its requirements
    are not ours: it needs an environment of its own.
    """
    python = os.environ.get("PYMEDPHYS_PYTHON")
    if not python:
        pytest.skip("PYMEDPHYS_PYTHON names no Python that has pymedphys")
    paths = [tmp_path / name for name in ("case.npz", "global.npy", "local.npy")]
    np.savez(
        paths[0],
        reference=doses.reference_gy,
        evaluated=doses.evaluated_gy,
        spacing=SPACING,
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [python, "-c", PYMEDPHYS, *map(str, paths)]
    subprocess.run(command, check=True, env=environment, cwd=tmp_path, timeout=300)
    for path, criterion in zip(paths[1:], (GLOBAL, LOCAL), strict=True):
        theirs, ours = np.load(path), gamma_index.gamma(doses, criterion)
        assert np.array_equal(np.isnan(theirs), np.isnan(ours))
        # Away from the cold spot, whose edge is a step.
        smooth_there = ~ndimage.binary_dilation(np.isnan(ours), iterations=4)
        assert smooth_there.sum() > 300
        ours, theirs = (np.minimum(g[smooth_there], 2) for g in (ours, theirs))
        difference = np.abs(ours - theirs)
        print(f"{criterion}: mean {difference.mean():.4f}, most {difference.max():.4f}")
        # The step of both, longer by the dose's change along it.
        slopes = np.gradient(doses.evaluated_gy, *SPACING)
        slope = ndimage.maximum_filter(np.sqrt(np.square(slopes).sum(axis=0)), 5)
        of_gy = doses.reference_gy if criterion.local else doses.highest_gy
        gy = 0.03 * np.maximum(of_gy, 0.1)
        step = 0.1 * np.hypot(1, slope * criterion.distance_mm / gy)[smooth_there]
        assert np.all(difference <= step)
        assert difference.mean() < 0.02
        assert abs(100 * np.mean(ours <= 1) - 100 * np.mean(theirs <= 1)) < 2
