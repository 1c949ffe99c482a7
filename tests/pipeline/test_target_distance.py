"""The signed distance to the targets: closed forms, files, and the image's channel."""

import dataclasses
import itertools

import numpy as np
import pytest

from mtl_jax.core import errors, records, sites
from mtl_jax.core import geometry as grids
from mtl_jax.datasets import examples, prepared
from mtl_jax.pipeline import augment, batches, image_channels, target_distance

NO_FURTHER = image_channels.NO_FURTHER
SITE = sites.OPENKBP
SPACING_MM = (2.5, 4.0, 3.0)
SHAPE = (9, 12, 14)
# A box of voxels [low, high) on each axis.
BOX = ((3, 6), (4, 9), (2, 7))


def bit(name: str) -> int:
    return 1 << SITE.names.index(name)


def box_masks(name="PTV70") -> np.ndarray:
    masks = np.zeros(SHAPE, np.uint16)
    masks[tuple(slice(*side) for side in BOX)] |= bit(name)
    return masks


def distance_to_box_mm() -> np.ndarray:
    """Outside: Pythagoras with the steps to the box. Inside: the way to a face."""
    expected = np.empty(SHAPE)
    for index in itertools.product(*map(range, SHAPE)):
        steps = [
            max(low - i, 0, i - high + 1)
            for i, (low, high) in zip(index, BOX, strict=True)
        ]
        outside = np.hypot.reduce(np.multiply(steps, SPACING_MM))
        inside = min(
            step * min(i - low + 1, high - i)
            for i, (low, high), step in zip(index, BOX, SPACING_MM, strict=True)
        )
        expected[index] = outside if any(steps) else -inside
    return expected


def test_the_distance_of_a_box_with_anisotropic_voxels():
    found = target_distance.compute(box_masks(), SPACING_MM, SITE)
    assert found.dtype == np.int16
    expected = distance_to_box_mm()
    assert expected.min() == -5.0  # two voxels of 2.5 mm to the face
    np.testing.assert_allclose(found / 10, expected, atol=0.0501)


def test_the_union_of_all_targets_counts_and_no_organ():
    masks = np.zeros((1, 1, 6), np.uint16)
    masks[0, 0] = [bit("Brainstem"), bit("PTV56"), bit("PTV70"), 0, 0, 0]
    found = target_distance.compute(masks, (2.5, 4.0, 3.0), SITE)
    assert found[0, 0].tolist() == [30, -30, -60 + 30, 30, 60, 90]


def test_without_a_target_and_far_from_one_it_is_the_largest():
    masks = np.zeros((1, 1, 400), np.uint16)
    assert (target_distance.compute(masks, (1.0, 1.0, 2.0), SITE) == 5000).all()
    masks[0, 0, 0] = bit("PTV63")
    found = target_distance.compute(masks, (1.0, 1.0, 2.0), SITE)[0, 0]
    assert found[[0, 1, 249, 250, 251, 399]].tolist() == [
        *(-20, 20, 4980, 5000, 5000, 5000)
    ]
    masks[:] = bit("PTV63")
    assert (target_distance.compute(masks, (1.0, 1.0, 2.0), SITE) == -5000).all()


def make_split(*volumes: np.ndarray) -> prepared.Split:
    """A patient for each volume of masks."""
    grid, rows, entries = grids.Grid(SHAPE, SPACING_MM), [], []
    rng = np.random.default_rng(0)
    for number, masks in enumerate(volumes):
        names = {n: (masks & bit(n)) > 0 for n in SITE.names}
        ct = rng.integers(1, 2000, SHAPE).astype(np.float32)
        patient = records.Patient(f"pt_{number}", grid, ct, names, None, None)
        stack = examples.stack(patient, SITE)
        entries.append(dataclasses.replace(stack.entry, start=len(rows)))
        rows += [dict(row) for row in examples.slices(stack)]

    class Copies(list):  # as shards do, which are read anew each time
        def __getitem__(self, index):
            return dict(super().__getitem__(index))

    return prepared.Split("train", Copies(rows), tuple(entries), SITE)


@pytest.fixture
def split():
    """A box at the same place in two patients, and at another one in the second."""
    return make_split(box_masks(), np.roll(box_masks("PTV56"), 2, axis=2))


@pytest.fixture
def pre(new_preprocess):
    """Images of the size of the CT."""
    return new_preprocess(
        image_size=SHAPE[1:],
        beside_ct="painted",
        further=dataclasses.replace(NO_FURTHER, target_distance_mm=20.0),
    )


def test_it_is_the_last_channel_of_a_batch(split, pre, tmp_path):
    attached = target_distance.attach(split, tmp_path, "data")
    (batch,) = batches.evaluation(attached, preprocess=pre, batch_size=18)
    assert pre.channels == batch["image"].shape[-1] == 1 + 7 + 1 + 1
    expected = distance_to_box_mm() / 20
    np.testing.assert_allclose(batch["image"][:9, ..., -1], expected, atol=0.003)
    # The second one's is the first one's, two columns to the right.
    np.testing.assert_array_equal(
        batch["image"][9:, ..., 2:, -1], batch["image"][:9, ..., :-2, -1]
    )
    # What comes before is as without it.
    without = dataclasses.replace(pre, further=NO_FURTHER)
    (other,) = batches.evaluation(split, preprocess=without, batch_size=18)
    np.testing.assert_array_equal(batch["image"][..., :-1], other["image"])


def test_a_slice_without_a_distance_is_refused(split, pre):
    with pytest.raises(errors.RecordError, match="no distance to the targets"):
        next(iter(batches.evaluation(split, preprocess=pre, batch_size=18)))


def test_files_are_computed_once_and_belong_to_data_and_targets(
    split, tmp_path, monkeypatch
):
    target_distance.attach(split, tmp_path, "data")
    files = sorted(tmp_path.rglob("*.npy"))
    assert [file.name for file in files] == ["pt_0.npy", "pt_1.npy"]
    assert not list(tmp_path.rglob("*.tmp")) and not (tmp_path / ".lock").exists()
    monkeypatch.setattr(target_distance, "compute", None)
    target_distance.attach(split, tmp_path, "data")
    renamed = dataclasses.replace(split, site=dataclasses.replace(SITE, name="other"))
    target_distance.attach(renamed, tmp_path, "data")
    organ = dataclasses.replace(SITE.structures[-1], target_gy=None)
    fewer = dataclasses.replace(SITE, structures=(*SITE.structures[:-1], organ))
    for other in (
        lambda: target_distance.attach(split, tmp_path, "other data"),
        lambda: target_distance.attach(
            dataclasses.replace(split, site=fewer), tmp_path, "data"
        ),
    ):
        with pytest.raises(TypeError):
            other()


def test_a_damaged_file_is_named(split, tmp_path):
    target_distance.attach(split, tmp_path, "data")
    (path,) = tmp_path.rglob("pt_1.npy")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(errors.DatasetError, match=r"pt_1\.npy.*damaged.*delete it"):
        target_distance.attach(split, tmp_path, "data")


def make_augment(**changes: float) -> augment.Augment:
    still = dict.fromkeys(
        ("flip", "rotation_deg", "rotation_step_deg", "translation_px", "scale"), 0.0
    )
    still["ct_noise"] = 0.0
    return augment.Augment(site=SITE, ct_std=1.0, **(still | changes))


def test_a_flip_mirrors_it(split, tmp_path):
    example = target_distance.attach(split, tmp_path, "data").source[4]
    flipped = make_augment(flip=1.0)(example, np.random.default_rng(0))
    np.testing.assert_array_equal(
        flipped["target_distance"], example["target_distance"][:, ::-1]
    )


class Down:
    """Chance that shifts by half the largest shift, along y."""

    def __init__(self):
        self.draws = [(0.0, 0.0), (0.5, 0.0)]

    def random(self):
        return 1.0

    def uniform(self, low, high, count):
        return np.array(self.draws.pop(0))


def test_a_shift_reads_it_linearly_and_goes_on_beyond_the_border(split, tmp_path):
    example = target_distance.attach(split, tmp_path, "data").source[4]
    before = example["target_distance"].astype(np.float32)
    moved = make_augment(translation_px=3.0)(example, Down())["target_distance"]
    assert moved.dtype == np.float32
    # Row y shows what was 1.5 rows above; the first row goes on above itself.
    expected = (before[:-3] + before[1:-2]) / 2
    np.testing.assert_allclose(moved[2:-1], expected, rtol=1e-6)
    np.testing.assert_array_equal(moved[0], before[0])


def test_on_the_networks_grid_it_is_read_linearly(split, pre, tmp_path):
    example = target_distance.attach(split, tmp_path, "data").source[4]
    wide = dataclasses.replace(pre, image_size=(16, 16), image_spacing_mm=2.0)
    found = wide.resample(example)["target_distance"]
    before = example["target_distance"].astype(np.float32)
    rows, columns = (
        np.clip((np.arange(16) - 7.5) * 2 / step + (size - 1) / 2, 0, size - 1)
        for step, size in zip(SPACING_MM[1:], SHAPE[1:], strict=True)
    )
    y = np.array([np.interp(rows, np.arange(12), column) for column in before.T]).T
    expected = [np.interp(columns, np.arange(14), row) for row in y]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    # Wider than the CT: the values on its border go on.
    wider = dataclasses.replace(pre, image_size=(12, 32))
    found = wider.resample(example)["target_distance"]
    np.testing.assert_array_equal(found[:, 9:23], before)
    np.testing.assert_array_equal(found[:, :9], np.repeat(before[:, :1], 9, axis=1))
