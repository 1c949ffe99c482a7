"""The report's JavaScript geometry against contourpy and closed forms."""

import json
from importlib import resources

import contourpy
import numpy as np
import pytest
from scipy import ndimage


def call(browser, expression: str):
    """The value of an expression of isolines.js and volume.js."""
    folder = resources.files("mtl_jax.report")
    names = ("isolines.js", "volume.js")
    source = "\n".join(folder.joinpath(n).read_text(encoding="utf-8") for n in names)
    return browser.run(f"(() => {{ {source}\n return {expression}; }})()")


def plane(values: np.ndarray) -> str:
    height, width = values.shape
    numbers = [float(value) for value in values.ravel()]
    return json.dumps({"values": numbers, "width": width, "height": height})


def lines(browser, values: np.ndarray, level: float) -> list[np.ndarray]:
    found = call(browser, f"isolines({plane(values)}, {level})")
    return [np.reshape(line, (-1, 2)) for line in found]


def area(several: list[np.ndarray]) -> float:
    """Enclosed; holes count as less (shoelace formula)."""
    total = 0.0
    for line in several:
        x, y = line.T
        total += float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2
    return abs(total)


def test_one_voxel_is_a_diamond(browser):
    values = np.zeros((3, 4))
    values[1, 2] = 1
    (line,) = lines(browser, values, 0.5)
    assert sorted(map(tuple, line)) == [(1.5, 1), (2, 0.5), (2, 1.5), (2.5, 1)]


def test_a_ring_has_two_lines_and_the_hole_is_left_out(browser):
    values = np.zeros((9, 9))
    values[2:7, 2:7] = 1
    values[4, 4] = 0
    found = lines(browser, values, 0.5)
    # A square of 5 x 5 without its four cut corners, and the diamond of the hole.
    assert sorted(len(line) for line in found) == [4, 20]
    assert area(found) == pytest.approx(25 - 4 * 0.125 - 0.5)


def test_diagonal_voxels_are_two_pieces(browser):
    values = np.zeros((4, 4))
    values[1, 1] = values[2, 2] = 1
    assert [len(line) for line in lines(browser, values, 0.5)] == [4, 4]


@pytest.mark.parametrize("level", [0.5, 20.25, 40.0])
def test_lines_are_those_of_contourpy(browser, rng, level):
    values = ndimage.gaussian_filter(rng.uniform(0, 400, (30, 23)), 2.5)
    values = np.pad(np.clip(values - 150, 0, None), 1)
    expected = contourpy.contour_generator(z=values).lines(level)
    found = lines(browser, values, level)
    assert found
    closed = [line[:-1] for line in expected]  # contourpy says the first point twice
    assert len(found) == len(closed)
    both = [np.concatenate(several) for several in (found, closed)]
    ordered = [points[np.lexsort(np.round(points, 6).T)] for points in both]
    assert np.allclose(*ordered, atol=1e-6)
    assert area(found) == pytest.approx(area(closed))


def test_sampling_keeps_voxels_and_ramps(browser):
    codes = np.add.outer(3 * np.arange(6), 10 * np.arange(8))
    view = json.dumps({"x": 0, "y": 0, "wide": 8, "high": 6})
    ask = f"[...sample({plane(codes)}, {view}, %d, %d, (code) => 2 * code + 1)]"
    same = np.reshape(call(browser, ask % (8, 6)), (6, 8))
    assert np.allclose(same, 2 * codes + 1)
    finer = np.reshape(call(browser, ask % (32, 18)), (18, 32))
    y, x = (np.arange(18) + 0.5) / 3 - 0.5, (np.arange(32) + 0.5) / 4 - 0.5
    ramp = 2 * np.add.outer(3 * y, 10 * x) + 1
    inner = (slice(5, -5), slice(7, -7))  # at the edges it levels off
    assert np.allclose(finer[inner], ramp[inner], atol=1e-4)
