"""The benchmark's differences, by hand; and a run of it on a tiny network."""

import numpy as np

from benchmarks import half_precision
from mtl_jax.predict import trained_model
from tests.pack import packable
from tests.predict import openkbp


def test_differences_by_hand():
    dose = np.zeros((10, 10, 10), np.float32)
    other = dose.copy()
    other[0, 0, 0] = 3.0
    other[0, 0, 1] = -1.0
    mask = dose > 1
    first, second = mask.copy(), mask.copy()
    first[0, 0, :4] = second[0, 0, 1:5] = True  # 4 voxels each, 3 shared
    found = half_precision.compare(
        trained_model.Prediction({"A": first, "B": mask}, dose, {}),
        trained_model.Prediction({"A": second, "B": mask}, other, {}),
    )
    # 999 of 1000 voxels are at most 1 Gy apart; the quantile is between 1 and 3.
    assert (found.largest_gy, found.lowest_dice) == (3.0, 0.75)
    assert np.isclose(found.mean_gy, 4 / 1000)
    assert np.isclose(found.quantile_gy, 1.0 + 2 * 0.001)
    doses_only = trained_model.Prediction({}, dose, {})
    assert np.isnan(half_precision.compare(doses_only, doses_only).lowest_dice)


def test_a_short_run(tmp_path, capsys):
    packed = packable.pack(tmp_path)
    patient = openkbp.write(tmp_path / "in" / "pt_7")
    half_precision.main([str(tmp_path / "run"), str(packed), str(patient)])
    *_, row = capsys.readouterr().out.strip().split("\n")
    number, largest, _, mean, dice = row[2:-2].split(" | ")
    assert number == "1"
    assert 0 < float(largest) < 5 and float(mean) < 0.1 and float(dice) > 0.9
