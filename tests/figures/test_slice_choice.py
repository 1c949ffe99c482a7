"""The chosen slices and views of patients made of blocks."""

import numpy as np

from mtl_jax.core import geometry, records
from mtl_jax.figures import slice_choice


def block(z, y=(4, 8), x=(4, 8), shape=(12, 20, 20)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[slice(*z), slice(*y), slice(*x)] = True
    return mask


def patient(structures, dose_gy=None, ct=None) -> records.Patient:
    shape = (12, 20, 20)
    ct = np.zeros(shape, np.float32) if ct is None else ct
    grid = geometry.Grid(shape, (3.0, 2.0, 2.0))
    return records.Patient("pt_1", grid, ct, structures, dose_gy, None)


def test_the_slices_together_show_every_structure():
    structures = {
        "Brainstem": block((10, 12)),
        "SpinalCord": block((0, 9)) | block((2, 3), (4, 16)),
        "LeftParotid": block((6, 8), (2, 12)),
    }
    chosen = slice_choice.choose_slices(patient(structures), tuple(structures), 3)
    assert chosen == sorted(chosen, reverse=True)
    assert chosen[0] in (10, 11)
    assert chosen[1] in (6, 7)
    assert chosen[2] == 2  # where the cord is largest


def test_structures_that_are_asked_for_come_first():
    structures = {"Brainstem": block((9, 10)), "PTV70": block((2, 3))}
    assert slice_choice.choose_slices(patient(structures), ("Brainstem",), 1) == [9]
    assert slice_choice.choose_slices(patient(structures), ("PTV70",), 1) == [2]


def test_slices_that_no_beam_reaches_are_left_out():
    dose_gy = np.zeros((12, 20, 20), np.float32)
    dose_gy[4:6] = 60
    structures = {"SpinalCord": block((0, 12))}
    chosen = slice_choice.choose_slices(
        patient(structures, dose_gy), ("SpinalCord",), 2
    )
    assert chosen == [5, 4]


def test_a_patient_without_structures():
    ct = np.full((12, 20, 20), -1000, np.float32)
    ct[7, 5:15, 5:15] = 0
    assert slice_choice.choose_slices(patient({}, ct=ct), (), 1) == [7]
    dose_gy = np.zeros((12, 20, 20), np.float32)
    dose_gy[3] = 1
    assert slice_choice.choose_slices(patient({}, dose_gy, ct), (), 1) == [3]
    assert len(set(slice_choice.choose_slices(patient({}), (), 20))) == 12


def test_the_body_is_the_largest_piece_without_its_holes():
    hu = np.full((20, 20), -1000.0)
    hu[4:16, 4:16] = 0
    hu[8:10, 8:10] = -1000  # airway
    hu[0, :3] = 0  # something on the couch
    body = slice_choice.body_of(hu)
    assert body.sum() == 144
    assert body[8, 8]
    assert not slice_choice.body_of(np.full((20, 20), -1000.0)).any()


def test_views_hold_the_body_in_one_proportion():
    low, high = np.zeros((100, 100), bool), np.zeros((100, 100), bool)
    low[40:60, 10:90] = True  # shoulders: 160 mm across, 40 mm deep
    high[20:80, 30:70] = True  # head: 80 mm across, 120 mm deep
    shown = slice_choice.choose_views({1: low, 9: high}, (3.0, 2.0, 2.0))
    assert [view.z for view in shown] == [1, 9]
    for view, (top, bottom, left, right) in zip(
        shown, [(80, 118, 20, 178), (40, 158, 60, 138)], strict=True
    ):
        assert view.top <= top - slice_choice.MARGIN_MM
        assert view.bottom >= bottom + slice_choice.MARGIN_MM
        assert view.left <= left - slice_choice.MARGIN_MM
        assert view.right >= right + slice_choice.MARGIN_MM
    ratios = [(v.bottom - v.top) / (v.right - v.left) for v in shown]
    np.testing.assert_allclose(ratios[0], ratios[1])


def test_the_worst_slices_are_apart():
    errors = np.zeros(40)
    errors[[10, 11, 30]] = 5.0, 4.9, 2.0
    assert slice_choice.worst_slices(errors, 1) == [10]
    # Slice 11 is next to the worst and counts an eighth: 0.6.
    assert slice_choice.worst_slices(errors, 2) == [30, 10]
    assert slice_choice.worst_slices(errors[:2], 3) == [1, 0]
