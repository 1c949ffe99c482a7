"""Planned doses of phantoms: one beam in water in closed form, and organ sparing."""

import numpy as np
import pytest

from mtl_jax.sources.phantom import planned_dose

SIZE, SPACING_MM = 61, 4.0
CENTRE = (SIZE - 1) // 2


@pytest.fixture(scope="module")
def water() -> np.ndarray:
    """A cylinder of water, radius 100 mm, two slices."""
    y, x = np.indices((SIZE, SIZE)) - CENTRE
    disc = np.hypot(y, x) * SPACING_MM < 100
    return np.repeat(disc[None], 2, axis=0).astype(np.float32)


def image(beam: planned_dose.Beam, fluence: np.ndarray) -> np.ndarray:
    """Dose of a fluence [U] in the first slice [Y, X]."""
    return beam.deliver(np.repeat(fluence[:, None], 2, axis=1))[:, 0].reshape(
        SIZE, SIZE
    )


def test_dose_falls_exponentially_with_depth(water):
    beam = planned_dose.beam(water, SPACING_MM, 0.0)
    dose = image(beam, np.ones(beam.spread.shape[1], np.float32))
    line = dose[:, CENTRE]  # from the front to the back
    deep = line[CENTRE - 10 : CENTRE + 20]
    step = np.exp(-planned_dose.ATTENUATION_PER_MM * SPACING_MM)
    np.testing.assert_allclose(deep[1:] / deep[:-1], step, rtol=1e-3)
    # The dose builds up under the skin before it falls.
    first = np.flatnonzero(water[0, :, CENTRE])[0]
    assert line[first] < line[first + 3]


@pytest.mark.parametrize(
    ("gantry_deg", "near", "far"),
    [
        (0, (-15, 0), (15, 0)),  # from the front
        (90, (0, 15), (0, -15)),  # from the patient's left
        (180, (15, 0), (-15, 0)),
        (270, (0, -15), (0, 15)),
    ],
)
def test_beams_enter_where_the_gantry_stands(water, gantry_deg, near, far):
    beam = planned_dose.beam(water, SPACING_MM, gantry_deg)
    dose = image(beam, np.ones(beam.spread.shape[1], np.float32))
    ratio = (
        dose[CENTRE + far[0], CENTRE + far[1]]
        / dose[CENTRE + near[0], CENTRE + near[1]]
    )
    length_mm = 30 * SPACING_MM
    assert ratio == pytest.approx(
        np.exp(-planned_dose.ATTENUATION_PER_MM * length_mm), rel=2e-3
    )


def test_oblique_beams_see_the_same_depth(water):
    """At the centre of a cylinder, every beam has crossed its radius."""
    doses = []
    for gantry_deg in planned_dose.GANTRY_DEG:
        beam = planned_dose.beam(water, SPACING_MM, gantry_deg)
        dose = image(beam, np.ones(beam.spread.shape[1], np.float32))
        doses.append(dose[CENTRE, CENTRE])
    np.testing.assert_allclose(
        doses, np.exp(-planned_dose.ATTENUATION_PER_MM * 100), rtol=0.02
    )


def test_penumbra_is_monotone_and_half_at_the_edge(water):
    beam = planned_dose.beam(water, SPACING_MM, 0.0)
    bins = beam.spread.shape[1]
    middle = (bins - 1) // 2
    field = (np.abs(np.arange(bins) - middle) <= 8).astype(np.float32)
    profile = image(beam, field)[CENTRE]
    inside = water[0, CENTRE] > 0
    relative = profile / image(beam, np.ones(bins, np.float32))[CENTRE].clip(1e-6)
    right = relative[CENTRE:][inside[CENTRE:]]
    assert np.all(np.diff(right) <= 1e-6)
    assert right[0] == pytest.approx(1, abs=1e-3)
    # The edge lies between the bins 8 and 9 from the middle.
    assert (right[8] + right[9]) / 2 == pytest.approx(0.5, abs=0.02)
    assert right[12] < 0.01


def plan(water: np.ndarray, organ: np.ndarray) -> np.ndarray:
    """A target in the centre; `organ` is spared like a parotid."""
    target = np.zeros_like(water)
    target[:, CENTRE - 5 : CENTRE + 6, CENTRE - 5 : CENTRE + 6] = 70
    organs = {name: np.zeros(water.shape, bool) for name in planned_dose.ORGAN_COST}
    organs["LeftParotid"] = organ
    return planned_dose.plan(
        density=water,
        body=water > 0,
        prescription_gy=target,
        organs=organs,
        spacing_mm=(2.5, SPACING_MM),
    )


def test_the_dose_bends_around_an_organ_beside_the_target(water):
    organ = np.zeros(water.shape, bool)
    organ[:, CENTRE - 5 : CENTRE + 6, CENTRE + 8 : CENTRE + 14] = True
    mirrored = organ[:, :, ::-1]
    plain, spared = plan(water, np.zeros_like(organ)), plan(water, organ)
    assert spared[organ].mean() < 0.75 * plain[organ].mean()
    assert spared[organ].mean() < 0.75 * spared[mirrored].mean()
    core = np.s_[:, CENTRE - 4 : CENTRE + 5, CENTRE - 4 : CENTRE + 5]
    assert spared[core].mean() == pytest.approx(70, rel=0.05)
    assert not spared[water == 0].any()
