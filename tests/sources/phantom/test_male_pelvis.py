"""Generated pelves: what holds for each of them, their variety, and their plans."""

import numpy as np
import pytest
from scipy import ndimage

from mtl_jax.core import errors, geometry, sites
from mtl_jax.sources.phantom import male_pelvis

SEED = 3
ORGANS = ("Bladder", "Rectum", "Femur_L", "Femur_R", "Prostate")


@pytest.fixture(scope="module")
def pelves() -> list[male_pelvis.Pelvis]:
    return [male_pelvis.make_pelvis(SEED, index) for index in range(1, 7)]


def dose_on_ct(pelvis: male_pelvis.Pelvis) -> np.ndarray:
    return geometry.resample(pelvis.dose_gy, pelvis.dose_grid, onto=pelvis.grid)


def centre_mm(mask: np.ndarray, pelvis: male_pelvis.Pelvis) -> np.ndarray:
    """Centre (x, y, z) in mm of a mask."""
    return pelvis.grid.to_mm(np.argwhere(mask).mean(axis=0))


def test_a_pelvis_is_a_function_of_seed_and_index(pelves):
    again = male_pelvis.make_pelvis(SEED, 2)
    assert again.grid == pelves[1].grid and again.dose_grid == pelves[1].dose_grid
    assert np.array_equal(again.ct_hu, pelves[1].ct_hu)
    assert np.array_equal(again.dose_gy, pelves[1].dose_gy)
    for name, mask in again.structures.items():
        assert np.array_equal(mask, pelves[1].structures[name])
    assert not np.array_equal(again.ct_hu, pelves[2].ct_hu)
    other = male_pelvis.make_pelvis(SEED + 1, 2)
    assert not np.array_equal(again.ct_hu, other.ct_hu)


def test_the_ct_is_in_integer_hounsfield_units_on_an_anisotropic_grid(pelves):
    for pelvis in pelves:
        assert pelvis.grid.shape == (40, 80, 96)
        assert pelvis.grid.spacing_mm == (5.0, 3.9, 4.2)
        assert pelvis.ct_hu.dtype == np.float32
        assert np.array_equal(pelvis.ct_hu, np.rint(pelvis.ct_hu))
        assert pelvis.ct_hu.min() == -1000 and 700 < pelvis.ct_hu.max() <= 3000
        mean = {n: pelvis.ct_hu[m].mean() for n, m in pelvis.structures.items()}
        assert pelvis.ct_hu[~pelvis.structures["External"]].mean() < -950
        assert 0 < mean["Bladder"] < 30 < 70 < mean["Prostate"] < 105
        assert 300 < mean["Femur_L"] < 900


def test_every_structure_is_inside_the_body_and_of_a_plausible_size(pelves):
    for pelvis in pelves:
        assert tuple(pelvis.structures) == male_pelvis.STRUCTURES
        for mask in pelvis.structures.values():
            assert mask.dtype == bool and mask.shape == pelvis.grid.shape
            assert np.all(pelvis.structures["External"][mask])
        for structure in sites.PROSTATE.structures:
            low, high = structure.volume_cc
            mask = pelvis.structures[structure.name]
            assert low < mask.sum() * pelvis.grid.voxel_mm3 / 1000 < high


def test_organs_lie_where_anatomy_has_them(pelves):
    for pelvis in pelves:
        masks = pelvis.structures
        at = {name: centre_mm(mask, pelvis) for name, mask in masks.items()}
        assert at["Femur_L"][0] > at["Prostate"][0] + 60  # x grows to the left
        assert at["Femur_R"][0] < at["Prostate"][0] - 60
        assert at["Rectum"][1] > at["Prostate"][1] + 15  # y to the back
        assert at["Bladder"][2] > at["Prostate"][2] + 20  # z to the head
        assert not np.any(masks["Prostate"] & masks["Rectum"])
        assert not np.any(masks["Bladder"] & (masks["Rectum"] | masks["Prostate"]))
        assert np.mean(masks["PTV_6000"][masks["Prostate"]]) > 0.98
        assert np.all(masks["Rectum"][masks["Rectal_Wall"]])


def test_a_wall_has_a_hole_and_a_femur_several_parts_in_a_slice(pelves):
    for pelvis in pelves:
        holes, rectum = 0, pelvis.structures["Rectum"].any((1, 2)).sum()
        for plane in pelvis.structures["Rectal_Wall"]:
            holes += bool(np.any(ndimage.binary_fill_holes(plane) & ~plane))
        assert holes > 0.6 * rectum
        parts = [
            ndimage.label(plane, np.ones((3, 3)))[1]
            for plane in pelvis.structures["Femur_L"]
        ]
        assert max(parts) == 2


def test_a_prior_map_is_a_poor_predictor(pelves):
    """Each patient against the mean of the others, at the best threshold."""
    for name in ORGANS:
        masks = [pelvis.structures[name] for pelvis in pelves]
        total = np.sum(masks, axis=0, dtype=np.float32)
        best = []
        for mask in masks:
            prior = (total - mask) / (len(masks) - 1)
            guesses = [prior > threshold for threshold in (0, 0.2, 0.4)]
            best.append(
                max(2 * (g & mask).sum() / (g.sum() + mask.sum()) for g in guesses)
            )
        assert np.mean(best) < 0.45


def test_the_dose_grid_is_coarser_and_shifted(pelves):
    for pelvis in pelves:
        grid, dose = pelvis.grid, pelvis.dose_grid
        assert dose.shape == pelvis.dose_gy.shape and dose.shape[1] != dose.shape[2]
        assert dose.spacing_mm == (6.0, 5.1, 5.7)
        first = grid.to_index(np.asarray(dose.origin_mm))
        assert np.all(np.abs(first - np.rint(first)) > 1e-3)
        low, high = grid.origin_mm, grid.to_mm(np.subtract(grid.shape, 1))
        last = dose.to_mm(np.subtract(dose.shape, 1))
        assert dose.origin_mm[2] > low[2] and last[2] < high[2]  # fewer slices
        for name in ORGANS:  # but all of the organs
            index = dose.to_index(grid.to_mm(np.argwhere(pelvis.structures[name])))
            assert index.min() >= 0 and np.all(index <= np.subtract(dose.shape, 1))


def test_plans_give_60_gy_and_spare_the_organs(pelves):
    assert sites.PROSTATE.prescription_gy == male_pelvis.PRESCRIPTION_GY
    for pelvis in pelves:
        dose, masks = dose_on_ct(pelvis), pelvis.structures
        ptv = dose[masks["PTV_6000"]]
        assert 55 < np.percentile(ptv, 5) < 60 and 57 < ptv.mean() < 62
        assert 58 < dose.max() < 66  # 110 % of the prescription
        assert 5 < dose[masks["Rectum"]].mean() < 30
        assert dose[masks["Rectum"]].max() > 35  # next to the target
        assert 3 < dose[masks["Bladder"]].mean() < 40
        for name in ("Femur_L", "Femur_R"):
            assert 8 < dose[masks[name]].mean() < 25
            assert np.percentile(dose[masks[name]], 95) < 35
        hottest = np.unravel_index(dose.argmax(), dose.shape)
        assert ndimage.binary_dilation(masks["PTV_6000"])[hottest]


def test_a_larger_scan_holds_the_same_phantom():
    shape, spacing_mm = (64, 150, 132), (2.5, 2.4, 3.0)
    pelvis = male_pelvis.make_pelvis(SEED, 1, shape=shape, spacing_mm=spacing_mm)
    assert (pelvis.grid.shape, pelvis.grid.spacing_mm) == (shape, spacing_mm)
    assert all(mask.any() for mask in pelvis.structures.values())
    body = pelvis.structures["External"]
    assert not body[:, [0, -1]].any() and not body[:, :, [0, -1]].any()


def test_a_scan_that_is_too_small_is_refused():
    with pytest.raises(errors.GeometryError, match=r"covers \(200.0, 312.0, 336.0\)"):
        male_pelvis.make_pelvis(SEED, 1, shape=(40, 80, 80))
