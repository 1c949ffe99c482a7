"""Rows worked by hand, resampling in closed form, and predictions back again."""

import copy

import numpy as np
import pytest
from scipy import ndimage

from mtl_jax.core import errors, geometry, records, sites
from mtl_jax.pipeline import preprocess, resampling

SITE = sites.OPENKBP


def test_ct_is_clipped_and_normalised(example, new_preprocess, to_row):
    example["ct"][0, :4] = [0, 1024, 1500, 3000]
    row = to_row(new_preprocess(), example, 3)
    assert row["image"].shape == (16, 16, 1)
    assert row["image"].dtype == np.float32
    np.testing.assert_allclose(
        row["image"][0, :4, 0],
        [(v - 85.18) / 282.26 for v in (0, 1024, 1500, 1500)],
        rtol=1e-6,
    )


def test_hounsfield_units_are_stored_values_less_the_offset(
    example, new_preprocess, to_row
):
    example["ct"][0, :3] = [0, 1024, 3000]  # air, water, metal
    row = to_row(
        new_preprocess(ct_values="hu", ct_mean=-900.0, ct_std=100.0), example, 0
    )
    np.testing.assert_allclose(
        row["image"][0, :3, 0], [(-1024 + 900) / 100, 9.0, 24.0], rtol=1e-6
    )


def test_dose_is_a_fraction_of_the_prescription(example, new_preprocess, to_row):
    example["dose_gy"][2, 3] = 35.0
    row = to_row(new_preprocess(), example, 0)
    assert row["dose"].shape == (16, 16, 1)
    assert row["dose"][2, 3, 0] == np.float32(0.5)


def test_contours_come_in_the_configured_order(example, new_preprocess, to_row):
    names = ("LeftParotid", "Brainstem", "PTV70")
    row = to_row(new_preprocess(structures=names), example, 0)
    assert row["contours"].dtype == np.uint8
    for channel, name in enumerate(names):
        bit = sites.OPENKBP.names.index(name)
        np.testing.assert_array_equal(
            row["contours"][..., channel], (example["masks"] >> bit) & 1
        )
        assert row["present"][channel] == float(example["present"][bit])


def test_the_possible_dose_mask_reaches_the_batch(example, new_preprocess, to_row):
    # Read at 20 x 20 pixels about the same centre: two more on each side.
    for size, border in ((16, 0), (20, 2)):
        pre = new_preprocess(image_size=(size, size))
        found = to_row(pre, example, 0)["possible_dose"]
        assert found.shape == (size, size, 1) and found.dtype == np.uint8
        expected = np.pad(example["masks"] >> len(SITE.names) & 1, border)
        np.testing.assert_array_equal(found[..., 0], expected)
        # Not known: a dose is possible everywhere, whatever the bit says.
        assert to_row(pre, example, 0, mask_known=False)["possible_dose"].all()


def test_all_structures_of_the_site_only_if_they_are_wanted(
    example, new_preprocess, to_row
):
    row = to_row(new_preprocess(all_structures=True), example, 0)
    names = new_preprocess().site.names
    assert row["structures"].shape == (16, 16, len(names))
    for bit in range(len(names)):
        np.testing.assert_array_equal(
            row["structures"][..., bit], (example["masks"] >> bit) % 2
        )
    assert "structures" not in to_row(new_preprocess(), example, 0)


@pytest.mark.parametrize("has_dose", [True, False])
def test_labels_of_a_row(example, new_preprocess, has_dose, to_row):
    example["has_dose"], example["slice"] = has_dose, 9
    row = to_row(new_preprocess(), example, 5)
    assert row["has_dose"] == float(has_dose)
    assert (row["mask"], row["patient"], row["slice"]) == (1, 5, 9)


def test_reference_contours_go_in_beside_the_ct(example, new_preprocess, to_row):
    plain, beside = new_preprocess(), new_preprocess(beside_ct="reference")
    row = to_row(beside, example, 0)
    assert (plain.channels, beside.channels) == (1, 5)
    np.testing.assert_array_equal(
        row["image"][..., :1], to_row(plain, example, 0)["image"]
    )
    np.testing.assert_array_equal(row["image"][..., 1:], row["contours"])


def test_drawn_contours_go_in_and_the_reference_s_do_not(
    example, new_preprocess, to_row, rng
):
    beside = new_preprocess(beside_ct="predicted")
    with pytest.raises(errors.RecordError, match="no contours were predicted"):
        to_row(beside, example, 0)
    example["predicted"] = rng.integers(0, 1 << 11, (16, 16)).astype(np.uint16)
    row = to_row(beside, example, 0)
    for channel, name in enumerate(beside.structures):
        bit = SITE.names.index(name)
        drawn = example["predicted"] >> bit & 1
        np.testing.assert_array_equal(row["image"][..., 1 + channel], drawn)
    example["masks"] = ~example["masks"]
    changed = to_row(beside, example, 0)
    np.testing.assert_array_equal(changed["image"], row["image"])
    assert (changed["contours"] != row["contours"]).any()


def test_targets_are_painted_with_the_highest_prescription(
    example, new_preprocess, to_row
):
    bit = {name: 1 << i for i, name in enumerate(SITE.names)}
    example["masks"][0, :5] = [
        0,
        bit["PTV56"],
        bit["PTV56"] | bit["PTV63"],
        bit["PTV70"] | bit["Larynx"],
        1 << 10,  # the possible-dose mask is no structure
    ]
    painted = new_preprocess(beside_ct="painted")
    assert painted.channels == 9
    image = to_row(painted, example, 0)["image"]
    np.testing.assert_allclose(image[0, :5, 8], [0, 0.8, 0.9, 1.0, 0], rtol=1e-6)
    larynx = 1 + [s.name for s in SITE.structures if s.target_gy is None].index(
        "Larynx"
    )
    np.testing.assert_array_equal(image[0, :5, larynx], [0, 0, 0, 1, 0])


def test_left_and_right_swap_channels_in_a_mirror_image(new_preprocess):
    names = ("Brainstem", "LeftParotid", "RightParotid")
    beside = new_preprocess(structures=names, beside_ct="reference")
    assert beside.mirrored_structures.tolist() == [0, 2, 1]
    assert beside.mirrored_channels.tolist() == [0, 1, 3, 2]
    # CT; Brainstem, SpinalCord, RightParotid, LeftParotid, three more; the targets.
    painted = new_preprocess(structures=names, beside_ct="painted")
    assert painted.mirrored_channels.tolist() == [0, 1, 2, 4, 3, 5, 6, 7, 8]
    with pytest.raises(errors.ConfigError, match="RightParotid is not among"):
        new_preprocess(structures=("LeftParotid",)).mirrored_structures  # noqa: B018


def test_an_example_is_left_as_it_was(example, new_preprocess, to_row):
    before = copy.deepcopy(example)
    to_row(new_preprocess(beside_ct="reference"), example, 0)
    for name, value in before.items():
        np.testing.assert_array_equal(example[name], value)


def test_mistakes_in_the_settings(new_preprocess):
    with pytest.raises(errors.ConfigError, match="did you mean 'SpinalCord'"):
        new_preprocess(structures=("SpinalChord",))
    with pytest.raises(errors.ConfigError, match="greater than 0"):
        new_preprocess(ct_std=0.0)


def fine_example(new_size: int = 33, spacing_mm: float = 2.0) -> records.Example:
    """A ramp along x, and a square of structure 0 in the middle."""
    ramp = np.tile(np.arange(new_size, dtype=np.int16) * 10, (new_size, 1))
    masks = np.zeros((new_size, new_size), np.uint16)
    masks[8:25, 8:25] = 1
    return records.Example(
        ct=ramp,
        dose_gy=ramp.T.astype(np.float32) / 10,
        masks=masks,
        present=np.ones(10, bool),
        has_dose=True,
        patient="pt_1",
        slice=0,
        spacing_mm=np.array([2.5, spacing_mm, spacing_mm]),
    )


def test_a_larger_slice_is_read_at_the_network_s_pixels(new_preprocess):
    # 33 pixels of 2 mm, read at 17 pixels of 4 mm about one centre: every other.
    pre = new_preprocess(image_size=(17, 17), image_spacing_mm=4.0)
    seen = pre.resample(fine_example())
    np.testing.assert_allclose(seen["ct"][5], np.arange(0, 33, 2) * 10.0, atol=1e-4)
    np.testing.assert_allclose(seen["dose_gy"][:, 5], np.arange(0.0, 33, 2), atol=1e-5)
    assert seen["masks"].sum() == 9 * 9
    assert seen["masks"].dtype == np.uint16
    np.testing.assert_array_equal(seen["spacing_mm"], [2.5, 4.0, 4.0])


def test_linear_between_the_pixels(new_preprocess):
    # 16 pixels of 4 mm lie half way: x = 1, 3, 5, ... of the fine slice.
    pre = new_preprocess(image_size=(16, 16), image_spacing_mm=4.0)
    seen = pre.resample(fine_example())
    np.testing.assert_allclose(seen["ct"][5], np.arange(1, 33, 2) * 10.0, atol=1e-4)
    pre = new_preprocess(image_size=(8, 8), image_spacing_mm=3.0)
    middle = 16 + (np.arange(8) - 3.5) * 1.5
    np.testing.assert_allclose(pre.resample(fine_example())["ct"][0], middle * 10, 1e-5)


@pytest.mark.parametrize(("ct_values", "air"), [("stored", 0.0), ("hu", -1024.0)])
def test_air_fills_what_the_ct_does_not_cover(
    example, new_preprocess, ct_values, air, to_row
):
    pre = new_preprocess(
        image_size=(20, 20), ct_values=ct_values, ct_mean=0.0, ct_std=1.0
    )
    row = to_row(pre, example, 0)
    inside = np.zeros((20, 20), bool)
    inside[2:18, 2:18] = True
    same = to_row(
        new_preprocess(ct_values=ct_values, ct_mean=0.0, ct_std=1.0), example, 0
    )
    np.testing.assert_array_equal(row["image"][~inside], air)
    for name in ("contours", "dose"):
        assert not row[name][~inside].any()
    for name in ("image", "contours", "dose"):
        np.testing.assert_array_equal(row[name][2:18, 2:18], same[name])


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize(
    ("size", "spacing_mm"), [((11, 30), 3.1), ((48, 20), 0.7), ((20, 24), 1.9)]
)
def test_planes_are_read_as_scipy_reads_them(rng, order, size, spacing_mm):
    grid = geometry.Grid((2, 20, 24), (2.5, 1.5, 1.5))
    onto = geometry.fit_in_plane(grid, size, spacing_mm)
    volume = rng.random(grid.shape).astype(np.float32)
    found = resampling.resample_planes(volume, grid, onto, order, 0.25)
    step = spacing_mm / 1.5
    offset = (np.array([20, 24]) - 1) / 2 - step * (np.array(size) - 1) / 2
    for plane, read in zip(volume, found, strict=True):
        expected = ndimage.affine_transform(
            plane, (step, step), offset, output_shape=size, order=order,
            mode="grid-constant", cval=0.25, prefilter=False,
        )  # fmt: skip
        np.testing.assert_allclose(read, expected, atol=1e-6)


def test_an_example_on_the_network_s_grid_is_not_copied(example, new_preprocess):
    assert new_preprocess().resample(example) is example
    assert new_preprocess(image_spacing_mm=4.0).resample(example) is example
    assert new_preprocess(image_spacing_mm=3.0).resample(example) is not example


def bump(grid: geometry.Grid) -> np.ndarray:
    """A smooth hill in the middle of every slice, higher from slice to slice."""
    z, y, x = np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij")
    y_mm = (y - (grid.shape[1] - 1) / 2) * grid.spacing_mm[1]
    x_mm = (x - (grid.shape[2] - 1) / 2) * grid.spacing_mm[2]
    return ((z + 1) * np.exp(-(y_mm**2 + x_mm**2) / 2 / 20**2)).astype(np.float32)


@pytest.mark.parametrize("trailing", [(), (1,), (2, 3)])
def test_predictions_come_back_onto_the_ct_s_grid(new_preprocess, trailing):
    grid = geometry.Grid((3, 70, 64), (2.5, 2.0, 2.0), origin_mm=(-63.1, -70.3, -212.7))
    pre = new_preprocess(image_size=(96, 96), image_spacing_mm=1.5)
    predicted = bump(pre.network_grid(grid)).reshape(3, 96, 96, *(1 for _ in trailing))
    predicted = np.broadcast_to(predicted, (3, 96, 96, *trailing)).copy()
    restored = pre.restore(predicted, grid)
    assert restored.shape == (3, 70, 64, *trailing)
    truth = bump(grid)
    # Linear interpolation of a hill of width 20 mm: h^2 / 8 * 2 / 20^2 each axis.
    for channel in restored.reshape(*grid.shape, -1).transpose(3, 0, 1, 2):
        np.testing.assert_allclose(channel, truth, atol=3 * 2 * 1.5**2 / 8 / 20**2 * 2)


def test_restore_agrees_with_resampling_in_three_dimensions(rng, new_preprocess):
    grid = geometry.Grid((3, 20, 24), (2.5, 1.5, 1.5))
    pre = new_preprocess(image_size=(16, 16), image_spacing_mm=2.0)
    predicted = rng.random((3, 16, 16)).astype(np.float32)
    expected = geometry.resample(predicted, pre.network_grid(grid), grid)
    # Where the network's image reaches; beyond, one fades and the other cuts.
    inner = (slice(None), slice(1, -1), slice(3, -3))
    np.testing.assert_allclose(
        pre.restore(predicted, grid)[inner], expected[inner], atol=1e-5
    )


def test_restore_leaves_predictions_that_are_on_the_grid(rng, new_preprocess):
    grid = geometry.Grid((3, 16, 16), (2.5, 4.0, 4.0))
    predicted = rng.random((3, 16, 16, 4)).astype(np.float32)
    assert new_preprocess().restore(predicted, grid) is predicted


def test_restore_of_half_precision_and_of_a_perfect_mask(new_preprocess):
    # 4 mm pixels back onto 2 mm: a square comes back as one, to half a pixel.
    grid = geometry.Grid((1, 32, 32), (2.5, 2.0, 2.0))
    pre = new_preprocess(image_spacing_mm=4.0)
    predicted = np.zeros((1, 16, 16, 1), np.float16)
    predicted[0, 4:12, 4:12] = 1
    restored = pre.restore(predicted, grid)
    assert restored.dtype == np.float16
    square = np.zeros((32, 32), bool)
    square[8:24, 8:24] = True
    np.testing.assert_array_equal(restored[0, ..., 0] > 0.5, square)


def test_restore_wants_all_slices(new_preprocess):
    grid = geometry.Grid((3, 16, 16), (2.5, 4.0, 4.0))
    with pytest.raises(errors.GeometryError, match="give all slices"):
        new_preprocess().restore(np.zeros((2, 16, 16, 1), np.float32), grid)


@pytest.mark.parametrize(("ct_values", "offset"), [("stored", 0), ("hu", 1024)])
def test_fitted_statistics_are_those_of_all_voxels(split, ct_values, offset):
    mean, std = preprocess.fit_statistics(
        split, site=sites.OPENKBP, ct_values=ct_values, ct_window=(-500.0, 700.0)
    )
    voxels = np.stack([e["ct"] for e in split.source]).astype(float) - offset
    voxels = np.clip(voxels, -500, 700)
    assert mean == pytest.approx(voxels.mean(), rel=1e-12)
    assert std == pytest.approx(voxels.std(), rel=1e-9)


def test_statistics_need_voxels_that_differ(split):
    given = {"site": sites.OPENKBP, "ct_values": "stored"}
    with pytest.raises(errors.DatasetError, match="3000 everywhere; check ct_window"):
        preprocess.fit_statistics(split, ct_window=(3000.0, 4000.0), **given)
    split.source = []
    with pytest.raises(errors.DatasetError, match="train has no slices"):
        preprocess.fit_statistics(split, ct_window=(0.0, 4000.0), **given)


def test_the_prostate_site_has_its_own_channels(example, new_preprocess, to_row):
    site = sites.PROSTATE
    example["ct"][0, :2] = [0, -1000]
    example["masks"] = np.zeros((16, 16), np.uint16)
    for column, name in enumerate(("Rectum", "Prostate", "PTV_6000")):
        example["masks"][3, column] = 1 << site.names.index(name)
    example["present"] = np.ones(len(site.structures), bool)
    made = new_preprocess(
        site=site, structures=site.contoured, beside_ct="painted", ct_values="hu",
        ct_mean=0.0, ct_std=100.0, prescription_gy=60.0,
    )  # fmt: skip
    row = to_row(made, example, 0)
    assert row["image"].shape[-1] == made.channels == 1 + 4 + 1
    np.testing.assert_allclose(row["image"][0, :2, 0], [0, -10])  # already in HU
    # Rectum, bladder, femurs; then both targets at the prescription.
    np.testing.assert_array_equal(row["image"][3, :3, 1], [1, 0, 0])
    np.testing.assert_array_equal(row["image"][3, :3, -1], [0, 1, 1])
    assert made.mirrored_channels.tolist() == [0, 1, 2, 4, 3, 5]
    np.testing.assert_array_equal(row["contours"][3, :2].argmax(-1), [1, 0])
