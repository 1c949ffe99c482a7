"""One grid for a cohort: what it covers, and what is read from it."""

import numpy as np

from mtl_jax.core import geometry, records
from mtl_jax.evaluation import yardsticks


def test_the_grid_covers_all_and_is_no_finer_than_3_mm():
    grids = [
        geometry.Grid((10, 20, 40), (3.0, 1.0, 2.0)),  # 30 x 20 x 80 mm
        geometry.Grid((4, 30, 10), (5.0, 1.0, 6.0)),  # 20 x 30 x 60 mm
        geometry.Grid((4, 30, 10), (5.0, 1.0, 4.0)),
    ]
    found = yardsticks.covering_grid(grids)
    assert found.spacing_mm == (5.0, 3.0, 4.0)
    assert found.shape == (6, 10, 20)


def test_a_patient_is_laid_centre_on_centre():
    grid = geometry.Grid((1, 2, 4), (4.0, 3.0, 3.0), (11.0, 12.0, 13.0))
    onto = geometry.Grid((3, 4, 3), (4.0, 3.0, 6.0))
    dose_gy = np.arange(8, dtype=np.float32).reshape(grid.shape)
    patient = records.Patient("a", grid, dose_gy, {"A": dose_gy > 3}, dose_gy, None)
    found = yardsticks.lay_onto(patient, onto)
    # Rows 1 and 2 of 4; columns at -6, 0 and 6 mm, where the CT has -4.5 to 4.5.
    assert found.dose_gy is not None and found.possible_dose_mask is not None
    np.testing.assert_allclose(found.dose_gy[1, 1:3, 1], [1.5, 5.5])
    assert not found.dose_gy[[0, 2]].any() and not found.dose_gy[1, [0, 3]].any()
    np.testing.assert_array_equal(found.structures["A"][1, :, 1], [0, 0, 1, 0])
    np.testing.assert_array_equal(found.possible_dose_mask[1, :, 1], [0, 1, 1, 0])
    assert not found.ct.any()
    back = yardsticks.read_at(found.dose_gy, onto, at=grid, order=1)
    assert back.shape == grid.shape
