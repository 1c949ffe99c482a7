"""DVH metrics by hand, in both dialects, and against NumPy's percentiles."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_jax.core import errors, metric_names
from mtl_jax.metrics import dvh

LADDER = np.arange(101.0)  # 0, 1, ... 100 Gy
FOUR = np.array([40.0, 10.0, 30.0, 20.0])
DOSES = st.lists(st.floats(0, 80, width=32), min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("openkbp:D_99", 1.0),
        ("openkbp:D_95", 5.0),
        ("openkbp:D_1", 99.0),
        ("openkbp:D_mean", 50.0),
        ("openkbp:D_max", 100.0),
        ("openkbp:D_min", 0.0),
        ("openkbp:V_20Gy", 100 * 81 / 101),  # 20, 21, ... 100 Gy
    ],
)
def test_percentages_of_a_ladder(name: str, expected: float):
    assert dvh.metric(name, LADDER, 40.0) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "openkbp", "exact"),
    [
        # openkbp has 10 ... 40 Gy at 100, 66.7, 33.3, 0 %; exact the middles of four
        # equal parts at 87.5, 62.5, 37.5, 12.5 %.
        ("D_50", 25.0, 25.0),
        ("D_62.5", 10 + 30 * 0.375, 20.0),
        ("D_75", 17.5, 15.0),
        ("D_5", 38.5, 40.0),
        ("D_100", 10.0, 10.0),
        ("D_0", 40.0, 40.0),
        ("D_mean", 25.0, 25.0),
        ("V_25Gy", 50.0, 50.0),
        ("V_30Gy", 50.0, 37.5),
        ("V_5Gy", 100.0, 100.0),
        ("V_10Gy", 100.0, 100.0),
        ("V_35Gy", 25.0, 25.0),
        ("V_41Gy", 0.0, 0.0),
        # Voxels of 40 mm3. 0.1 cc are 2.5 of 4: two whole ones, or 62.5 %.
        ("D_0.1cc", 25.0, 20.0),
        ("D_0.01cc", 32.5, 40.0),  # at least one voxel; a quarter of one, the hottest
    ],
)
def test_the_dialects_on_four_voxels(name: str, openkbp: float, exact: float):
    found = dvh.metrics((f"openkbp:{name}", f"exact:{name}"), FOUR, 40.0)
    assert found == pytest.approx([openkbp, exact], rel=1e-12)


def test_a_structure_smaller_than_the_volume_gives_its_minimum():
    two = np.array([7.0, 3.0])
    for dialect in metric_names.DIALECTS:
        name = f"{dialect}:D_0.1cc"
        assert dvh.metric(name, two, 10.0) == 3.0
        assert dvh.lacks_volume(name, 2, 10.0)
        assert not dvh.lacks_volume(name, 10, 10.0)
        assert not dvh.lacks_volume(f"{dialect}:D_95", 2, 10.0)


@pytest.mark.parametrize("dialect", metric_names.DIALECTS)
@pytest.mark.parametrize("size", [1, 17])
def test_a_constant_dose_is_every_dose(dialect: str, size: int):
    values = np.full(size, 20.0, np.float32)
    names = [f"{dialect}:{m}" for m in ("D_mean", "D_0.1cc", "D_95", "D_max", "D_min")]
    assert dvh.metrics(names, values, 40.0) == [20.0] * 5
    volumes = [f"{dialect}:V_{gy}Gy" for gy in (20, 20.5, 19)]
    assert dvh.metrics(volumes, values, 40.0) == [100.0, 0.0, 100.0]


def test_no_voxel_has_no_value():
    assert np.isnan(dvh.metrics(("exact:D_95", "exact:V_20Gy"), np.zeros(0), 1.0)).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_dose_that_is_no_number_is_an_error(bad: float):
    with pytest.raises(errors.RecordError, match="1 of 3 dose values"):
        dvh.metric("exact:D_95", np.array([1.0, bad, 2.0]), 1.0)


def test_an_unknown_name_is_an_error_with_the_nearest():
    with pytest.raises(errors.ConfigError, match=r"did you mean 'openkbp:D_0\.1cc'"):
        dvh.metric("openkbp:D0.1cc", LADDER, 1.0)


@settings(deadline=None)  # a busy machine is no mistake
@given(DOSES, st.floats(0, 100))
def test_percentiles_are_those_of_numpy(doses: list[float], percent: float):
    values = np.array(doses, np.float32)
    name = f"D_{percent:.4f}"
    percentile = 100 - float(f"{percent:.4f}")
    for dialect, method in (("openkbp", "linear"), ("exact", "hazen")):
        wide = values.astype(np.float64)
        expected = np.percentile(wide, percentile, method=method)
        found = dvh.metric(f"{dialect}:{name}", values, 1.0)
        assert found == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(DOSES, st.integers(0, 80))
def test_the_volume_is_the_inverse_of_the_dose(doses: list[float], gy: int):
    values = np.array(doses, np.float32)
    percent = dvh.metric(f"exact:V_{gy}Gy", values, 1.0)
    share = f"{percent:.9f}"
    if percent > 0:  # that volume gets at least this dose
        assert dvh.metric(f"exact:D_{share}", values, 1.0) >= gy - 1e-6
    if percent < 99.99:  # and a larger one does not
        more = f"{percent + 0.01:.9f}"
        assert dvh.metric(f"exact:D_{more}", values, 1.0) < gy + 1e-6


def test_a_curve_holds_the_volumes_of_its_doses():
    curve = dvh.curve(FOUR.astype(np.float32), step_gy=5.0)
    assert curve.doses_gy.tolist() == [5.0 * k for k in range(10)]
    expected = [dvh.metric(f"exact:V_{gy:g}Gy", FOUR, 1.0) for gy in curve.doses_gy]
    assert curve.volumes_percent.tolist() == expected
    assert curve.volumes_percent[0] == 100.0 and curve.volumes_percent[-1] == 0.0
    assert dvh.curve(FOUR, upto_gy=70, step_gy=10.0).doses_gy[-1] >= 70


@settings(deadline=None)
@given(DOSES)
def test_a_curve_falls_from_100_to_0(doses: list[float]):
    volumes = dvh.curve(np.array(doses)).volumes_percent
    assert volumes[0] == 100.0 and volumes[-1] == 0.0
    assert np.all(np.diff(volumes) <= 1e-9)


def test_values_inside_a_mask_are_those_of_plain_indexing(rng: np.random.Generator):
    doses = rng.random((2, 6, 5, 4), np.float32)
    mask = rng.random((6, 5, 4)) > 0.7
    mask[:2] = mask[5] = False
    for found, dose in zip(dvh.inside(mask, *doses), doses, strict=True):
        np.testing.assert_array_equal(found, dose[mask])
    (turned,) = dvh.inside(mask.T, doses[0].T)  # not in C order
    np.testing.assert_array_equal(turned, doses[0].T[mask.T])
    assert dvh.inside(mask & ~mask, doses[0])[0].shape == (0,)
